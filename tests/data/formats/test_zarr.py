"""Zarr stores of both formats, as the library itself and xarray write them."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.data import Cubes, read_cube
from cuvis_ai_core.errors import CubeError

zarr = pytest.importorskip("zarr")

READERS = NodeRegistry().cube_readers()
DATA = np.arange(8 * 6 * 4, dtype=np.uint16).reshape(8, 6, 4)
NM = [450.0, 550.0, 650.0, 850.0]


@pytest.mark.parametrize("options", [{"zarr_format": 2}, {"zarr_format": 3}, {"zarr_format": 3, "shards": (8, 6, 4)}])
def test_array(tmp_path: Path, options: dict[str, Any]) -> None:
    """A store may be one array, of format 2 or 3, with shards too; the folder is the cube."""
    path = tmp_path / "scene.zarr"
    array = zarr.create_array(store=path, shape=DATA.shape, chunks=(4, 3, 4), dtype=DATA.dtype, **options)
    array[:] = DATA
    array.attrs["wavelengths"] = NM
    cube = read_cube(path, READERS)
    np.testing.assert_array_equal(cube.data, DATA)
    assert cube.wavelengths is not None
    assert cube.wavelengths.tolist() == NM
    assert cube.source == path


def test_group(tmp_path: Path) -> None:
    """Of several arrays in groups one is asked for by its path."""
    path = tmp_path / "scene.zarr"
    root = zarr.open_group(path, mode="w")
    for name in ("a", "b"):
        root.create_group(name).create_array("data", shape=DATA.shape, dtype=DATA.dtype)[:] = DATA + (name == "b")
    np.testing.assert_array_equal(read_cube(f"{path}::b/data", READERS).data, DATA + 1)
    with pytest.raises(CubeError, match=r"has 2 arrays of three dimensions"):
        read_cube(path, READERS)


@pytest.mark.parametrize("version", [2, 3])
def test_consolidated_metadata_may_be_older_than_an_array(tmp_path: Path, version: Any) -> None:
    """What was added to a store afterwards is there, too."""
    path = tmp_path / "a.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=version)
    group.create_array("wavelengths", shape=(4,), dtype="f8")[:] = [450.0, 550.0, 650.0, 850.0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of format 3 they are no standard yet
        zarr.consolidate_metadata(path)
    group.create_array("late", shape=DATA.shape, dtype=DATA.dtype)[:] = DATA
    for name in (path, f"{path}::late"):
        np.testing.assert_array_equal(read_cube(name, READERS).data, DATA)


@pytest.mark.parametrize("version", [2, 3])
def test_xarray(tmp_path: Path, version: int) -> None:
    """What xarray writes comes back in order, in its scale, without its fill values."""
    xarray = pytest.importorskip("xarray")
    values = (DATA / 1000).astype(np.float32)
    values[0, 0, 0] = np.nan
    array = xarray.DataArray(values.transpose(2, 0, 1), dims=("wavelength", "y", "x"), name="rfl")
    scene = array.to_dataset().assign_coords(wavelength=("wavelength", NM, {"units": "nm"}))
    path = tmp_path / "scene.zarr"
    packed = {"rfl": {"dtype": "u2", "scale_factor": 1e-3, "_FillValue": 65535}}
    scene.to_zarr(path, zarr_format=version, encoding=packed, consolidated=version == 2)
    cube = read_cube(path, READERS)
    np.testing.assert_allclose(cube.data, values, atol=1e-6)
    assert cube.wavelengths is not None
    assert cube.wavelengths.tolist() == NM


def test_packed(tmp_path: Path) -> None:
    """A store in one zip is read where it lies."""
    path = tmp_path / "scene.zarr.zip"
    with zarr.storage.ZipStore(path, mode="w") as store:
        zarr.create_array(store=store, data=DATA)
    np.testing.assert_array_equal(read_cube(path, READERS).data, DATA)


def test_in_a_folder(tmp_path: Path) -> None:
    """Stores in a folder of cubes are counted, other folders are not."""
    for name in ("a.zarr", "b.zarr"):
        zarr.create_array(store=tmp_path / name, data=DATA)
    (tmp_path / "c.zarr").mkdir()
    assert [cube.source for cube in Cubes(tmp_path, READERS)] == [tmp_path / "a.zarr", tmp_path / "b.zarr"]


def test_no_store(tmp_path: Path) -> None:
    """A folder that is no store is no cube."""
    (tmp_path / "a.zarr").mkdir()
    with pytest.raises(CubeError, match="is a folder; a cube is a file"):
        read_cube(tmp_path / "a.zarr", READERS)


@pytest.mark.parametrize("key", ["shape", "chunks"])
def test_large_claim(tmp_path: Path, key: str) -> None:
    """Metadata that claim a huge array, or a huge chunk, are an error with the limit, and take no memory."""
    path = tmp_path / "a.zarr"
    zarr.create_array(store=path, data=DATA)
    file = path / "zarr.json"
    about = json.loads(file.read_text())
    huge = [1 << 20, 1 << 20, 1 << 10]
    if key == "shape":
        about["shape"] = huge
    else:
        about["chunk_grid"]["configuration"]["chunk_shape"] = huge
    file.write_text(json.dumps(about))
    with pytest.raises(CubeError, match=r"1048576 x 1048576 x 1024 values.*the limit is the memory that is free"):
        np.asarray(read_cube(path, READERS).data)


def test_damaged(tmp_path: Path) -> None:
    """Damaged metadata, and a damaged chunk, are errors of ours."""
    path = tmp_path / "a.zarr"
    zarr.create_array(store=path, data=DATA)
    chunk = next(file for file in path.rglob("*") if file.is_file() and file.name != "zarr.json")
    chunk.write_bytes(b"nothing")
    with pytest.raises(CubeError, match=r"a\.zarr' is not a Zarr store that can be read"):
        np.asarray(read_cube(path, READERS).data)
    (path / "zarr.json").write_text("{")
    with pytest.raises(CubeError, match=r"a\.zarr' is not a Zarr store that can be read"):
        read_cube(path, READERS)


@pytest.mark.parametrize(("version", "name"), [(2, ".zarray"), (3, "zarr.json")])
def test_a_codec_that_is_missing_is_named(tmp_path: Path, version: Any, name: str) -> None:
    """The store is not damaged: what packed its values is not installed."""
    array = zarr.create_array(tmp_path / "a.zarr", shape=(3, 4, 5), dtype="u2", zarr_format=version)
    array[...] = 1
    about = tmp_path / "a.zarr" / name
    text = about.read_text(encoding="utf-8").replace('"zstd"', '"some_plugin"')
    assert "some_plugin" in text
    about.write_text(text, encoding="utf-8")
    with pytest.raises(CubeError, match=r"values of the cube '.*a\.zarr' cannot be unpacked: .*some_plugin") as error:
        read_cube(tmp_path / "a.zarr", READERS)
    assert "Install what brings this codec" in str(error.value.hint)
