"""Pieces of a file of raw, uncompressed values: band by band, line by line or pixel by pixel, read without a copy."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cuvis_ai_core.data.lazy_array import Read
from cuvis_ai_core.errors import CubeError


def raw_reader(file: Path, dtype: np.dtype[Any], offset: int, shape: tuple[int, ...], axes: tuple[int, ...]) -> Read:
    """Return what reads pieces of a file of raw values, each time anew: no handle stays open.

    Args:
        file: The file.
        dtype: The type of its values, in its byte order.
        offset: The first byte of the values.
        shape: Height, width and number of channels.
        axes: The axes of `[height, width, channel]` in the order of the file.

    Returns:
        A function that raises `CubeError` where the file was written to meanwhile.
    """
    sizes, known = [shape[axis] for axis in axes], _state(file.stat())
    back = tuple(int(axis) for axis in np.argsort(axes))

    def read(*ranges: slice) -> NDArray[Any]:
        first, second, third = (ranges[axis] for axis in axes)
        stored = np.empty((first.stop - first.start, second.stop - second.start, sizes[2]), dtype)
        lines = sizes[1] * sizes[2] * dtype.itemsize
        # A buffer would be filled anew after each seek.
        with file.open("rb", buffering=0) as stream:
            # Of the open file: at the path there may be another one by now.
            if _state(os.fstat(stream.fileno())) != known:
                raise _changed(file)
            # whole planes lie one behind the other
            pieces = [stored] if second == slice(0, sizes[1]) else stored
            for plane, piece in enumerate(pieces, first.start):
                stream.seek(offset + plane * lines + second.start * sizes[2] * dtype.itemsize)
                if not _filled(stream, memoryview(piece.reshape(-1).view(np.uint8))):
                    raise _changed(file)
        return np.ascontiguousarray(stored[..., third].transpose(back), dtype=dtype.newbyteorder("="))

    return read


def _filled(stream: io.RawIOBase, target: memoryview) -> bool:
    """Read as much as there is room for, and tell whether there was as much; a system may give less at once."""
    while target:
        count = stream.readinto(target)
        if not count:
            return False
        target = target[count:]
    return True


def _changed(file: Path) -> CubeError:
    return CubeError(f"The cube '{file}' was written to since it was opened.", hint="Read it again.", path=file)


def _state(found: os.stat_result) -> tuple[int, int]:
    return found.st_size, found.st_mtime_ns
