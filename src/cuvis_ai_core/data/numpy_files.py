"""Cubes in NumPy's own files."""

import io
import shutil
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from cuvis_ai_core._nearest import did_you_mean, nearest
from cuvis_ai_core.data.cube import Cube
from cuvis_ai_core.data.decompressed_copy import Unpacked
from cuvis_ai_core.data.decompression_bombs import refuse_bomb
from cuvis_ai_core.data.lazy_array import LazyArray
from cuvis_ai_core.data.raw_pieces import raw_reader
from cuvis_ai_core.errors import CubeError

_RANK: Final = 3
_TRANSFORM: Final = 6
_CUBE: Final = "cube"
_PER_BAND: Final = ("wavelengths", "fwhm", "good_bands")
_PLACE: Final = ("crs", "transform", "acquired")
_LARGE: Final = 2**24
"""Bytes from which on an image in an archive is read by pieces."""

_ENCRYPTED: Final = 1
_LENGTHS: Final = 26
"""Where an entry of a zip archive has the lengths of its name and of what follows that, before its content."""

_LONGEST_HEADER: Final = 2**16
"""Bytes that the description of an array takes at most, with what stands before it."""

_BEGIN: Final = {b"\1": struct.Struct("<8sH"), b"\2": struct.Struct("<8sI")}
"""What an array begins with: its kind and version, and the length of its description."""

_HEADERS: Final = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_npy(path: Path) -> Cube:
    """Read a `.npy` file: one array `[height, width, channel]`, or a batch of one such image; no wavelengths.

    Raises:
        CubeError: The file is damaged, holds Python objects, or its array is no cube.
    """
    with _readable(path, "a .npy file with one array of numbers"):
        # mapped, because a damaged header then fails on the size of the file instead of taking all memory
        mapped = open_memmap(path, mode="r")
        shape = _three(mapped.shape)
        data = np.array(mapped) if len(shape) != _RANK else _pieces(path, mapped, shape)
    return Cube(data, source=path)


def read_npz(path: Path, array: str | None = None) -> Cube:
    """Read a `.npz` archive: the cube is `cube`, or the only array of three dimensions in it, or the one asked for.

    It may be a batch of one image, `[1, height, width, channel]`, as the file of outputs of a run has them.
    Beside it there may be `wavelengths` and `fwhm` (nm, `[channel]`), `good_bands` (true is good, `[channel]`), and
    where and when it was taken, as `place_arrays` gives it. Other names are an error, unless the cube is asked for by
    name: a name that is nearly right would be lost.

    Args:
        path: The archive.
        array: The name of the cube.

    Raises:
        CubeError: The archive is damaged, holds Python objects or an array that is not known, or it is not clear which
            array is the cube.
    """
    with _readable(path, "a .npz archive of arrays of numbers"):
        arrays = _load_arrays(path)
    name = _chosen(path, arrays, array)
    bands = {key: arrays[key] for key in _PER_BAND if key in arrays}
    if array is not None:  # they may be those of another array
        bands = {key: values for key, values in bands.items() if values.shape == arrays[name].shape[-1:]}
    elif unknown := [key for key in arrays if key not in {name, *_PER_BAND, *_PLACE}]:
        raise _unknown(path, unknown[0], arrays, name)
    wavelengths, fwhm, good = (bands.get(key) for key in _PER_BAND)
    return Cube(arrays[name], wavelengths, path, fwhm=fwhm, good_bands=good, **_place(path, arrays))


