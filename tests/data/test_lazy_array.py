"""Cubes that stay in their file until a piece is asked for."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from cuvis_ai_core.data import Cube, LazyArray
from cuvis_ai_core.data.lazy_array import blocks_of
from cuvis_ai_core.data.numpy_files import read_npy

DATA = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)


class Stored:
    """What h5py and zarr have: no array, but sliced as one."""

    chunks = (2, 5, 3)

    def __init__(self, array: NDArray[Any]) -> None:
        self._array = array
        self.shape = array.shape
        self.dtype = array.dtype
        self.asked: list[Any] = []

    def __getitem__(self, key: Any) -> NDArray[Any]:
        assert all(isinstance(each, slice) and each.step is None for each in key)
        self.asked.append(tuple((each.start, each.stop) for each in key))
        return np.array(self._array[key])


def _lazy(array: NDArray[Any] = DATA) -> LazyArray:
    data = Cube(Stored(array)).data  # type: ignore[arg-type]
    assert isinstance(data, LazyArray)
    return data


_KEYS = st.one_of(
    st.just(Ellipsis),
    st.integers(-4, 3),
    st.slices(4),
    st.tuples(st.slices(4), st.slices(5), st.slices(6)),
    st.tuples(st.integers(-4, 3), st.slices(5)),
    st.tuples(st.just(Ellipsis), st.integers(-6, 5)),
    st.tuples(st.slices(4), st.just(Ellipsis), st.slices(6)),
    st.just((..., [4, 1])),
    st.just((slice(None), None)),
    st.just(np.arange(24).reshape(4, 6) > 99) | st.just(DATA > 7),
)


@given(_KEYS)
def test_index(key: Any) -> None:
    """Whatever index an array takes gives of a lazy cube what it gives of the array."""
    try:
        expected = DATA[key]
    except IndexError:
        with pytest.raises(IndexError):
            _lazy()[key]
        return
    assert_array_equal(_lazy()[key], expected, strict=True)


def test_only_the_piece_is_read() -> None:
    """A dataset in a file is asked for the pieces of an index, and for no more."""
    stored = Stored(DATA)
    data = Cube(stored).data  # type: ignore[arg-type]
    data[1:3, 2, ::2]
    assert stored.asked[-1] == ((1, 3), (2, 3), (0, 5))


def test_as_an_array() -> None:
    """Operators, functions and methods of arrays read the whole of a lazy cube."""
    data = _lazy()
    assert_array_equal(np.asarray(data), DATA, strict=True)
    assert_array_equal(data * 2 + data, DATA * 3, strict=True)
    assert (data.mean(), np.max(data), data.size, data.nbytes, len(data)) == (DATA.mean(), 119, 120, 240, 4)
    assert [line.shape for line in data] == [(5, 6)] * 4
    with pytest.raises(AttributeError, match="no attribute 'wavelength'"):
        data.wavelength()


def test_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cube is gone through by whole chunks of its file."""
    monkeypatch.setattr("cuvis_ai_core.data.lazy_array._BLOCK", 200)
    assert [len(block) for block in blocks_of(_lazy())] == [2, 2]
    assert_array_equal(np.concatenate(list(blocks_of(DATA))), DATA)


def test_tiles_of_a_cube() -> None:
    """The image of a cube is read tile by tile, with NaN in bands without data, as `batch` has it whole."""
    cube = Cube(Stored(DATA), good_bands=np.array([1, 1, 0, 1, 1, 1]))  # type: ignore[arg-type]
    image, whole = cube.tiles()["cube"], cube.batch()["cube"]
    assert not isinstance(image, np.ndarray)
    assert (image.shape, image.dtype, image.chunk) == (whole.shape, whole.dtype, (2, 5))
    assert_array_equal(image.tile(slice(1, 3), slice(2, 4)), whole[:, 1:3, 2:4], strict=True)


@pytest.mark.parametrize("chunks", [((2, 2), (5,), (3, 3)), ((1, 2, 1), (5,), (6,)), (2, 5, 6)])
def test_chunks_of_dask(chunks: Any) -> None:
    """They are a row of sizes for each axis, of which the largest counts."""
    stored = Stored(DATA)
    stored.chunks = chunks
    data = Cube(stored).data  # type: ignore[arg-type]
    assert isinstance(data, LazyArray)
    assert data.chunk == (2, 5)
    assert_array_equal(data, DATA, strict=True)


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("scale", [0.5, None])
def test_variables_of_netcdf(tmp_path: Path, scale: float | None, *, masked: bool) -> None:
    """They scale and mask by themselves: what comes is of another type than they say they have."""
    netcdf = pytest.importorskip("netCDF4")
    with netcdf.Dataset(tmp_path / "a.nc", "w") as file:
        for name, size in zip("yxb", DATA.shape, strict=True):
            file.createDimension(name, size)
        variable = file.createVariable("rfl", "i2", ("y", "x", "b"), fill_value=7)
        variable[...] = DATA
        if scale is not None:
            variable.scale_factor = scale
    with netcdf.Dataset(tmp_path / "a.nc") as file:
        file["rfl"].set_auto_mask(masked)
        cube = Cube(file["rfl"])
        expected = DATA * (scale or 1.0)
        if masked:
            expected[DATA == 7] = np.nan
        assert_array_equal(cube.data, expected)
        assert_array_equal(cube.data[1:3, 1:2], expected[1:3, 1:2])
        assert cube.data.dtype == (np.float64 if scale else np.float32 if masked else np.int16)


def test_a_copy() -> None:
    """A batch of an array is a copy of it."""
    data = DATA.copy()
    batch = Cube(data).batch()
    data[...] = 0
    assert_array_equal(batch["cube"][0], DATA)


class _Sluggish(io.FileIO):
    """A file of which a system gives seven bytes at once, as it gives at most 2 GiB of any."""

    def readinto(self, buffer: Any) -> int:
        return super().readinto(memoryview(buffer)[:7]) or 0


def test_a_file_that_comes_by_and_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image is read whole also where the system gives less at once than is asked for."""
    np.save(tmp_path / "cube.npy", DATA)
    cube = read_npy(tmp_path / "cube.npy")
    monkeypatch.setattr(Path, "open", lambda path, *_, **__: _Sluggish(path))
    assert_array_equal(np.asarray(cube.data), DATA, strict=True)
    assert_array_equal(cube.data[1:3, 2:4], DATA[1:3, 2:4], strict=True)
