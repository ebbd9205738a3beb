"""What an ENVI header says about the bands: wavelengths in whatever unit, widths, and which are bad."""

import re
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cuvis_ai_core.data.cube import SHORTEST_WAVELENGTH
from cuvis_ai_core.data.envi_header import EnviHeader, Numbers
from cuvis_ai_core.errors import CubeError

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

_LONGEST: Final = 2e5
"""In nm. Thermal cameras end at 15 000."""

_FACTORS: Final = {unit: factor for factor, units in _LENGTHS.items() for unit in units}
_DIVIDENDS: Final = {unit: dividend for dividend, units in _INVERSE.items() for unit in units}
_NO_UNIT: Final = frozenset({"", "unknown", "unitless", "none", "n/a"})
_INDEX: Final = frozenset({"index", "band", "band number", "band index"})


def read_bands(header: EnviHeader) -> tuple[Numbers | None, Numbers | None, NDArray[np.bool_] | None]:
    """Return wavelengths and widths in nm, and which bands are good; None for what the header does not say.

    A list of wavelengths or widths that does not fit the bands, or is in a unit that nobody knows, is left out with a
    remark: what needs it will say so. A band with a wavelength of 0 or less, or NaN, was not taken: it is bad, and its
    wavelength is 0 or less.

    Raises:
        CubeError: The list of bad bands does not fit.
    """
    stated, unit = _fitting(header, "wavelength"), _unit(header)
    bbl = header.per_band("bbl")
    good = None if bbl is None else bbl > 0
    if stated is None or unit in _INDEX:
        return None, None, good
    taken = stated > 0
    if not taken.any():
        header.remarks.append("No wavelength in the header is above 0; the list was left out.")
        return None, None, good
    if _counts(stated, unit):
        header.remarks.append("The wavelengths in the header count the bands; the list was left out.")
        return None, None, good
    unknown = _unknown(header, unit, stated[taken])
    if unknown is not None:
        header.remarks.append(f"{unknown} The wavelengths were left out; write 'wavelength units = Nanometers'.")
        return None, None, good
    if unit in _NO_UNIT:
        header.remarks.append("The header has no unit for its wavelengths; they were taken for nm.")
    convert, slope = _converter(unit)
    wavelengths = np.where(np.isnan(stated), 0.0, stated)
    wavelengths[taken] = convert(stated[taken])
    if unlikely := _unlikely(header, wavelengths[taken]):
        header.remarks.append(unlikely)
        return None, None, good
    _say_absent(header, taken)
    fwhm = _fitting(header, "fwhm")
    if fwhm is not None:
        fwhm = np.where(taken, fwhm * slope(np.where(taken, stated, 1.0)), 0.0)
    return wavelengths, fwhm, good


def _fitting(header: EnviHeader, name: str) -> Numbers | None:
    bands = header.shape[2]
    try:
        values = header.numbers(name)
    except CubeError as error:
        header.remarks.append(f"{error.message} It was left out.")
        return None
    if values is None or len(values) == bands:
        return values
    header.remarks.append(
        f"The list '{name}' in the header has {len(values)} values for {bands} bands; it was left out."
    )
    return None


def _unit(header: EnviHeader) -> str:
    """Return the unit of the wavelengths as this module spells it: small letters, singular."""
    words = re.sub(r"[\s_]+", " ", re.sub(r"[\[\](){}\"'.,:]", " ", header.text("wavelength units").casefold())).strip()
    candidates = [words, words.removesuffix("s"), *words.split(), words.replace(" ", "")]
    known = (*_FACTORS, *_DIVIDENDS, *_NO_UNIT, *_INDEX)
    return next((each for name in candidates for each in (name, name.removesuffix("s")) if each in known), words)


def _counts(values: Numbers, unit: str) -> bool:
    return unit in _NO_UNIT and len(values) > 1 and bool((np.diff(values) == 1).all()) and values[0] in {0, 1}


def _unknown(header: EnviHeader, unit: str, values: Numbers) -> str | None:
    """Say why the values cannot be made nm, if they cannot."""
    if unit in _NO_UNIT and values.min() < SHORTEST_WAVELENGTH:
        return f"The header has wavelengths from {values.min():g} on, but no unit for them."
    if unit not in {*_FACTORS, *_DIVIDENDS, *_NO_UNIT}:
        return f"The header has the wavelength unit '{header.text('wavelength units')}', which is not known."
    return None


def _unlikely(header: EnviHeader, values: Numbers) -> str | None:
    """Say that wavelengths in nm are none, if they cannot be."""
    if values.min() >= SHORTEST_WAVELENGTH and (values.max() <= _LONGEST or _unit(header) in _DIVIDENDS):
        return None
    return (
        f"The header has wavelengths of {values.min():g} to {values.max():g} nm in its unit "
        f"'{header.text('wavelength units')}', which no camera sees; they were left out. Correct the unit."
    )


def _converter(unit: str) -> tuple[Callable[[Numbers], Numbers], Callable[[Numbers], Numbers]]:
    """Return what makes nm of values, and by how much a width changes there."""
    if unit in _DIVIDENDS:
        dividend = _DIVIDENDS[unit]
        return lambda each: dividend / each, lambda each: dividend / each**2
    factor = _FACTORS.get(unit, 1.0)
    return lambda each: each * factor, lambda _: np.asarray(factor)


def _say_absent(header: EnviHeader, taken: NDArray[np.bool_]) -> None:
    if not taken.all():
        header.remarks.append(
            f"{np.count_nonzero(~taken)} of {len(taken)} bands have no wavelength above 0: they were not taken, and "
            "count as bands without data."
        )
