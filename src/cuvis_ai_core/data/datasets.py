"""Session files of Cubert cameras as published data sets and data modules.

Importing this module imports torch and Lightning; files are read by the vendor's SDK (extra `cu3s`).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cuvis_ai_core.data.cu3s_samples import CategoryMasks, stretched, whole_numbers
from cuvis_ai_core.data.cube import Cube
from cuvis_ai_core.data.datamodule import CuvisDataModule, DataLoader, Dataset
from cuvis_ai_core.data.formats.cu3s import Cu3sFile
from cuvis_ai_core.errors import CubeError

__all__ = ["SingleCu3sDataModule", "SingleCu3sDataset"]


class SingleCu3sDataset(Dataset[dict[str, Any]]):
    """The measurements of one session file.

    An item has `cube` `[height, width, channel]`, of the type that the SDK gives; `mesu_index`, its number in the file;
    `wavelengths`, int32 `[channel]` in nm; and `mask`, int32 `[height, width]`, where there are annotations.

    Args:
        cu3s_file_path: The session file.
        annotation_json_path: A COCO file; by default the one of the same stem beside the session file, if there is one.
        processing_mode: `Raw`, `DarkSubtract`, `Reflectance` (with a white and a dark reference), `SpectralRadiance`
            (with a dark one).
        measurement_indices: Which measurements; by default all.
        normalize_to_unit: Whether each channel of a cube is stretched to 0 to 1, as float32.

    Raises:
        CubeError: The file cannot be read, or has no such measurement or mode.
        AnnotationError: The annotations cannot be read.
        MissingExtraError: The SDK, or `pycocotools`, is not installed.
    """

    def __init__(
        self,
        cu3s_file_path: str | Path,
        annotation_json_path: str | Path | None = None,
        processing_mode: str = "Raw",
        measurement_indices: Sequence[int] | None = None,
        normalize_to_unit: bool = False,
    ) -> None:
        self.cu3s_file_path = Path(cu3s_file_path)
        self.processing_mode = processing_mode
        self.normalize_to_unit = normalize_to_unit
        beside = self.cu3s_file_path.with_suffix(".json")
        labels = Path(annotation_json_path) if annotation_json_path else beside if beside.is_file() else None
        self.annotation_json_path = labels
        self._file = Cu3sFile(self.cu3s_file_path, processing_mode)
        self.measurement_indices = self._checked(measurement_indices)
        self._masks = CategoryMasks(labels, self.cu3s_file_path) if labels else None
        self._first: Cube | None = None

    def _checked(self, indices: Sequence[int] | None) -> list[int]:
        count = len(self._file)
        chosen = list(range(count)) if indices is None else [int(each) for each in indices]
        beyond = [each for each in chosen if not 0 <= each < count]
        if beyond:
            raise CubeError(
                f"The session file '{self.cu3s_file_path}' has no measurement {beyond[0]}: it has 0 to {count - 1}.",
                path=self.cu3s_file_path,
            )
        return chosen

    def __getstate__(self) -> dict[str, Any]:
        # Handles of the SDK are of one process; DataLoader's workers are others.
        return {**vars(self), "_file": None, "_first": None}  # another process opens the file itself

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._file = Cu3sFile(self.cu3s_file_path, self.processing_mode)

    def __len__(self) -> int:
        return len(self.measurement_indices)

    def __getitem__(self, index: int) -> dict[str, Any]:
        number = self.measurement_indices[index]
        cube = self._file[number]
        item = {
            "cube": stretched(cube.data) if self.normalize_to_unit else cube.data,
            "mesu_index": number,
            "wavelengths": _wavelengths(cube, self.cu3s_file_path),
        }
        if self._masks is not None:
            item["mask"] = self._masks.mask(number, *cube.data.shape[:2])
        return item

    @property
    def has_labels(self) -> bool:
        """Whether items have a mask."""
        return self._masks is not None

    @property
    def class_labels(self) -> dict[int, str]:
        """Name by class; empty without annotations."""
        return self._masks.names if self._masks else {}

    @property
    def wavelengths_nm(self) -> Any:
        """Wavelengths in nm, int32 `[channel]`."""
        return _wavelengths(self._one(), self.cu3s_file_path)

    @property
    def wavelengths(self) -> Any:
        """Wavelengths in nm as the file has them."""
        return self._one().wavelengths

    @property
    def num_channels(self) -> int:
        """How many channels a cube has."""
        return int(self._one().data.shape[-1])

    @property
    def fps(self) -> float:
        """Cubes in a second, as the camera recorded them; 0 where the file does not say."""
        return self._file.fps

    def _one(self) -> Cube:
        if self._first is None:
            self._first = self._file[self.measurement_indices[0] if self.measurement_indices else 0]
        return self._first


def _wavelengths(cube: Cube, path: Path) -> Any:
    if cube.wavelengths is None:
        raise CubeError(f"Measurement {cube.index} of the session file '{path}' has no wavelengths.", path=path)
    return whole_numbers(cube.wavelengths)


class SingleCu3sDataModule(CuvisDataModule):
    """One session file, its measurements shared out to training, validation, test and prediction.

    Args:
        cu3s_file_path: The session file; or `data_dir` and `dataset_name` name it: `<data_dir>/<dataset_name>.cu3s`, or
            the one in the folder of that name.
        annotation_json_path: As in `SingleCu3sDataset`.
        data_dir: A folder of data sets.
        dataset_name: Name of one of them.
        train_ids: Numbers of the measurements to train on; likewise `val_ids` and `test_ids`.
        val_ids: To validate on.
        test_ids: To test on.
        predict_ids: To predict on; by default all.
        batch_size: Cubes in a batch.
        processing_mode: As in `SingleCu3sDataset`.
        normalize_to_unit: As in `SingleCu3sDataset`.

    Raises:
        ValueError: Neither the file nor both of folder and name are given.
        CubeError: There is no such file.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the published order
        self,
        cu3s_file_path: str | Path | None = None,
        annotation_json_path: str | Path | None = None,
        data_dir: str | Path | None = None,
        dataset_name: str | None = None,
        train_ids: Sequence[int] | None = None,
        val_ids: Sequence[int] | None = None,
        test_ids: Sequence[int] | None = None,
        predict_ids: Sequence[int] | None = None,
        batch_size: int = 2,
        processing_mode: str = "Reflectance",
        normalize_to_unit: bool = False,
    ) -> None:
        super().__init__()
        self.cu3s_file_path = _session_file(cu3s_file_path, data_dir, dataset_name)
        self.annotation_json_path = annotation_json_path
        self.ids: dict[str, list[int] | None] = {
            "train": list(train_ids or ()),
            "val": list(val_ids or ()),
            "test": list(test_ids or ()),
            "predict": list(predict_ids) if predict_ids else None,
        }
        self.batch_size = batch_size
        self.processing_mode = processing_mode
        self.normalize_to_unit = normalize_to_unit
        self.train_ds: SingleCu3sDataset | None = None
        self.val_ds: SingleCu3sDataset | None = None
        self.test_ds: SingleCu3sDataset | None = None
        self.predict_ds: SingleCu3sDataset | None = None

    @property
    def train_ids(self) -> list[int]:
        """Numbers of the measurements to train on."""
        return self.ids["train"] or []

    @property
    def val_ids(self) -> list[int]:
        """Numbers of the measurements to validate on."""
        return self.ids["val"] or []

    @property
    def test_ids(self) -> list[int]:
        """Numbers of the measurements to test on."""
        return self.ids["test"] or []

    def setup(self, stage: str | None = None) -> None:
        """Open the file for a stage of Lightning: `fit`, `validate`, `test`, `predict`; without one, for all.

        Raises:
            CubeError: The file cannot be read, or has no such measurement.
        """
        wanted = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",), "predict": ("predict",)}
        for part in wanted.get(str(stage), ("train", "val", "test", "predict")):
            self._data(part)

    def _data(self, part: str) -> SingleCu3sDataset:
        known: SingleCu3sDataset | None = getattr(self, f"{part}_ds")
        if known is None:
            known = SingleCu3sDataset(
                self.cu3s_file_path,
                self.annotation_json_path,
                self.processing_mode,
                self.ids[part],
                self.normalize_to_unit,
            )
            setattr(self, f"{part}_ds", known)
        return known

    def _loader(self, part: str, *, shuffle: bool = False) -> DataLoader[Any]:
        data = self._data(part)
        # torch's RandomSampler refuses a set without samples.
        return DataLoader(data, batch_size=self.batch_size, shuffle=shuffle and len(data) > 0)

    def train_dataloader(self) -> DataLoader[Any]:
        """Return the batches to train on, in another order each time."""
        return self._loader("train", shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        """Return the batches to validate on."""
        return self._loader("val")

    def test_dataloader(self) -> DataLoader[Any]:
        """Return the batches to test on."""
        return self._loader("test")

    def predict_dataloader(self) -> DataLoader[Any]:
        """Return the batches to predict on."""
        return self._loader("predict")


def _session_file(path: str | Path | None, folder: str | Path | None, name: str | None) -> Path:
    if path:
        return Path(path)
    if not (folder and name):
        raise ValueError("Name the session file: cu3s_file_path, or data_dir and dataset_name together.")
    places = (Path(folder) / f"{name}.cu3s", Path(folder) / name / f"{name}.cu3s")
    found = [each for each in places if each.is_file()] or sorted((Path(folder) / name).glob("*.cu3s"))
    if len(found) != 1 and found[:1] != [places[0]]:
        what = "no session file" if not found else f"{len(found)} session files"
        raise CubeError(
            f"There is {what} '{name}' in '{folder}'.",
            hint=f"Looked for {places[0]} and {places[1].parent}/*.cu3s; or name the file: cu3s_file_path.",
            path=Path(folder),
        )
    return found[0]
