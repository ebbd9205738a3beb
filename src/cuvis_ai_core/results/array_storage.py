"""Places of arrays in files, written part by part in any order, and read back by parts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

_BLOCK: Final = 2**24
"""Bytes that are read at once."""


class Place(Protocol):
    """Where an output is written."""

    shape: tuple[int, ...]
    dtype: "np.dtype[Any]"

    def __setitem__(self, key: Any, value: NDArray[Any]) -> None:
        """Write `[...]`, or `[:, rows, columns]` of images."""

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """Read all of it."""

    def blocks(self) -> Iterator[NDArray[Any]]:
        """Read it part by part."""


class RawPlace:
    """An array as raw values in a file, in the order of C.

    Args:
        file: The file; it is there, and long enough.
        offset: The first byte of the values.
        shape: The shape of the array.
        dtype: The type of its values in the file.
    """

    def __init__(self, file: Path, offset: int, shape: tuple[int, ...], dtype: "np.dtype[Any]") -> None:
        self.shape = shape
        self.dtype = dtype
        self._file = file
        self._offset = offset

    def __setitem__(self, key: Any, value: NDArray[Any]) -> None:
        values = np.ascontiguousarray(value, dtype=self.dtype)
        # For each tile anew: tiles come from several threads, and a stream has one position.
        with self._file.open("r+b") as stream:
            if key is Ellipsis:
                self._write(stream, 0, values)
                return
            _, rows, columns = key
            (height, width), pixel = self.shape[1:3], _product(self.shape[3:])
            for image in range(self.shape[0]):
                first = (image * height + rows.start) * width
                if columns == slice(0, width):
                    self._write(stream, first * pixel, values[image])
                    continue
                for row in range(rows.stop - rows.start):
                    self._write(stream, (first + row * width + columns.start) * pixel, values[image, row])

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        # What is read from a file is a copy in any case.
        del copy
        whole = np.fromfile(self._file, self.dtype, _product(self.shape), offset=self._offset).reshape(self.shape)
        return whole if dtype is None else whole.astype(dtype, copy=False)

    def blocks(self) -> Iterator[NDArray[Any]]:
        """Read it part by part, without its shape."""
        total, step = _product(self.shape), max(1, _BLOCK // self.dtype.itemsize)
        for first in range(0, total, step):
            count = min(step, total - first)
            yield np.fromfile(self._file, self.dtype, count, offset=self._offset + first * self.dtype.itemsize)

    def _write(self, stream: Any, first: int, values: NDArray[Any]) -> None:
        stream.seek(self._offset + first * self.dtype.itemsize)
        stream.write(values.tobytes())


def is_place(value: object) -> bool:
    """Tell whether a value is one that is in its file already."""
    return hasattr(value, "blocks")


def blocks_of(array: "NDArray[Any] | Place") -> Iterator[NDArray[Any]]:
    """Yield an array part by part."""
    if isinstance(array, np.ndarray):
        yield array
    else:
        yield from array.blocks()


def _product(sizes: tuple[int, ...]) -> int:
    # By itself NumPy before 2 counts in 32 bits on Windows.
    return int(np.prod(sizes, dtype=np.int64))
