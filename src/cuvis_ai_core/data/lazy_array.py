"""Cubes that stay in their file: what is asked for is read, and nothing else.

Not a memory map: mapped pages count as memory of the process and against its limits, a file that is cut meanwhile ends
the program, and gains, "no data" and packed chunks would have to be applied to the whole. Nor dask, which brings blocks
too: it knows no statistics of a whole image before its scores and no ports, and puts a scheduler under every node.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import DTypeLike, NDArray

from cuvis_ai_core.node.dtypes import floating_for

Read: TypeAlias = Callable[[slice, slice, slice], NDArray[Any]]
"""Reads `[rows, columns, bands]`; each slice has a start, a stop, and no step."""

_RANK: Final = 3
_BLOCK: Final = 2**24
"""Bytes that are read at once of an array that is gone through."""


class LazyArray(NDArrayOperatorsMixin):
    """A cube `[height, width, channel]` that is read by pieces, as an index asks for them.

    `lazy[rows, columns, bands]` reads a piece into an array of NumPy; `numpy.asarray(lazy)`, operators, and whatever
    else only an array can (`lazy.mean()`) read the whole. Several threads may read at once.

    Args:
        shape: Its shape.
        dtype: Its type, in the byte order of the machine.
        read: Reads a piece of it. What it returns is of that type, and is nobody else's.
        chunk: Height and width of the pieces in which the file stores it: tiles are made of whole ones.
    """

    def __init__(
        self, shape: tuple[int, ...], dtype: DTypeLike, read: Read, *, chunk: tuple[int, int] = (1, 1)
    ) -> None:
        self.shape = tuple(map(int, shape))
        self.dtype = np.dtype(dtype)
        self.chunk = chunk
        self._read = read

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of values."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """Bytes that all values take in memory."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[NDArray[Any]]:
        # By blocks: the file is opened for each piece.
        for block in blocks_of(self):
            yield from block

    def __getitem__(self, key: Any) -> Any:
        keys = key if isinstance(key, tuple) else (key,)
        if any(each is Ellipsis for each in keys):
            at = next(number for number, each in enumerate(keys) if each is Ellipsis)
            keys = (*keys[:at], *[slice(None)] * (_RANK - len(keys) + 1), *keys[at + 1 :])
        if len(keys) > _RANK or not all(isinstance(each, slice | int | np.integer) for each in keys):
            return np.asarray(self)[key]
        keys += (slice(None),) * (_RANK - len(keys))
        ranges, rest = zip(*map(_range, keys, self.shape), strict=True)
        sizes = [each.stop - each.start for each in ranges]
        return (self._read(*ranges) if all(sizes) else np.empty(sizes, self.dtype))[rest]

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        del copy  # whatever is read is a copy
        whole = self._read(*(slice(0, size) for size in self.shape))
        return whole if dtype is None else whole.astype(dtype, copy=False)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        arrays = (np.asarray(each) if isinstance(each, LazyArray) else each for each in inputs)
        return getattr(ufunc, method)(*arrays, **options)

    def __getattr__(self, name: str) -> Any:
        # Not what NumPy, copy and pickle ask for by themselves: to look at it, the whole would be read.
        if name.startswith("_") or name not in dir(np.ndarray):
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")
        return getattr(np.asarray(self), name)

    def __repr__(self) -> str:
        return f"<LazyArray {self.shape} {self.dtype}>"


def blocks_of(data: "NDArray[Any] | LazyArray") -> Iterator[NDArray[Any]]:
    """Yield a cube from the top to the bottom, some lines at a time."""
    chunk = data.chunk[0] if isinstance(data, LazyArray) else 1
    lines = _BLOCK * data.shape[0] // max(1, data.nbytes)
    step = max(1, lines // chunk) * chunk
    for top in range(0, data.shape[0], step):
        yield data[top : top + step]


def as_stored(data: Any) -> NDArray[Any] | LazyArray:
    """Return a cube as an array, or as one that stays in its file: a dataset of h5py, zarr, netCDF4, dask, ...

    Args:
        data: An array, what NumPy makes one of, or something with `shape`, `dtype`, an index, and `chunks` if it is
            stored in pieces.

    Raises:
        TypeError: NumPy makes no array of it.
        ValueError: As before.
        RuntimeError: It is a tensor of which there is no array.
    """
    if isinstance(data, LazyArray):
        return data
    is_stored = all(hasattr(data, name) for name in ("shape", "dtype", "__getitem__"))
    if not is_stored or isinstance(data, np.ndarray) or len(data.shape) != _RANK or not _is_of_numpy(data.dtype):
        return np.asarray(data)
    chunks = getattr(data, "chunks", None)
    sizes = chunks if isinstance(chunks, tuple) and len(chunks) == _RANK else (1, 1)
    # of dask each is a row of sizes
    down, across = (max(each) if isinstance(each, tuple) else int(each) for each in sizes[:2])
    dtype, is_masked = _of_pieces(data)

    def read(*ranges: slice) -> NDArray[Any]:
        piece = data[ranges]
        return np.ma.filled(piece.astype(dtype), np.nan) if is_masked else np.asarray(piece, dtype=dtype)

    return LazyArray(data.shape, dtype, read, chunk=(down, across))


def _is_of_numpy(dtype: object) -> bool:
    try:
        np.dtype(dtype)  # type: ignore[call-overload]  # a tensor has a dtype of its own
    except TypeError:
        return False
    return True


def _of_pieces(data: Any) -> tuple[np.dtype[Any], bool]:
    """Return the type of what is read of a dataset, and whether it is masked: netCDF4 applies scale and mask itself."""
    stated = np.dtype(data.dtype).newbyteorder("=")
    if 0 in data.shape:
        return stated, False
    piece = data[0:1, 0:1, 0:1]
    found = np.dtype(piece.dtype).newbyteorder("=")
    # by its name: to ask for its class imports `numpy.ma`
    is_masked = type(piece).__name__ == "MaskedArray" and found.kind in "iuf"
    return np.dtype(floating_for(found)) if is_masked else found, is_masked


def _range(key: slice | int, size: int) -> tuple[slice, slice | int]:
    """Return the range to read of an axis, and what to take of that."""
    if not isinstance(key, slice):
        if not -size <= key < size:
            raise IndexError(f"index {key} is out of bounds for an axis of size {size}")
        at = int(key) % size
        return slice(at, at + 1), 0
    start, stop, step = key.indices(size)
    if step == 1:
        return slice(start, max(start, stop)), slice(None)
    numbers = range(start, stop, step)
    if not numbers:
        return slice(0, 0), slice(None)
    # Read forwards: a step that is negative turns round what was read.
    least, most = min(numbers[0], numbers[-1]), max(numbers[0], numbers[-1])
    return slice(least, most + 1), slice(None, None, step)
