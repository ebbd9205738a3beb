"""An image in a file: its sizes are known, and pieces of it are read when they are asked for."""

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cuvis_ai_core.data.lazy_array import LazyArray, Read
from cuvis_ai_core.data.no_data_values import is_missing
from cuvis_ai_core.data.raw_pieces import raw_reader
from cuvis_ai_core.errors import CubeError
from cuvis_ai_core.node.dtypes import floating_for

Opening: TypeAlias = Callable[[], AbstractContextManager[Any]]
"""Opens an array anew, so that no handle stays open and several threads may read: what it gives has `shape` and
`dtype`, and slices read from it."""

_KEPT: Final = 2**28
"""Bytes of unpacked values that are kept of a file."""


@dataclass(frozen=True, slots=True, eq=False)
class Meaning:
    """What stored values stand for: `gain * value + offset`, or "no data".

    Attributes:
        gain: One factor, or one a band; None where it changes nothing.
        offset: One summand, or one a band; None where it changes nothing.
        missing: Values that stand for "no data", as they are stored.
        valid: The least and the greatest stored value that are none of "no data".
        signed: The type of integers that are meant where the file has those of the other sign.
        outside: The value that all bands of a pixel have which lies outside the scene.
    """

    gain: NDArray[np.float64] | None = None
    offset: NDArray[np.float64] | None = None
    missing: tuple[float, ...] = ()
    valid: tuple[float, float] | None = None
    signed: np.dtype[Any] | None = None
    outside: float | None = None

    def changes(self) -> bool:
        """Tell whether values are other than they are stored."""
        return bool(self.missing) or any(
            each is not None for each in (self.gain, self.offset, self.valid, self.outside)
        )

    def of(self, raw: NDArray[Any], dtype: np.dtype[Any], bands: slice) -> NDArray[Any]:
        """Return the physical values of stored ones `[rows, columns, bands]`, as an array of their own."""
        # What is written into below must not be the file's own memory, or that of another tile.
        real = raw.astype(dtype, copy=self.changes() or not raw.flags.owndata)
        if self.gain is not None:
            real *= _of_bands(self.gain, bands).astype(dtype)
        if self.offset is not None:
            real += _of_bands(self.offset, bands).astype(dtype)
        for value in self.missing:
            real[is_missing(raw, value)] = np.nan
        if self.valid is not None:
            real[(raw < self.valid[0]) | (raw > self.valid[1])] = np.nan
        return real


