"""Units of wavelengths, as instruments and people write them, and the wavelengths of bands in nm.

What cannot be nm is left out with a remark.
"""

import re
from collections.abc import Callable
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cuvis_ai_core.data.cube import SHORTEST_WAVELENGTH

Numbers: TypeAlias = NDArray[np.float64]
Conversion: TypeAlias = Callable[[Numbers], Numbers]

_LENGTHS: Final = {
    1.0: ("nm", "nanometer", "nanometre", "1e-9 m", "1e-09 m", "1 e-9 m", "10^-9 m"),
    1e3: ("um", "\u03bcm", "micrometer", "micrometre", "micron", "micro", "\u03bc", "1e-6 m", "1e-06 m", "10^-6 m"),
    1e6: ("mm", "millimeter", "millimetre"),
    1e7: ("cm", "centimeter", "centimetre"),
    1e9: ("m", "meter", "metre"),
    0.1: ("angstrom", "\u00e5ngstr\u00f6m", "\u00e5"),
}
"""Factor to nm by unit. Both signs for micro become the Greek letter when their case is folded."""

_LIGHT: Final = 299_792_458.0
"""Speed of light in nm GHz, which is m/s."""

_PHOTON: Final = 1239.841984
"""Wavelength in nm of light of 1 eV: Planck's constant, the speed of light, the charge of an electron."""

_INVERSE: Final = {
    1e7: ("wavenumber", "cm-1", "cm^-1", "cm**-1", "1/cm", "/cm", "cm\u207b\u00b9", "kayser"),
    1e9: ("m-1", "m^-1", "1/m"),
    _LIGHT * 1e3: ("mhz", "megahertz"),
    _LIGHT: ("ghz", "gigahertz"),
    _LIGHT / 1e3: ("thz", "terahertz"),
    _LIGHT * 1e9: ("hz", "hertz"),
    _PHOTON: ("ev", "electronvolt"),
}
"""What is divided by a wavenumber or a frequency to give nm."""

_FACTORS: Final = {unit: factor for factor, units in _LENGTHS.items() for unit in units}
_DIVIDENDS: Final = {unit: dividend for dividend, units in _INVERSE.items() for unit in units}

NO_UNIT: Final = frozenset({"", "unknown", "unitless", "none", "n/a"})
INDEX: Final = frozenset({"index", "band", "band number", "band index"})
INVERSE: Final = frozenset(_DIVIDENDS)
KNOWN: Final = frozenset({*_FACTORS, *_DIVIDENDS, *NO_UNIT})
"""Units of which nm can be made, or none at all."""

_LONGEST: Final = 2e5
"""In nm. Thermal cameras end at 15 000."""


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


def in_nanometres(
    stated: Numbers | None, unit: str, fwhm: Numbers | None, remarks: list[str], where: str = "file"
) -> tuple[Numbers | None, Numbers | None]:
    """Return wavelengths and widths in nm, None for what nobody can know.

    A band with a wavelength of 0 or less, or NaN, was not taken: its wavelength is 0 or less.

    Args:
        stated: The wavelengths as the file has them, one a band.
        unit: Their unit, as the file spells it.
        fwhm: The widths in the same unit, one a band.
        remarks: What somebody may want to know is added here.
        where: What says so: a header, a file.
    """
    short = unit_of(unit)
    if stated is None or short in INDEX:
        return None, None
    taken = stated > 0
    if problem := _problem(stated, taken, short, unit, where):
        remarks.append(problem)
        return None, None
    if short in NO_UNIT:
        remarks.append(f"The {where} has no unit for its wavelengths; they were taken for nm.")
    convert, slope = to_nanometres(short)
    wavelengths = np.where(np.isnan(stated), 0.0, stated)
    wavelengths[taken] = convert(stated[taken])
    if unlikely := _unlikely(wavelengths[taken], short, unit, where):
        remarks.append(unlikely)
        return None, None
    if not taken.all():
        remarks.append(
            f"{np.count_nonzero(~taken)} of {len(taken)} bands have no wavelength above 0: they were not taken, and "
            "count as bands without data."
        )
    if fwhm is not None:
        # A band that was not taken may have 0, by which nothing is divided.
        fwhm = np.where(taken, fwhm * slope(np.where(taken, stated, 1.0)), 0.0)
    return wavelengths, fwhm


def _problem(
    stated: Numbers, taken: np.ndarray[tuple[int], np.dtype[np.bool_]], short: str, unit: str, where: str
) -> str:
    """Say why the values cannot be made nm, if they cannot."""
    if not taken.any():
        return f"No wavelength in the {where} is above 0; the list was left out."
    if short in NO_UNIT and len(stated) > 1 and (np.diff(stated) == 1).all() and stated[0] in {0, 1}:
        return f"The wavelengths in the {where} count the bands; the list was left out."
    low, left_out = stated[taken].min(), "The wavelengths were left out; write 'wavelength units = Nanometers'."
    if short in NO_UNIT and low < SHORTEST_WAVELENGTH:
        return f"The {where} has wavelengths from {low:g} on, but no unit for them. {left_out}"
    if short not in KNOWN:
        return f"The {where} has the wavelength unit '{unit}', which is not known. {left_out}"
    return ""


def _unlikely(values: Numbers, short: str, unit: str, where: str) -> str | None:
    """Say that wavelengths in nm are none, if they cannot be."""
    if values.min() >= SHORTEST_WAVELENGTH and (values.max() <= _LONGEST or short in INVERSE):
        return None
    return (
        f"The {where} has wavelengths of {values.min():g} to {values.max():g} nm in its unit "
        f"'{unit}', which no camera sees; they were left out. Correct the unit."
    )
