"""Numbers for people: where the ticks of a colour bar are, how they and shares are written."""

import math
from itertools import pairwise
from typing import Final

_STEPS: Final = (1, 2, 5, 10)
_MOST_DIGITS: Final = 17
"""So many tell any two floats apart."""
_NEAR: Final = 0.01
_WHOLE: Final = 1e6
_TINY: Final = 1e-300
_FEW: Final = 0.1
_SLACK: Final = 1e-9


def ticks(low: float, high: float, count: int) -> list[float]:
    """Return round numbers between two ends, at most `count`, which is two or more; the ends where no others fit."""
    half = high / 2 - low / 2  # the whole may be more than a float holds
    least = 2 * (half / count)
    # There is no power of ten for 0, nor for what is more than a float holds.
    if _TINY < least < math.inf:
        power = 10.0 ** math.floor(math.log10(least))
        for size in (step * power for step in _STEPS):
            # 0.6 / 0.1 is 5.999999999999999 as a float.
            first, last = math.ceil(low / size - _SLACK), math.floor(high / size + _SLACK)
            if not 1 <= last - first < count:
                continue
            # 3 * 0.1 is 0.30000000000000004 as a float.
            found = [float(f"{number * size:.15g}") for number in range(first, last + 1)]
            if found[0] / 2 >= low / 2 - half * _SLACK and found[-1] / 2 <= high / 2 + half * _SLACK:
                return found  # and not moved past an end by rounding, as between neighbours
    return [low, high]


def labels(values: list[float]) -> list[str]:
    """Return two numbers or more as short as they are right to a hundredth of the distance between them."""
    gaps = [abs(after - before) for before, after in pairwise(values)]
    tolerance = min(gaps) * _NEAR
    for digits in range(1, _MOST_DIGITS):
        texts = [f"{value:.{digits}g}" for value in values]
        if all(abs(float(text) - value) <= tolerance for text, value in zip(texts, values, strict=True)):
            break
    else:
        texts = [f"{value:.{_MOST_DIGITS}g}" for value in values]
    return [_plain(text, value) for text, value in zip(texts, values, strict=True)]


def number(value: float) -> str:
    """Return a number in four digits; a whole one that is not long in all of its own."""
    return _plain("", value) if value == int(value) and abs(value) < _WHOLE else _plain(f"{value:.4g}", value)


def share(count: int, total: int) -> str:
    """Return a share in per cent; what is there is never 0, and what lacks something never 100."""
    percent = 100 * count / total
    if count in {0, total}:
        return f"{percent:.0f} %"
    return "< 0.1 %" if percent < _FEW else "> 99.9 %" if percent > 100 - _FEW else f"{percent:.1f} %"


def _plain(text: str, value: float) -> str:
    """Return `1e+03` as 1000, and `1e-07` as 1e-7."""
    if value == int(value) and abs(value) < _WHOLE and (not text or float(text) == value):
        return str(int(value))
    mantissa, exponent, power = text.partition("e")
    return f"{mantissa}e{int(power)}" if exponent else text
