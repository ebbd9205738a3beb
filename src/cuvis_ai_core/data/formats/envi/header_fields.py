"""What an ENVI header says about its data file: how the values lie in it, and what they mean."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from spectral.io import envi

from cuvis_ai_core.data.formats.envi.header_syntax import Value, as_text, read_text
from cuvis_ai_core.errors import CubeError

Numbers = NDArray[np.float64]

_INTERLEAVES: Final = ("bil", "bip", "bsq")
_BYTE_ORDERS: Final = {"0": "<", "1": ">"}
# The library's table, without complex numbers, of which a cube has none.
_DATA_TYPES: Final = {code: kind for code, kind in envi.envi_to_dtype.items() if np.dtype(kind).kind != "c"}
_TRUTH: Final = {"true": 1.0, "false": 0.0}
"""As `spectral.envi.save_image` writes a list of bad bands that is made of truth values, in capitals; others do not."""

_FRAMES: Final = ("major frame offsets", "minor frame offsets")
_ELSEWHERE: Final = {"library": "a spectral library", "meta": "a mosaic of other files", "virtual": "a virtual mosaic"}


@dataclass(frozen=True, slots=True)
class EnviHeader:
    """The checked fields of one ENVI header.

    Attributes:
        path: The header.
        fields: By name in lower case.
        remarks: What somebody may want to know, one sentence each; more come as the header is asked.

    Raises:
        CubeError: A field that lays out the data file is missing or breaks a rule.
    """

    path: Path
    fields: Mapping[str, Value]
    remarks: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        # Asked for at once, so that a broken header is an error before anything is opened.
        _ = self.interleave, self.dtype, self.shape, self.offset
        kind = as_text(self.fields, "file type").lower()
        for word, what in _ELSEWHERE.items():
            if word in kind:
                raise self.error(f"describes {what} (file type = {kind}); a cube is an image with its own data.")
        for name in _FRAMES:
            if (frames := self.numbers(name)) is not None and frames.any():
                raise self.error(
                    f"has {name} = {as_text(self.fields, name)}: bytes between lines or bands, which are not read.",
                    hint="Save the image without frames, for example with ENVI, GDAL or spectral.envi.save_image.",
                )

    @property
    def interleave(self) -> str:
        """Order of the values in the data file: `bil`, `bip` or `bsq`."""
        if not self.text("interleave") and self.text("bands") == "1":
            return "bsq"  # all three are the same then
        return self._choice("interleave", _INTERLEAVES)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and number of bands."""
        return self._integer("lines", least=1), self._integer("samples", least=1), self._integer("bands", least=1)

    @property
    def offset(self) -> int:
        """Bytes in the data file before the first value."""
        return self._integer("header offset", least=0) if self.text("header offset") else 0

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values, with their byte order; little endian where the header has none."""
        kind = _DATA_TYPES[self._choice("data type", tuple(_DATA_TYPES))]
        order = self._choice("byte order", tuple(_BYTE_ORDERS)) if self.text("byte order") else "0"
        dtype: np.dtype[Any] = np.dtype(_BYTE_ORDERS[order] + np.dtype(kind).str[1:])
        return dtype

    @property
    def is_compressed(self) -> bool:
        """Whether the data file is packed by gzip."""
        return self._integer("file compression", least=0) > 0 if self.text("file compression") else False

    @property
    def scale(self) -> float:
        """What values are divided by to give reflectance."""
        scale = self._number("reflectance scale factor")
        if scale is not None and not (isfinite(scale) and scale > 0):
            raise self.error(f"has the reflectance scale factor {scale:g}; the factor is positive.")
        return 1.0 if scale is None else scale

    @property
    def ignored(self) -> float | None:
        """The value that stands for "no data"."""
        return self._number("data ignore value")

    def text(self, name: str) -> str:
        """Return a field as a text, empty where the header has none."""
        return as_text(self.fields, name).strip().strip("\"'").strip()

    def numbers(self, name: str) -> Numbers | None:
        """Return a list of numbers, separated by commas or blanks; None where the header has none.

        Raises:
            CubeError: A part is no number.
        """
        words = self.text(name).replace(",", " ").split()
        try:
            return np.asarray([_as_number(word) for word in words], dtype=np.float64) if words else None
        except ValueError as error:
            raise self.error(f"has a field '{name}' that is no list of numbers: {error}.") from error

    def per_band(self, name: str) -> Numbers | None:
        """Return a list with one finite number for each band.

        Raises:
            CubeError: It has another length, or a part is no finite number.
        """
        values, bands = self.numbers(name), self.shape[2]
        if values is not None and (len(values) != bands or not np.isfinite(values).all()):
            raise self.error(
                f"has a list '{name}' of {len(values)} numbers, but {bands} bands; it has one finite number per band.",
                hint="Correct the list, or remove it from the header.",
            )
        return values

    def error(self, message: str, hint: str | None = None) -> CubeError:
        """Return the error that says what is wrong with this header."""
        return CubeError(f"The ENVI header '{self.path}' {message}", hint=hint, path=self.path)

    def _choice(self, name: str, allowed: tuple[str, ...]) -> str:
        value = self._required(name).lower()
        if value not in allowed:
            raise self.error(f"has {name} = {self.text(name)}; supported are {', '.join(allowed)}.")
        return value

    def _integer(self, name: str, least: int) -> int:
        text = self._required(name)
        try:
            # By float: `lines = 512.0` is a whole number too.
            number = float(text)
        except ValueError:
            number = -1.0
        if not number.is_integer() or number < least:
            raise self.error(f"has {name} = {text}; it is an integer of at least {least}.")
        return int(number)

    def _number(self, name: str) -> float | None:
        text = self.text(name)
        try:
            return _as_number(text) if text else None
        except ValueError as error:
            raise self.error(f"has {name} = {text}; it is a number.") from error

    def _required(self, name: str) -> str:
        text = self.text(name)
        if not text:
            raise self.error(
                f'has no "{name}": the field is missing.', hint=f"Add a line such as '{name} = ...' to the header."
            )
        return text


def _as_number(word: str) -> float:
    word = word.lower()
    # IDL writes 1.5D+003.
    return _TRUTH[word] if word in _TRUTH else float(word.replace("d", "e"))


def read_header(path: Path) -> EnviHeader:
    """Read and check an ENVI header.

    Raises:
        CubeError: The file is no header, describes no image, or a field breaks a rule.
    """
    text = read_text(path)
    return EnviHeader(path, text.fields, text.remarks)