def _three(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of the one image of a batch; another one as it is."""
    return shape[1:] if len(shape) == _RANK + 1 and shape[0] == 1 else shape


def _pieces(path: Path, mapped: "np.memmap[Any, Any]", shape: tuple[int, ...]) -> LazyArray:
    """Return an array that is read from the file by pieces; the mapping itself would count as memory."""
    return _lazy(path, mapped.dtype, int(mapped.offset), shape, fortran=not mapped.flags.c_contiguous)


def _lazy(path: Path, dtype: np.dtype[Any], offset: int, shape: tuple[int, ...], *, fortran: bool) -> LazyArray:
    axes = (2, 1, 0) if fortran else (0, 1, 2)
    return LazyArray(shape, dtype.newbyteorder("="), raw_reader(path, dtype, offset, shape, axes))


def place_arrays(cube: Cube) -> dict[str, NDArray[Any]]:
    """Return where and when a cube was taken, for an archive: `crs` (text), `transform` (6 numbers), `acquired` (ISO).

    What its file does not say is left out.
    """
    acquired = None if cube.acquired is None else cube.acquired.isoformat()
    known = zip(_PLACE, (cube.crs, cube.transform, acquired), strict=True)
    return {key: np.asarray(value) for key, value in known if value is not None}


def _place(path: Path, arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    # The image itself may be called so.
    found = {key: arrays[key].tolist() for key in _PLACE if key in arrays and arrays[key].ndim < _RANK}
    if not found:
        return found
    with _readable(path, "a .npz archive with crs (text), transform (6 numbers), acquired (date and time, ISO 8601)"):
        if "crs" in found:
            found["crs"] = str(arrays["crs"].astype(str))
        if "transform" in found:
            found["transform"] = tuple(map(float, found["transform"]))
            if len(found["transform"]) != _TRANSFORM:
                raise ValueError(f"transform has {len(found['transform'])} numbers")
        if "acquired" in found:
            found["acquired"] = datetime.fromisoformat(found["acquired"])
    return found


def _load_arrays(path: Path) -> dict[str, Any]:
    # a damaged archive would leave a file open that was opened by its path
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        refuse_bomb(path, sum(each.file_size for each in archive.infolist()))
        return {
            info.filename.removesuffix(".npy"): _image(_load_array(path, file, archive, info))
            for info in archive.infolist()
            if info.filename.endswith(".npy")
        }


def _image(array: Any) -> Any:
    shape = _three(array.shape)
    return array if shape == array.shape else array.reshape(shape)


def _load_array(path: Path, file: io.BufferedReader, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Any:
    found: Any = _in_place(path, file, archive, info)
    if found is None:
        found = _at_once(file, info)
    if found is None:
        with archive.open(info) as member:
            found = np.lib.format.read_array(member, allow_pickle=False)
    return found


def _in_place(path: Path, file: io.BufferedReader, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> LazyArray | None:
    """Return a large image in an archive, to be read by pieces, a packed one unpacked before; None for all else."""
    if info.file_size < _LARGE or info.flag_bits & _ENCRYPTED:
        return None
    with archive.open(info) as member:
        read = _HEADERS.get(np.lib.format.read_magic(member))
        if read is None:
            return None
        shape, fortran, dtype = read(member)
        begin = member.tell()
    shape = _three(shape)
    if len(shape) != _RANK or dtype.hasobject:
        return None
    if begin + prod(shape) * dtype.itemsize != info.file_size:
        raise ValueError(f"'{info.filename}' has {info.file_size} bytes, and not those that its shape {shape} takes")
    if info.compress_type != zipfile.ZIP_STORED:
        return _unpacked(path, info, dtype, begin, shape, fortran=fortran)
    return _lazy(path, dtype, _content(file, info) + begin, shape, fortran=fortran)


def _at_once(file: io.BufferedReader, info: zipfile.ZipInfo) -> NDArray[Any] | None:
    """Return an array that is stored as it is, None for all else: NumPy and zipfile read it in many small pieces."""
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & _ENCRYPTED:
        return None
    content = np.empty(info.file_size, dtype=np.uint8)
    file.seek(_content(file, info))
    if file.readinto(content.data) != info.file_size or zlib.crc32(content.data) != info.CRC:
        raise zipfile.BadZipFile(f"'{info.filename}' is not what was written (its checksum is another one)")
    # The version stands behind a magic string of six bytes (NEP 1).
    begin = _BEGIN.get(content[6:7].tobytes())
    if begin is None or info.file_size < begin.size:
        return None  # of other versions NumPy knows more
    end = begin.size + begin.unpack_from(content.data)[1]
    described = _described(content[: min(end, _LONGEST_HEADER)].tobytes())
    if described is None or end + prod(described[0]) * described[2].itemsize != info.file_size:
        return None  # NumPy says what is wrong
    shape, fortran, dtype = described
    # On the memory that was read: no copy of it.
    return np.ndarray(shape, dtype, content.data, end, order="F" if fortran else "C")


@lru_cache(64)
def _described(header: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]] | None:
    """Return shape, order and type of an array, which many files have in the same words; None for Python objects."""
    stream = io.BytesIO(header)
    read = _HEADERS.get(np.lib.format.read_magic(stream))
    if read is None:
        return None
    shape, fortran, dtype = read(stream)
    return None if dtype.hasobject else (shape, fortran, dtype)


def _content(file: io.BufferedReader, info: zipfile.ZipInfo) -> int:
    """Return where in an archive the content of an entry begins."""
    file.seek(info.header_offset + _LENGTHS)
    lengths: tuple[int, int] = struct.unpack("<HH", file.read(4))
    return info.header_offset + _LENGTHS + 4 + sum(lengths)


def _unpacked(
    path: Path, info: zipfile.ZipInfo, dtype: np.dtype[Any], offset: int, shape: tuple[int, ...], *, fortran: bool
) -> LazyArray:
    """Return an image that is unpacked when a piece of it is first asked for."""

    def unpack(target: BinaryIO) -> None:
        with _readable(path, "a .npz archive of arrays of numbers"), zipfile.ZipFile(path) as archive:
            if archive.getinfo(info.filename).CRC != info.CRC:
                raise ValueError("it was written to since it was opened")
            with archive.open(info.filename) as member:
                shutil.copyfileobj(member, target, _LARGE)

    content, axes = Unpacked(path, info.file_size, unpack), (2, 1, 0) if fortran else (0, 1, 2)

    def read(*ranges: slice) -> NDArray[Any]:
        return raw_reader(content.file(), dtype, offset, shape, axes)(*ranges)

    return LazyArray(shape, dtype.newbyteorder("="), read)


def _chosen(path: Path, arrays: Mapping[str, NDArray[Any]], wanted: str | None) -> str:
    """Return the name of the array that is the cube."""
    cubes = [name for name, array in arrays.items() if array.ndim == _RANK]
    if wanted is not None and wanted in arrays:
        return wanted
    if wanted is None and (_CUBE in arrays or len(cubes) == 1):
        return _CUBE if _CUBE in arrays else cubes[0]
    found = ", ".join(f"{name} {array.shape}" for name, array in arrays.items()) or "nothing"
    if wanted is not None:
        near = nearest(wanted, arrays)
        raise CubeError(
            f"The archive '{path}' has no array '{wanted}'. It holds: {found}.",
            hint=f"Did you mean '{path}::{near}'?" if near else None,
            path=path,
        )
    raise CubeError(
        f"The archive '{path}' has {len(cubes)} arrays of three dimensions; there must be exactly one, "
        f"or one named '{_CUBE}'. It holds: {found}.",
        hint=f"Ask for one by name: {path}::{cubes[0]}"
        if cubes
        else "Save it as numpy.savez(path, cube=..., wavelengths=...).",
        path=path,
    )


def _unknown(path: Path, key: str, arrays: Mapping[str, NDArray[Any]], name: str) -> CubeError:
    return CubeError(
        f"The archive '{path}' has an array '{key}' {arrays[key].shape}, which nothing reads."
        + did_you_mean(key.lower(), [each for each in _PER_BAND if each not in arrays]),
        hint=f"Beside the cube there may be {', '.join(_PER_BAND)}. To read it all the same, ask for the cube by name: "
        f"{path}::{name}",
        path=path,
    )


@contextmanager
def _readable(path: Path, expected: str) -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy remarks on headers written by Python 2; they read well
            yield
    except CubeError:
        raise
    # of damaged files NumPy lets through whatever its parsers meet: even the TokenError of Python's own
    except Exception as error:
        raise CubeError(
            f"The cube '{path}' is not {expected}: {error}",
            hint="The file is damaged or of another kind. Write it again, or give it the right suffix.",
            path=path,
        ) from error
