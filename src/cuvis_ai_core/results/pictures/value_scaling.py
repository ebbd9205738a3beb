"""From numbers to the levels of a scale, some rows at a time: a large picture is never copied as a whole in float64."""

import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

STRETCH: Final = (2, 98)
"""Percentiles that become the ends of a scale."""

_PIXELS_AT_ONCE: Final = 1 << 19
_LARGER: Final = 2.0**600


def limits(values: NDArray[Any]) -> tuple[float, float] | None:
    """Return the least and the greatest finite value, None where there is none."""
    finite = _finite(values)
    return (float(finite.min()), float(finite.max())) if finite.size else None


def stretched(values: NDArray[Any]) -> tuple[tuple[float, float], bool] | None:
    """Return the ends of a scale, and whether they are percentiles; None where no value is finite.

    Where the percentiles agree, the ends are the least and the greatest value.
    """
    finite = _finite(values)
    if not finite.size:
        return None
    low, high = (_percentile(finite, percent) for percent in STRETCH)
    return ((low, high), True) if low < high else ((float(finite.min()), float(finite.max())), False)


def _percentile(values: NDArray[Any], percent: float) -> float:
    """Return a percentile as `numpy.percentile` does, without a difference that may be more than a float holds."""
    place = (values.size - 1) * percent / 100
    below, above = math.floor(place), math.ceil(place)
    # In linear time, which sorting all pixels would not take.
    ordered = np.partition(values, (below, above))
    low, high, share = float(ordered[below]), float(ordered[above]), place - below
    return low if low == high else low * (1 - share) + high * share


def levels(values: NDArray[Any], low: float, high: float, count: int, missing: int) -> NDArray[np.uint8]:
    """Return where each value lies between two ends, 0 to `count - 1`; `missing` where it is not finite.

    Args:
        values: `[height, width]`.
        low: Value of level 0.
        high: Value of the last level.
        count: Number of levels.
        missing: The level of what is not finite.
    """
    found = np.empty(values.shape, dtype=np.uint8)
    for rows in _rows(values.shape):
        numbers = values[rows].astype(np.float64)
        finite = np.isfinite(numbers)
        within = np.clip(np.where(finite, numbers, low), low, high)  # else a small span could make them infinite
        share = position(within, low, high) if low < high else np.zeros_like(numbers)
        found[rows] = np.where(finite, np.rint(share * (count - 1)), missing)
    return found


def position(value: Any, low: float, high: float) -> Any:
    """Return where a value lies between two ends: 0 at the low one, 1 at the high one.

    Halves are taken only of numbers whose difference is more than a float holds: the half of the least one is 0.
    Differences that are next to nothing are made larger: NumPy 1.26 reports an overflow where it divides by them.
    """
    if not math.isfinite(high - low):
        value, low, high = value / 2, low / 2, high / 2
    factor = _LARGER if high - low < 1 / _LARGER else 1
    return (value - low) * factor / ((high - low) * factor)


def _rows(shape: tuple[int, ...]) -> Iterator[slice]:
    step = max(1, _PIXELS_AT_ONCE // shape[1])
    return (slice(start, start + step) for start in range(0, shape[0], step))


def _finite(values: NDArray[Any]) -> NDArray[Any]:
    flat = values.reshape(-1)
    if flat.dtype.kind in "biu":
        return flat
    finite = np.isfinite(flat)
    return flat if finite.all() else flat[finite]  # of a large picture a copy less
