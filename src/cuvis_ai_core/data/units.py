"""Units of wavelengths, as instruments and people write them, and what makes nm of their values."""

import re
from collections.abc import Callable
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Numbers: TypeAlias = NDArray[np.float64]
Conversion: TypeAlias = Callable[[Numbers], Numbers]

_LENGTHS: Final = {
    1.0: ("nm", "nanometer", "nanometre"),
    1e3: ("um", "\u03bcm", "micrometer", "micrometre", "micron", "micro", "\u03bc"),
    1e6: ("mm", "millimeter", "millimetre"),
    1e7: ("cm", "centimeter", "centimetre"),
    1e9: ("m", "meter", "metre"),
    0.1: ("angstrom", "\u00e5ngstr\u00f6m", "\u00e5"),
}
"""Factor to nm by unit. Both signs for micro become the Greek letter when their case is folded."""

_LIGHT: Final = 299_792_458.0
"""Speed of light in nm GHz, which is m/s."""

_INVERSE: Final = {
    1e7: ("wavenumber", "cm-1", "cm^-1", "1/cm"),
    _LIGHT * 1e3: ("mhz", "megahertz"),
    _LIGHT: ("ghz", "gigahertz"),
    _LIGHT / 1e3: ("thz", "terahertz"),
}
"""What is divided by a wavenumber or a frequency to give nm."""

_FACTORS: Final = {unit: factor for factor, units in _LENGTHS.items() for unit in units}
_DIVIDENDS: Final = {unit: dividend for dividend, units in _INVERSE.items() for unit in units}

NO_UNIT: Final = frozenset({"", "unknown", "unitless", "none", "n/a"})
INDEX: Final = frozenset({"index", "band", "band number", "band index"})
INVERSE: Final = frozenset(_DIVIDENDS)
KNOWN: Final = frozenset({*_FACTORS, *_DIVIDENDS, *NO_UNIT})
"""Units of which nm can be made, or none at all."""


def unit_of(text: str) -> str:
    """Return a unit as this module spells it, in small letters and singular; or the text, where it is not known."""
    words = re.sub(r"[\s_]+", " ", re.sub(r"[\[\](){}\"'.,:]", " ", text.casefold())).strip()
    candidates = [words, words.removesuffix("s"), *words.split(), words.replace(" ", "")]
    known = KNOWN | INDEX
    return next((each for name in candidates for each in (name, name.removesuffix("s")) if each in known), words)


def to_nanometres(unit: str) -> tuple[Conversion, Conversion]:
    """Return what makes nm of values in a unit of `KNOWN`, and by how much a width changes there."""
    if unit in _DIVIDENDS:
        dividend = _DIVIDENDS[unit]
        return lambda each: dividend / each, lambda each: dividend / each**2
    factor = _FACTORS.get(unit, 1.0)
    return lambda each: each * factor, lambda _: np.asarray(factor)
