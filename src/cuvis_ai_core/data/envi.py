"""Cubes in ENVI files: a text header (`.hdr`) with a data file of raw values beside it."""

from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from spectral.io.envi import KNOWN_EXTS

from cuvis_ai_core.data.cube import Cube
from cuvis_ai_core.data.envi_header import EnviHeader, read_header

_AXES: Final = {"bip": (0, 1, 2), "bil": (0, 2, 1), "bsq": (2, 0, 1)}
"""The axes of `[height, width, channel]` in the order of the file."""


def read_envi(path: Path) -> Cube:
    """Read an ENVI image through its header.

    All interleaves, byte orders and types of real numbers are read. Values equal to `data ignore value`
    become NaN, the others are divided by `reflectance scale factor`. Wavelengths are converted to nm. The
    data file must have the size that the header describes: another size means that the header describes
    something else.

    Args:
        path: The header, `.hdr`.

    Raises:
        CubeError: The header breaks a rule, or the data file is missing or of another size.
    """
    header = read_header(path)
    wavelengths = header.wavelengths
    return Cube(_physical(header, _raw(header, _data_file(header))), wavelengths, path)


def _data_file(header: EnviHeader) -> Path:
    base = header.path.with_suffix("")
    suffixes = [f".{name}" for name in (*KNOWN_EXTS, header.interleave)]
    for suffix in ("", *suffixes, *map(str.upper, suffixes)):
        file = base.with_name(base.name + suffix)
        if file.is_file():
            return file
    raise header.error(
        "has no data file beside it.",
        hint=f"Put it there as '{base.name}', or as '{base.name}' with {', '.join(suffixes)}.",
    )


def _raw(header: EnviHeader, file: Path) -> NDArray[Any]:
    expected = header.offset + prod(header.shape) * header.dtype.itemsize
    if (found := file.stat().st_size) != expected:
        raise header.error(
            f"describes {expected} bytes of data, but '{file}' has {found}"
            f"{': it is truncated.' if found < expected else '.'}",
            hint="Copy the data file again, or correct samples, lines, bands, data type or header offset.",
        )
    axes = _AXES[header.interleave]
    stored = np.fromfile(file, dtype=header.dtype, offset=header.offset)
    stored = stored.reshape([header.shape[axis] for axis in axes])
    return np.ascontiguousarray(stored.transpose(np.argsort(axes)), dtype=header.dtype.newbyteorder("="))


def _physical(header: EnviHeader, raw: NDArray[Any]) -> NDArray[Any]:
    scale, ignored = header.scale, header.ignored
    if scale == 1.0 and ignored is None:
        return raw
    real = raw.astype(np.result_type(raw.dtype, np.float32))
    if ignored is not None:
        with np.errstate(over="ignore"):
            real[real == real.dtype.type(ignored)] = np.nan
    real /= scale
    return real
