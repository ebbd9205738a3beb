"""Files of the field's formats that name files elsewhere, or are small on disk and large in memory."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuvis_ai_core.data import Cube, read_cube
from cuvis_ai_core.errors import CubeError
from cuvis_ai_core.registry import NodeRegistry

CUBE = np.arange(16, dtype=np.uint8).reshape(2, 2, 4)


@pytest.fixture
def read() -> Callable[[Path], Cube]:
    """Return a function that reads a cube with its values."""

    def whole(path: Path) -> Cube:
        cube = read_cube(path, NodeRegistry(discover=False).cube_readers())
        np.asarray(cube.data)
        return cube

    return whole


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """Write a file that a cube has no business with, raw and as HDF5."""
    h5py = pytest.importorskip("h5py")
    (tmp_path / "home").mkdir()
    (tmp_path / "home/key").write_bytes(b"secret" * 10)
    with h5py.File(tmp_path / "home/key.h5", "w") as file:
        file["cube"] = CUBE
    (tmp_path / "scenes").mkdir()
    return tmp_path / "home/key"


@pytest.mark.parametrize("relative", [False, True])
def test_an_external_dataset_of_hdf5_is_not_read(
    read: Any,
    secret: Path,
    monkeypatch: pytest.MonkeyPatch,
    relative: bool,  # noqa: FBT001
) -> None:
    """It would be any file, whatever it is."""
    import h5py

    monkeypatch.chdir(secret.parent)
    with h5py.File("../scenes/x.h5", "w") as file:
        file.create_dataset("cube", (2, 2, 4), "u1", external=[("key" if relative else str(secret), 0, 16)])
    with pytest.raises(CubeError, match=r"in another file, '.*key', which is not read"):
        read(secret.parents[1] / "scenes/x.h5")


def test_a_link_to_another_hdf5_file_is_said(read: Any, secret: Path) -> None:
    """A file that has nothing else is not called empty."""
    import h5py

    with h5py.File(secret.parents[1] / "scenes/x.h5", "w") as file:
        file["cube"] = h5py.ExternalLink("../home/key.h5", "/cube")
        file["wavelengths"] = [400.0, 500.0]
    with pytest.raises(CubeError, match=r"keeps '/cube' in another file, '../home/key.h5', which is not read"):
        read(secret.parents[1] / "scenes/x.h5")


def test_links_and_virtual_datasets_of_hdf5_stay_beside_it(read: Any, secret: Path, tmp_path: Path) -> None:
    """A virtual dataset may be made of files in its own folder; a link there that leads elsewhere is elsewhere."""
    import h5py

    def virtual(source: str) -> Path:
        layout = h5py.VirtualLayout((2, 2, 4), "u1")
        layout[:] = h5py.VirtualSource(source, "cube", shape=(2, 2, 4))
        with h5py.File(tmp_path / "scenes/v.h5", "w") as file:
            file.create_virtual_dataset("cube", layout)
        return tmp_path / "scenes/v.h5"

    (tmp_path / "scenes/linked.h5").symlink_to(f"{secret}.h5")
    for source in (f"{secret}.h5", "../home/key.h5", "linked.h5"):
        with pytest.raises(CubeError, match="which is not read"):
            read(virtual(source))
    with h5py.File(tmp_path / "scenes/part.h5", "w") as file:
        file["cube"] = CUBE
    np.testing.assert_array_equal(np.asarray(read(virtual("part.h5")).data), CUBE)
    with h5py.File(tmp_path / "scenes/l.h5", "w") as file:
        file["cube"] = h5py.ExternalLink(f"{secret}.h5", "/cube")
    with pytest.raises(CubeError):
        read(tmp_path / "scenes/l.h5")


@pytest.mark.slow
def test_small_files_of_large_cubes_name_the_limit(read: Any, tmp_path: Path) -> None:
    """A few kilobytes that are called gigabytes."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("cube", (1000, 1000, 1000), "u1", chunks=(100, 100, 100), compression="gzip")
    with pytest.raises(CubeError, match=r"unpack to 954 MiB; the limit is 256 MiB"):
        read(tmp_path / "x.h5")
    savemat = pytest.importorskip("scipy.io").savemat
    savemat(tmp_path / "x.mat", {"cube": np.zeros((700, 700, 700), np.uint8)}, do_compression=True)
    with pytest.raises(CubeError, match="the limit is 256 MiB"):
        read(tmp_path / "x.mat")
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "x.tif", np.zeros((300, 1000, 1000), np.uint8), compression="zlib")
    with pytest.raises(CubeError, match="the limit is 256 MiB"):
        read(tmp_path / "x.tif")


class _Planted:
    """Makes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return open, (str(self._file), "w")


@pytest.mark.parametrize("dtype", ["<f4", "|O"])
@pytest.mark.parametrize("place", [{"compressor": {"id": "pickle"}}, {"filters": [{"id": "pickle"}]}])
def test_pickles_in_zarr_stores_are_not_read(read: Any, tmp_path: Path, dtype: str, place: dict[str, Any]) -> None:
    """Though there is a codec for them."""
    pytest.importorskip("zarr")
    store = tmp_path / "x.zarr"
    store.mkdir()
    about = {"zarr_format": 2, "shape": [2, 2, 2], "chunks": [2, 2, 2], "dtype": dtype, "fill_value": 0, "order": "C"}
    (store / ".zarray").write_text(json.dumps({"compressor": None, "filters": None, **about, **place}))
    (store / "0.0.0").write_bytes(pickle.dumps(_Planted(tmp_path / "ran")))
    with pytest.raises(CubeError):
        read(store)
    assert not (tmp_path / "ran").exists()