class Image(Protocol):
    """What pieces are read of.

    Attributes:
        shape: Height, width and number of channels.
        dtype: Type of its values, in the byte order of the machine.
        chunk: Height and width of the pieces in which the file stores it.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    chunk: tuple[int, int]

    def read(self, rows: slice, columns: slice, bands: slice) -> NDArray[Any]:
        """Read a piece; each slice has a start and a stop, and no step."""
        ...


class Stored:
    """An array of a file as an image.

    Args:
        array: The array, open: its `shape`, `dtype`, and its `chunks` if it is stored in pieces.
        again: Opens it once more, whenever a piece is read.
        axes: Which of its axes are height, width and channel. Others have one element.
        meaning: What its values stand for.
    """

    def __init__(
        self,
        array: Any,
        again: Opening,
        axes: tuple[int, int, int] = (0, 1, 2),
        meaning: Meaning | None = None,
    ) -> None:
        self._again = again
        self._axes = axes
        self._meaning = meaning or Meaning()
        self._rank = len(array.shape)
        height, width, channels = (int(array.shape[axis]) for axis in axes)
        self.shape = (height, width, channels)
        native = np.dtype(self._meaning.signed or array.dtype).newbyteorder("=")
        self.dtype: np.dtype[Any] = np.dtype(floating_for(native)) if self._meaning.changes() else native
        # Of Zarr 3 a shard is what is read at once; chunks lie within it.
        chunks = getattr(array, "shards", None) or getattr(array, "chunks", None)
        self.chunk = (int(chunks[axes[0]]), int(chunks[axes[1]])) if isinstance(chunks, tuple) else (1, 1)

    def read(self, rows: slice, columns: slice, bands: slice) -> NDArray[Any]:
        """Read a piece."""
        outside = self._meaning.outside
        # All bands: whether a pixel lies outside, no single one tells.
        raw = self._raw(rows, columns, bands if outside is None else slice(0, self.shape[2]))
        if outside is None:
            return self._meaning.of(raw, self.dtype, bands)
        real = self._meaning.of(raw[..., bands], self.dtype, bands)
        # In all bands: a single band may well measure that value.
        real[(raw == outside).all(axis=-1)] = np.nan
        return real

    def _raw(self, *parts: slice) -> NDArray[Any]:
        # A number, not a slice of one: the axis is gone from what comes back.
        index: list[slice | int] = [0] * self._rank
        for axis, part in zip(self._axes, parts, strict=True):
            index[axis] = part
        # Opened for each piece: handles of HDF5 and GDAL are not for several threads, nor for a fork.
        with self._again() as array:
            raw = np.asarray(array[tuple(index)])
        if self._meaning.signed is not None:
            raw = raw.astype(self._meaning.signed)
        left = sorted(self._axes)
        return raw.transpose([left.index(axis) for axis in self._axes])


class RawArray:
    """An array that lies in a file as it is, in C order: what slices ask for is read, and no handle stays open.

    Args:
        file: The file.
        dtype: The type of its values, in their byte order.
        offset: The first byte.
        shape: Three sizes, and further ones that are 1.
    """

    def __init__(self, file: Path, dtype: np.dtype[Any], offset: int, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.dtype = dtype
        self._file = file
        self._offset = offset
        self._reader: Read | None = None

    def __getitem__(self, key: tuple[slice | int, ...]) -> NDArray[Any]:
        """Read a piece: a slice with start and stop for each of three axes, 0 for the others."""
        at = [axis for axis, each in enumerate(key) if isinstance(each, slice)]
        if self._reader is None:
            sizes = [self.shape[axis] for axis in at]
            self._reader = raw_reader(self._file, self.dtype, self._offset, (sizes[0], sizes[1], sizes[2]), (0, 1, 2))
        return self._reader(*(each for each in key if isinstance(each, slice)))


class Joined:
    """Images of one size, their bands one behind the other."""

    def __init__(self, parts: Sequence[Image]) -> None:
        self._parts = tuple(parts)
        height, width, _ = self._parts[0].shape
        self.shape = (height, width, sum(part.shape[2] for part in self._parts))
        self.dtype: np.dtype[Any] = np.result_type(*(part.dtype for part in self._parts))
        self.chunk = max(part.chunk for part in self._parts)

    def read(self, rows: slice, columns: slice, bands: slice) -> NDArray[Any]:
        """Read a piece."""
        pieces, first = [], 0
        for part in self._parts:
            channels = part.shape[2]
            start, stop = max(bands.start - first, 0), min(bands.stop - first, channels)
            if start < stop:
                pieces.append(part.read(rows, columns, slice(start, stop)))
            first += channels
        return np.concatenate(pieces, axis=-1, dtype=self.dtype)


def data_of(image: Image, file: Path) -> LazyArray:
    """Return an image as the data of a cube, of which a piece larger than the memory that is free is an error."""
    kept = _Kept(image)

    def read(rows: slice, columns: slice, bands: slice) -> NDArray[Any]:
        check_size(file, [each.stop - each.start for each in (rows, columns, bands)], image.dtype)
        return kept.read(rows, columns, bands)

    return LazyArray(image.shape, image.dtype, read, chunk=image.chunk)


class _Kept:
    """Keeps what was unpacked last: tiles are smaller than the pieces of most files, and each would unpack them again.

    Args:
        image: What is read.
    """

    def __init__(self, image: Image) -> None:
        self._image = image
        self._lock = threading.Lock()
        self._at: tuple[slice, slice] | None = None
        self._piece: NDArray[Any] = np.empty(0)

    def read(self, rows: slice, columns: slice, bands: slice) -> NDArray[Any]:
        """Read a piece."""
        height, width, channels = self._image.shape
        down, across = (_whole(*each) for each in zip((rows, columns), self._image.chunk, (height, width), strict=True))
        size = (down.stop - down.start) * (across.stop - across.start) * channels * self._image.dtype.itemsize
        is_part = (down, across) != (rows, columns) and 2 * (bands.stop - bands.start) >= channels
        if not is_part or size > _KEPT:
            return self._image.read(rows, columns, bands)
        with self._lock:
            if self._at != (down, across):
                # The old piece goes before the new one is read.
                self._at, self._piece = None, np.empty(0)  # never two at once
                self._piece = self._image.read(down, across, slice(0, channels))
                self._at = down, across
            piece = self._piece
        inside = (
            slice(part.start - all_.start, part.stop - all_.start) for part, all_ in ((rows, down), (columns, across))
        )
        # A view would keep the whole piece for as long as the tile lives.
        return piece[(*inside, bands)].copy()


def _whole(part: slice, chunk: int, size: int) -> slice:
    """Return the range of whole chunks in which a part lies."""
    return slice(part.start // chunk * chunk, min(size, -(-part.stop // chunk) * chunk))


def check_size(file: Path, shape: Sequence[int], dtype: np.dtype[Any]) -> None:
    """Refuse an array that is larger than the memory that is free, before anything of it is read.

    Raises:
        CubeError: It is; the error names both sizes.
    """
    needed, free = prod(map(int, shape)) * dtype.itemsize, _free()
    if needed > free:
        sizes = " x ".join(map(str, shape))
        raise CubeError(
            f"The cube '{file}' says that it has {sizes} values of type {dtype}, which are {needed / 2**30:.3g} GiB; "
            f"the limit is the memory that is free, {free / 2**30:.3g} GiB.",
            hint="The sizes in the file may be damaged. If they are right, cut the image into smaller files.",
            path=file,
        )


def _of_bands(values: NDArray[np.float64], bands: slice) -> NDArray[np.float64]:
    return values[bands] if values.ndim else values


def _free() -> int:
    """Return the memory that this process may still take, in bytes."""
    import psutil

    free = int(psutil.virtual_memory().available)
    with suppress(ImportError, ValueError, OSError):
        import resource

        soft, _ = resource.getrlimit(resource.RLIMIT_AS)
        if soft != resource.RLIM_INFINITY:
            # RLIMIT_AS counts addresses: batch systems set it, and NumPy's error would come in the middle.
            free = min(free, soft - int(psutil.Process().memory_info().vms))
    return free
