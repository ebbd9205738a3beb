"""What an ENVI header says: parsed by the library `spectral`, checked where that guesses or only warns."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, isfinite
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from spectral import SpyException
from spectral.io import envi

from cuvis_ai_core.data.cube import SHORTEST_WAVELENGTH
from cuvis_ai_core.errors import CubeError

_INTERLEAVES: Final = ("bil", "bip", "bsq")
_BYTE_ORDERS: Final = ("0", "1")
_DATA_TYPES: Final = tuple(code for code, kind in envi.envi_to_dtype.items() if np.dtype(kind).kind != "c")
_SIZES: Final = ("lines", "samples", "bands")
_LISTS: Final = ("wavelength", "fwhm", "bbl")
_NANOMETRES: Final[Mapping[str, float]] = {
    "nanometers": 1.0,
    "nanometres": 1.0,
    "nm": 1.0,
    "micrometers": 1e3,
    "micrometres": 1e3,
    "microns": 1e3,
    "um": 1e3,
    "\u03bcm": 1e3,  # what both signs for micro become when their case is folded
    "millimeters": 1e6,
    "mm": 1e6,
    "angstroms": 0.1,
}
_NO_UNIT: Final = frozenset({"", "unknown"})


@dataclass(frozen=True, slots=True)
class EnviHeader:
    """The checked fields of one ENVI header.

    Raises:
        CubeError: A field is missing or breaks a rule.
    """

    path: Path
    fields: Mapping[str, Any]

    def __post_init__(self) -> None:
        self._choice("interleave", _INTERLEAVES)
        self._choice("byte order", _BYTE_ORDERS)
        self._choice("data type", _DATA_TYPES)
        _ = self.shape, self.offset
        for key in _LISTS:
            self._numbers(key)

    @property
    def interleave(self) -> str:
        """Order of the values in the data file: `bil`, `bip` or `bsq`."""
        return self._choice("interleave", _INTERLEAVES)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and number of bands."""
        height, width, channels = (self._integer(key, least=1) for key in _SIZES)
        return height, width, channels

    @property
    def offset(self) -> int:
        """Bytes in the data file before the first value."""
        return self._integer("header offset", least=0) if "header offset" in self.fields else 0

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values, with their byte order."""
        dtype: np.dtype[Any] = np.dtype(envi.gen_params(dict(self.fields)).dtype)
        return dtype

    @property
    def scale(self) -> float:
        """What values are divided by to give reflectance."""
        scale = self._number("reflectance scale factor", 1.0)
        if not 0 < scale < inf:
            raise self.error(f"has the reflectance scale factor {scale:g}; the factor is positive.")
        return scale

    @property
    def ignored(self) -> float | None:
        """The value that stands for "no data"."""
        return self._number("data ignore value", 0.0) if "data ignore value" in self.fields else None

    @property
    def wavelengths(self) -> NDArray[np.float64] | None:
        """Centre of each band in nm, or None if the header has none.

        Without `wavelength units` the values are taken for nm if all are at least 100, and refused otherwise.
        """
        values, unit = self._numbers("wavelength"), str(self.fields.get("wavelength units", "")).casefold()
        if values is None or unit == "index":
            return None
        if unit in _NO_UNIT and values.min() < SHORTEST_WAVELENGTH:
            raise self.error(
                f"has wavelengths from {values.min():g} on, but no unit for them.",
                hint="Add a line such as 'wavelength units = Micrometers' to the header.",
            )
        if unit in _NO_UNIT:
            return values
        if unit == "wavenumber":
            return self._from_wavenumbers(values)
        if unit not in _NANOMETRES:
            raise self.error(
                f"has the wavelength unit '{self.fields['wavelength units']}'; known are "
                f"{', '.join(sorted({*_NANOMETRES, 'wavenumber', 'index'}))}.",
                hint="Convert the wavelengths in the header to nm and write 'wavelength units = Nanometers'.",
            )
        return values * _NANOMETRES[unit]

    def error(self, message: str, hint: str | None = None) -> CubeError:
        """Return the error that says what is wrong with this header."""
        return CubeError(f"The ENVI header '{self.path}' {message}", hint=hint, path=self.path)

    def _from_wavenumbers(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        if values.min() <= 0:
            raise self.error(f"has the wavenumber {values.min():g}; wavenumbers (1/cm) are positive.")
        return 1e7 / values

    def _choice(self, key: str, allowed: tuple[str, ...]) -> str:
        value = str(self.fields[key]).lower()
        if value not in allowed:
            raise self.error(f"has {key} = {self.fields[key]}; supported are {', '.join(allowed)}.")
        return value

    def _integer(self, key: str, least: int) -> int:
        text = str(self.fields[key])
        if not text.isdecimal() or int(text) < least:
            raise self.error(f"has {key} = {text}; it is an integer of at least {least}.")
        return int(text)

    def _number(self, key: str, default: float) -> float:
        text = str(self.fields.get(key, default))
        try:
            return float(text)
        except ValueError as error:
            raise self.error(f"has {key} = {text}; it is a number.") from error

    def _numbers(self, key: str) -> NDArray[np.float64] | None:
        if key not in self.fields:
            return None
        try:
            values = np.asarray(self.fields[key], dtype=np.float64)
        except ValueError as error:
            raise self.error(f"has a field '{key}' that is no list of numbers: {error}.") from error
        bands = self._integer("bands", least=1)
        if values.shape != (bands,) or not all(map(isfinite, values)):
            raise self.error(f"has a field '{key}' that is no list {{...}} of {bands} finite numbers, one per band.")
        return values


def read_header(path: Path) -> EnviHeader:
    """Parse and check an ENVI header.

    Raises:
        CubeError: The file is no header, describes no image, or a field breaks a rule.
    """
    header = EnviHeader(path, _parse(path))
    if "library" in str(header.fields.get("file type", "")).casefold():
        raise header.error("describes a spectral library; a cube is an image.")
    if str(header.fields.get("file compression", "0")) != "0":
        raise header.error("describes a compressed data file.", hint="Save the image without compression.")
    return header


def _parse(path: Path) -> dict[str, Any]:
    try:
        # the library leaves the file open where the text cannot be decoded, so that is found out before
        path.read_text(encoding="utf-8")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # keys in capitals are lowered, which is what we want
            fields: dict[str, Any] = envi.read_envi_header(path)
        envi.check_compatibility(fields)
    except (OSError, ValueError, SpyException) as error:
        raise CubeError(
            f"'{path}' is no ENVI header that can be read: {' '.join(str(error).split())}",
            hint="A header is UTF-8 text, its first line is ENVI, every { has its }.",
            path=path,
        ) from error
    return fields
