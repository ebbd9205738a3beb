"""Session files as published data sets: the vendor's package is real, its binding that of `tests/projects`."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("pytorch_lightning")


from cuvis_ai_core.data.datasets import SingleCu3sDataModule, SingleCu3sDataset
from cuvis_ai_core.errors import CubeError
from cuvis_ai_core.training.datamodule import CuvisDataModule

FRAMES = np.arange(4 * 6 * 8 * 5, dtype=np.uint16).reshape(4, 6, 8, 5)
COCO: dict[str, Any] = {
    "images": [{"id": number, "height": 12, "width": 16, "file_name": f"frame_{number}.png"} for number in range(3)],
    "categories": [{"id": 0, "name": "lentils"}, {"id": 2, "name": "stone"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 2, "segmentation": [[0, 0, 8, 0, 8, 6, 0, 6]]},
    ],
}
Session = Callable[..., Path]


@pytest.fixture
def session(native: ModuleType, tmp_path: Path) -> Session:
    """Return a function that writes a session file with all references; the SDK starts."""

    def write(name: str = "lentils.cu3s", coco: Any = None, **more: Any) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        content = {"frames": FRAMES, "references": ["Dark", "White"], "fps": 12.5, **more}
        with path.open("wb") as file:
            np.savez(file, wavelengths=np.array([450.4, 500, 550, 600, 650]), **content)
        if coco is not None:
            path.with_suffix(".json").write_text(json.dumps(coco))
        return path

    return write


def test_measurements_are_items(session: Session) -> None:
    """Cube, number and wavelengths; all of them, or those that are named, with their own numbers."""
    data = SingleCu3sDataset(session())
    assert (len(data), data.num_channels, data.fps, data.has_labels) == (4, 5, 12.5, False)
    assert list(data[2]) == ["cube", "mesu_index", "wavelengths"]
    assert np.array_equal(data[2]["cube"], FRAMES[2])
    assert data[2]["wavelengths"].tolist() == data.wavelengths_nm.tolist() == [450, 500, 550, 600, 650]
    assert data.wavelengths_nm.dtype == np.int32
    chosen = SingleCu3sDataset(session(), measurement_indices=[3, 1])
    assert [chosen[index]["mesu_index"] for index in range(len(chosen))] == [3, 1]
    assert np.array_equal(chosen[0]["cube"], FRAMES[3])
    with pytest.raises(CubeError, match="has no measurement 4: it has 0 to 3"):
        SingleCu3sDataset(session(), measurement_indices=[4])


def test_processing_needs_its_references(session: Session) -> None:
    """Reflectance a white and a dark one, and raw none; the error names what is there."""
    assert np.array_equal(SingleCu3sDataset(session(), processing_mode="Reflectance")[1]["cube"], FRAMES[1] * 10)
    without = SingleCu3sDataset(session(references=["Dark"]), processing_mode="Reflectance")
    with pytest.raises(CubeError, match=r"cannot be processed to Reflectance\. References in the file: Dark"):
        without[0]


def test_a_cube_is_stretched_channel_by_channel(session: Session) -> None:
    """From 0 to 1, as float32."""
    cube = SingleCu3sDataset(session(), normalize_to_unit=True)[0]["cube"]
    assert cube.dtype == np.float32
    assert cube.min(axis=(0, 1)).tolist() == [0] * 5
    assert cube.max(axis=(0, 1)).tolist() == [1] * 5


def test_annotations_beside_the_file_are_found(session: Session) -> None:
    """Outlines of a larger canvas are drawn there, and the mask becomes as large as the cube; ids stay."""
    data = SingleCu3sDataset(session(coco=COCO))
    assert data.class_labels == {0: "lentils", 2: "stone"}
    mask = data[1]["mask"]
    assert (mask.dtype, mask.shape) == (np.int32, (6, 8))
    assert np.array_equal(np.argwhere(mask == 2), [(row, column) for row in range(3) for column in range(4)])
    assert not data[0]["mask"].any()
    assert not data[3]["mask"].any(), "the file has no image for it"


def test_another_process_opens_the_file_itself(session: Session) -> None:
    """As loaders with several processes need it."""
    data = pickle.loads(pickle.dumps(SingleCu3sDataset(session(coco=COCO))))
    assert np.array_equal(data[1]["cube"], FRAMES[1])


def test_a_data_module_shares_measurements_out(session: Session) -> None:
    """To training, validation and test as named, to prediction all; batches are tensors."""
    module = SingleCu3sDataModule(session(coco=COCO), train_ids=[0, 2], val_ids=[1], test_ids=[3], batch_size=2)
    assert isinstance(module, CuvisDataModule)
    module.setup()
    (train,) = module.train_dataloader()
    assert sorted(train["mesu_index"].tolist()) == [0, 2]
    assert (str(train["mask"].dtype), tuple(train["mask"].shape)) == ("torch.int32", (2, 6, 8))
    assert tuple(train["wavelengths"].shape) == (2, 5)
    assert [batch["mesu_index"].tolist() for batch in module.val_dataloader()] == [[1]]
    assert [batch["mesu_index"].tolist() for batch in module.test_dataloader()] == [[3]]
    assert (module.train_ids, module.val_ids, module.test_ids) == ([0, 2], [1], [3])
    assert [batch["mesu_index"].tolist() for batch in module.predict_dataloader()] == [[0, 1], [2, 3]]
    assert module.train_ds is not None
    assert len(module.train_ds) == 2


def test_a_file_may_be_named_by_folder_and_name(session: Session, tmp_path: Path) -> None:
    """Beside each other, or in a folder of that name; half a name is an error."""
    session("Lentils/Lentils_000.cu3s")
    assert SingleCu3sDataModule(data_dir=tmp_path, dataset_name="Lentils").cu3s_file_path.name == "Lentils_000.cu3s"
    session("peas.cu3s")
    assert SingleCu3sDataModule(data_dir=tmp_path, dataset_name="peas").cu3s_file_path == tmp_path / "peas.cu3s"
    with pytest.raises(ValueError, match="data_dir and dataset_name together"):
        SingleCu3sDataModule(data_dir=tmp_path)
    with pytest.raises(CubeError, match="There is no session file 'beans'"):
        SingleCu3sDataModule(data_dir=tmp_path, dataset_name="beans")
