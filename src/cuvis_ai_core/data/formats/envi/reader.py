"""Cubes in ENVI files: a text header (`.hdr`) with a data file of raw values beside it."""

import gzip
import zlib
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cuvis_ai_core.data.cube import Cube
from cuvis_ai_core.data.decompression_bombs import refuse_bomb
from cuvis_ai_core.data.formats.envi.band_fields import read_bands
from cuvis_ai_core.data.formats.envi.file_pairs import ENVI, bytes_of, find_data_file, header_of, refuse_companion
from cuvis_ai_core.data.formats.envi.header_fields import EnviHeader, read_header
from cuvis_ai_core.data.formats.envi.map_and_time_fields import read_place
from cuvis_ai_core.data.lazy_array import LazyArray, Read
from cuvis_ai_core.data.no_data_values import is_missing
from cuvis_ai_core.data.raw_pieces import raw_reader
from cuvis_ai_core.node.dtypes import floating_for

_AXES: Final = {"bip": (0, 1, 2), "bil": (0, 2, 1), "bsq": (2, 0, 1)}
"""The axes of `[height, width, channel]` in the order of the file."""

_GZIP: Final = b"\x1f\x8b"


def read_envi(path: Path) -> Cube:
    """Read an ENVI image.

    All interleaves, byte orders and types of real numbers are read, and data files that are packed by gzip. Values
    equal to `data ignore value` become NaN; `data gain values` and `data offset values` are applied, then `reflectance
    scale factor`: to each piece as it is read. Wavelengths and widths are converted to nm. What was assumed or left out
    is in the cube's remarks.

    Args:
        path: The header, `.hdr`; or the data file, with the header beside it.

    Raises:
        CubeError: The header breaks a rule, or the data file is missing or shorter than described.
    """
    is_header = path.suffix.lower() == ENVI
    header = read_header(path if is_header else header_of(path))
    file = find_data_file(header) if is_header else path
    refuse_companion(header, file)
    data = _physical(header, _raw(header, file))
    wavelengths, fwhm, good = read_bands(header)
    place = read_place(header)
    return Cube(
        data,
        wavelengths,
        path,
        fwhm=fwhm,
        good_bands=good,
        crs=place.crs,
        transform=place.transform,
        acquired=place.acquired,
        metadata=header.fields,
        remarks=tuple(header.remarks),
    )


def _raw(header: EnviHeader, file: Path) -> Read:
    expected = bytes_of(header)
    content = _unpacked(header, file, expected) if _is_packed(header, file, expected) else None
    found = file.stat().st_size if content is None else len(content)
    if found < expected:
        raise header.error(
            f"describes {expected} bytes of data, but '{file}' has {found}: it is truncated.",
            hint="Copy the data file again, or correct samples, lines, bands, data type or header offset.",
        )
    if found > expected:
        doubt = " Is it the right header?" if found >= 2 * expected else ""
        header.remarks.append(
            f"The data file has {found - expected} bytes behind the {expected} that were read.{doubt}"
        )
    # Of single bytes there is no order to be wrong.
    if header.dtype.itemsize > 1 and not header.text("byte order"):
        header.remarks.append("The header has no byte order; the values were read as little endian.")
    axes = _AXES[header.interleave]
    if content is None:
        return raw_reader(file, header.dtype, header.offset, header.shape, axes)
    count = (expected - header.offset) // header.dtype.itemsize
    stored = np.frombuffer(content, dtype=header.dtype, count=count, offset=header.offset)
    unpacked = stored.reshape([header.shape[axis] for axis in axes]).transpose(np.argsort(axes))
    return lambda *ranges: np.ascontiguousarray(unpacked[ranges], dtype=header.dtype.newbyteorder("="))


def _is_packed(header: EnviHeader, file: Path, expected: int) -> bool:
    """Tell whether a data file is packed by gzip: as it begins, whatever the header says, and not of the size."""
    # The size comes first: raw values may begin with gzip's two bytes by chance.
    if file.stat().st_size == expected:
        return False
    with file.open("rb") as stream:
        packed = stream.read(len(_GZIP)) == _GZIP
    if header.is_compressed and not packed:
        raise header.error(f"says that its data are compressed, but '{file}' is not packed by gzip.")
    return packed


def _unpacked(header: EnviHeader, file: Path, expected: int) -> bytes:
    """Return what gzip packed, one byte more at most than is described."""
    refuse_bomb(file, expected)
    try:
        with gzip.open(file) as packed:
            # One byte more tells that there is more, without unpacking it.
            return packed.read(expected + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise header.error(f"has the data file '{file}', which gzip cannot unpack: {error}.") from error


def _physical(header: EnviHeader, raw: Read) -> LazyArray:
    """Return the cube of which each piece is converted as it is read."""
    scale, ignored = header.scale, header.ignored
    gain, offset = _ones(header.per_band("data gain values"), 1.0), _ones(header.per_band("data offset values"), 0.0)
    if scale == 1.0 and ignored is None and gain is None and offset is None:
        return LazyArray(header.shape, header.dtype.newbyteorder("="), raw)
    if gain is not None:
        header.remarks.append("Values were multiplied by the data gain values of the header.")
    if offset is not None:
        header.remarks.append("The data offset values of the header were added.")
    if scale != 1.0:
        header.remarks.append(f"Values were divided by the reflectance scale factor {scale:g} of the header.")
    dtype = np.dtype(floating_for(header.dtype))

    def read(rows: slice, columns: slice, bands: slice) -> NDArray[Any]:
        stored = raw(rows, columns, bands)
        # A copy even where the type is the same: what was read may be kept for the next tile.
        real = stored.astype(dtype)
        if gain is not None:
            real *= gain[bands].astype(dtype)
        if offset is not None:
            real += offset[bands].astype(dtype)
        if scale != 1.0:
            real /= scale
        if ignored is not None:
            # Compared as stored: after gain and scale the value is another one, and not exactly.
            real[is_missing(stored, ignored)] = np.nan
        return real

    return LazyArray(header.shape, dtype, read)


def _ones(values: NDArray[np.float64] | None, neutral: float) -> NDArray[np.float64] | None:
    """Return factors or summands per band, None where they change nothing."""
    return None if values is None or (values == neutral).all() else values
