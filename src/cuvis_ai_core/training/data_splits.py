"""The parts of the data of a trainrun, of cubes or of a data module: batches to train on, validate on and test on."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cuvis_ai_core.data import Batches, Cubes, open_annotations
from cuvis_ai_core.data.dataset_batches import DatasetBatches
from cuvis_ai_core.data.formats.envi.file_pairs import find_header
from cuvis_ai_core.data.labels.annotations import Annotations
from cuvis_ai_core.data.readers import Readers
from cuvis_ai_core.errors import TrainRunError
from cuvis_ai_core.plugins.manifest_folders import folders_above
from cuvis_ai_core.training.config import DataConfig, ModuleDataConfig
from cuvis_ai_core.training.named_data_modules import make_data_module, set_up
from cuvis_ai_core.training.trainrun import TrainRun

if TYPE_CHECKING:
    from cuvis_ai_core.registry import NodeRegistry

logger = logging.getLogger(__name__)

_STAGES: Final = {"train": ("fit", "train", "val"), "val": ("validate", "val"), "test": ("test", "test")}
"""What a part is set up for, and which parts there are then."""


def parts_of(run: TrainRun, registry: "NodeRegistry") -> "Parts | ModuleParts":
    """Return the data of a trainrun.

    Args:
        run: The trainrun.
        registry: Where readers of cubes, and data modules of plugins, come from.

    Raises:
        CubeError: There are no cubes, or a file cannot be opened.
        TrainRunError: The data module is not known, or cannot be made.
    """
    if isinstance(run.config.data, ModuleDataConfig):
        return ModuleParts(run, registry)
    return Parts(run, registry.cube_readers())


class Parts:
    """The data of a trainrun; cubes are read when batches are asked for.

    Args:
        run: The trainrun.
        readers: Suffix to reader, as `NodeRegistry.cube_readers()` gives them.

    Raises:
        CubeError: There are no cubes, or a file cannot be opened.
        TrainRunError: The data are those of a data module.
    """

    def __init__(self, run: TrainRun, readers: Readers) -> None:
        if not isinstance(run.config.data, DataConfig):
            raise TrainRunError("The data are of a data module, and name no cubes.", path=run.path, key="data")
        self._run = run
        self._data = run.config.data
        places = [run.locate(place) for place in self._data.places]
        self.cubes = Cubes(places, readers, processing_mode=self._data.processing_mode)
        self._say_what_is_in_two_parts()
        self.opened: dict[Path, Annotations] = {}
        """The annotations that batches were asked for with, by their path."""

    def batches(self, split: str) -> Batches:
        """Return the batches of a part: `train`, `val` or `test`.

        Raises:
            TrainRunError: It names a cube that is not there.
            AnnotationError: Its annotations cannot be read.
            MissingExtraError: They need a package that is not installed.
        """
        return Batches(self.cubes, self._numbers(split), self._annotations(split), self._data.batch_size)

    @property
    def has_test(self) -> bool:
        """Whether the trainrun names data to test on."""
        ids = self._data.ids("test")
        named = _share(self._data, "test", len(self.cubes)) if ids is None else ids
        return bool(named) or (isinstance(self._data.masks, dict) and "test" in self._data.masks)

    def _say_what_is_in_two_parts(self) -> None:
        """Say which cube is trained on and validated or tested on too, but for parts that have masks of their own."""
        if isinstance(self._data.masks, dict) or self._data.ids("train") is None:
            return
        trained = {_same(self.cubes, number): number for number in self._numbers("train")}
        for split in ("val", "test"):
            for number in self._numbers(split):
                if (other := trained.get(_same(self.cubes, number))) is not None:
                    logger.warning(
                        "data: cube %d ('%s') is in '%s', and as cube %d in 'train': what is measured on it says "
                        "nothing about other cubes",
                        *(number, self.cubes.place(number)[0], split, other),
                    )

    def _numbers(self, split: str) -> Sequence[int]:
        ids = self._data.ids(split)
        if ids is None:
            share = _share(self._data, split, len(self.cubes))
            return range(len(self.cubes)) if share is None else share
        beyond = [number for number in ids if number >= len(self.cubes)]
        if beyond:
            raise TrainRunError(
                f"Trainrun file {self._run.path}: data.{split}_ids: there is no cube {beyond[0]}; the "
                f"data are cubes 0 to {len(self.cubes) - 1}.",
                path=self._run.path,
                key=f"data.{split}_ids",
            )
        return ids

    def _annotations(self, split: str) -> Annotations | None:
        place = self._data.annotations(split)
        if place is None:
            return None
        path = self._run.locate(place)
        if path not in self.opened:
            self.opened[path] = open_annotations(path)
        return self.opened[path]


class ModuleParts:
    """The data of a trainrun that names a data module; they are opened when batches are asked for.

    Args:
        run: The trainrun.
        registry: Where data modules of plugins come from.

    Raises:
        TrainRunError: The data module is not known, or cannot be made.
    """

    def __init__(self, run: TrainRun, registry: "NodeRegistry") -> None:
        folders = [*folders_above(run.path), *run.plugins_dirs]
        self._module = make_data_module(run.config.data, folders, run.path.absolute().parent, registry)
        self._size = run.config.data.batch_size
        self._found: dict[str, DatasetBatches] = {}
        self.opened: dict[Path, Annotations] = {}
        """No annotations of ours: its own are in its samples."""

    def batches(self, split: str) -> DatasetBatches:
        """Return the batches of a part: `train`, `val` or `test`; none where the data module has none.

        Raises:
            TrainRunError: The data module cannot be set up.
        """
        if split not in self._found:
            set_up(self._module, _STAGES[split][0])
            for each in _STAGES[split][1:]:
                self._found[each] = self._batches(each)
        return self._found[split]

    @property
    def has_test(self) -> bool:
        """Whether the data module has data to test on.

        Raises:
            TrainRunError: The data module cannot be set up for it.
        """
        return bool(len(self.batches("test")))

    def _batches(self, split: str) -> DatasetBatches:
        # Its dataset, not its loader: the order of an epoch has to be ours, so that a training can go on.
        dataset = getattr(getattr(self._module, f"{split}_dataloader")(), "dataset", [])
        return DatasetBatches(dataset, range(len(dataset)), self._size)


def _share(data: DataConfig, split: str, count: int) -> range | None:
    """Return the numbers of the cubes in a part of the data by its share; None where there are no shares."""
    if data.train_split is None and data.val_split is None:
        return None
    first = round(count * (data.train_split or 0))
    # Rounding twice may go one beyond: 0.5 and 0.5 of 3.
    second = min(count, first + round(count * (data.val_split or 0)))
    return {"train": range(first), "val": range(first, second), "test": range(second, count)}[split]


def _same(cubes: Cubes, number: int) -> tuple[Path, int]:
    """Return what two numbers of the same cube have in common: its file, of ENVI the header, and its number there."""
    file, index = cubes.place(number)
    header = None if file.suffix.lower() == ".hdr" else find_header(file)
    return (header or file).resolve(), index
