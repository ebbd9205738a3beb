"""Cubes that stay in their files go through a pipeline tile by tile."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuvis_ai_core import NodeRegistry, Pipeline
from cuvis_ai_core.data import read_cube
from cuvis_ai_core.data.formats.stored_image import Stored
from cuvis_ai_core.data.lazy_array import LazyArray

DATA = np.random.default_rng(3).integers(1, 4000, size=(41, 29, 6)).astype(np.uint16)
DATA[5:9, 3:20] = 0


def _hdf5(path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file.create_dataset("cube", data=DATA, chunks=(8, 8, 6), compression="gzip").attrs["_FillValue"] = np.uint16(0)


def _tif(path: Path) -> None:
    pytest.importorskip("tifffile")
    rasterio = pytest.importorskip("rasterio")
    options = {"tiled": True, "blockxsize": 16, "blockysize": 16, "nodata": 0, "crs": "EPSG:32633"}
    place = rasterio.Affine(30, 0, 5e5, 0, -30, 5e6)
    with rasterio.open(path, "w", height=41, width=29, count=6, dtype="uint16", transform=place, **options) as raster:
        raster.write(DATA.transpose(2, 0, 1))


def _zarr(path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    array = zarr.create_array(store=path, shape=DATA.shape, dtype="u2", chunks=(4, 8, 6), shards=(16, 16, 6))
    array[:] = DATA
    array.attrs["_FillValue"] = 0


@pytest.mark.parametrize(("name", "write"), [("a.h5", _hdf5), ("a.tif", _tif), ("a.zarr", _zarr)])
def test_same_numbers(tmp_path: Path, name: str, write: Callable[[Path], None]) -> None:
    """The numbers are those of the whole image, and no piece is larger than the memory that was allowed."""
    write(tmp_path / name)
    registry = NodeRegistry(discover=False)
    cube = read_cube(tmp_path / name, registry.cube_readers())
    assert isinstance(cube.data, LazyArray)
    nodes = [{"name": "scale", "class_name": "MinMaxNormalizer"}, {"name": "rx", "class_name": "RXDetector"}]
    graph = {"nodes": nodes, "edges": [{"source": "scale.cube", "target": "rx.cube"}]}
    pipeline = Pipeline.from_dict(graph, node_registry=registry)
    expected = pipeline.forward(cube.batch())["rx", "scores"]
    tiles: list[int] = []
    found = pipeline.forward_tiled(cube.tiles(), memory=100_000, progress=lambda done, _: tiles.append(done))
    assert max(tiles) > 3
    np.testing.assert_allclose(found["rx", "scores"], expected, rtol=1e-4, atol=1e-4)
    assert np.isnan(expected[0, 5:9, 3:20]).all()
    assert np.isfinite(expected).sum() == 41 * 29 - 4 * 17


@pytest.mark.parametrize(("name", "write"), [("a.h5", _hdf5), ("a.tif", _tif), ("a.zarr", _zarr)])
def test_packed_pieces_are_unpacked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, write: Callable[[Path], None]
) -> None:
    """Lines that lie in one packed piece are read from the file at once, and each is right and one's own."""
    write(tmp_path / name)
    cube = read_cube(tmp_path / name, NodeRegistry(discover=False).cube_readers())
    expected = np.where(DATA == 0, np.nan, DATA)
    read, rows = Stored.read, []

    def note(image: Stored, *part: slice) -> Any:
        rows.append(part[0].stop - part[0].start)
        return read(image, *part)

    monkeypatch.setattr(Stored, "read", note)
    for line in range(41):
        found = cube.data[line, 3:20]
        np.testing.assert_array_equal(found, expected[line, 3:20])
        found[:] = -1
    np.testing.assert_array_equal(cube.data[7:30, :9, 2:], expected[7:30, :9, 2:])
    step = 8 if name == "a.h5" else 16
    assert rows[: -(-41 // step)] == [*[step] * (41 // step), 41 % step]
    assert len(rows) == -(-41 // step) + 1
