"""Wavelengths in texts: lists of numbers as people write them, and lengths in the labels of bands."""

import re
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from cuvis_ai_core.data.wavelength_units import Numbers, to_nanometres, unit_of

_SHORTEST: Final = 100.0
"""In nm. Of what is shorter a comma stands between thousands: `2,200 nm`."""

_LEAST_BARE: Final = 250.0
"""Smaller numbers without a unit may count bands."""

_NUMBER: Final = r"\d+(?:,\d+)*(?:\.\d+)?(?:e[+-]?\d+)?"
_LENGTH: Final = re.compile(
    rf"(?<![\d.,])(?:({_NUMBER})\s*(?:-|\u2013|to)\s*)?({_NUMBER})\s*[(\[]?\s*"
    # The sign for micro is U+00B5, or the Greek letter.
    r"(nm|nanomet\w+|[u\u00b5\u03bc]m|micromet\w+|microns?)(?![a-z])",
    re.IGNORECASE,
)
"""A length, or a range of them."""

_BARE: Final = re.compile(
    rf"\s*(?:(?:(?:cent(?:er|re|ral)[ _]?)?wavelengths?|wl|wvl|lambda|rrs|rhos|rhot|refl(?:ectance)?|rad(?:iance)?)"
    rf"[\s_=:@-]*)?({_NUMBER})\s*",
    re.IGNORECASE,
)
_HALF: Final = 0.5


def numbers_in(value: Any) -> Numbers | None:
    """Return a list of numbers, also of a text such as `{450, 550}`, `[450. 550.]` or `450;550`; None if it is none."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        value = re.sub(r"[{}\[\]()\s,;\"']+", " ", value).split()
    try:
        values = np.asarray(value, dtype=np.float64).ravel()
    except (TypeError, ValueError):
        return None
    return values if values.size else None


def lengths_in(labels: Sequence[Any]) -> tuple[Numbers, str] | None:
    """Return the wavelengths that labels of bands name, and their unit.

    Each label has a length in it, all in one unit (`Band 3 (650.0 Nanometers)`; of a range its middle), or each is a
    number, alone or behind a word for wavelengths or spectra (`Rrs_443`), which then has no unit.

    Args:
        labels: A text for each band.
    """
    texts = [each.decode("utf-8", "replace") if isinstance(each, bytes) else str(each or "") for each in labels]
    found = [_LENGTH.search(text) for text in texts]
    lengths = [each for each in found if each is not None]
    if lengths and len(lengths) == len(found):
        units = {unit_of(each[3]) for each in lengths}
        return (np.array([_middle(each) for each in lengths]), units.pop()) if len(units) == 1 else None
    bare = [each for each in map(_BARE.fullmatch, texts) if each is not None]
    if lengths or not bare or len(bare) < len(texts):
        return None
    values = np.array([_number(each[1], "nm") for each in bare])
    return (values, "") if values.min() >= _LEAST_BARE else None


def _middle(match: re.Match[str]) -> float:
    unit = unit_of(match[3])
    end = _number(match[2], unit)
    begin = _number(match[1], unit) if match[1] else end
    return (begin + end) / 2 if _HALF * end <= begin <= end else end


def _number(text: str, unit: str) -> float:
    """Return a number whose comma stands before decimals, or between thousands where it would be too short."""
    if text.count(",") == 1 and "." not in text:
        value = float(text.replace(",", "."))
        if to_nanometres(unit)[0](np.asarray(value)) >= _SHORTEST:
            return value
    return float(text.replace(",", ""))
