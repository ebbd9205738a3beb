"""The value at a rank among all scores of images, found by looking at them piece by piece.

Bits of floating-point numbers are in the order of the numbers, but for the sign. So scores are counted by the first 16
bits of what orders them; then those that share these with the one that is looked for, by the next 16: a radix selection
(Knuth, The Art of Computer Programming 3, 5.2.5) that is exact, and holds no scores.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_STEP: Final = 16
"""Bits that are looked at in one go."""


@dataclass(frozen=True, slots=True, eq=False)
class Ranks:
    """What is known of the scores of each image.

    Attributes:
        bits: How many bits a score has.
        known: How many of them, from the first, are known of the score that is looked for.
        prefixes: These bits, uint64 `[batch]`.
        below: How many scores lie below all with these bits, int64 `[batch]`.
        totals: How many scores there are, int64 `[batch]`.
        counts: How many with these bits have which next ones, int64 `[batch, 65536]`.
    """

    bits: int
    known: int
    prefixes: NDArray[np.uint64]
    below: NDArray[np.int64]
    totals: NDArray[np.int64]
    counts: NDArray[np.int64]

    def is_last(self) -> bool:
        """Tell whether the next bits are the last ones."""
        return self.known + _STEP >= self.bits

    def merged(self, other: "Ranks") -> "Ranks":
        """Return what is known of two parts of the images; both know the same bits."""
        totals = self.totals if self.known else self.totals + other.totals
        return replace(self, totals=totals, counts=self.counts + other.counts)


def first_ranks(scores: NDArray[Any]) -> Ranks:
    """Return the ranks of scores `[batch, ...]` by their first bits; NaN counts for nothing."""
    batch = scores.shape[0]
    nothing = np.zeros(batch, np.int64)
    start = Ranks(scores.dtype.itemsize * 8, 0, nothing.astype(np.uint64), nothing, nothing, nothing[:, None])
    counts = _counts(start, scores)
    return replace(start, totals=counts.sum(axis=1), counts=counts)


def next_ranks(ranks: Ranks, scores: NDArray[Any], place: Callable[[int], int]) -> Ranks:
    """Return the ranks of scores by their next bits.

    Args:
        ranks: What is known of all scores of the images.
        scores: Some of them, `[batch, ...]`.
        place: Of a number of scores, the rank of the one that is looked for, from 0.
    """
    found, below = _chosen(ranks, place)
    prefixes = (ranks.prefixes << np.uint64(_STEP)) | found.astype(np.uint64)
    after = replace(ranks, known=ranks.known + _STEP, prefixes=prefixes, below=below)
    return replace(after, counts=_counts(after, scores))


def values_at(ranks: Ranks, place: Callable[[int], int]) -> list[float]:
    """Return the score of each image at its rank, infinity where there are none; all bits are known then."""
    found, _ = _chosen(ranks, place)
    keys = (ranks.prefixes << np.uint64(_STEP)) | found.astype(np.uint64)
    values = _scores(keys, ranks.bits)
    return [float(value) if total else inf for value, total in zip(values, ranks.totals, strict=True)]


def _chosen(ranks: Ranks, place: Callable[[int], int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the next bits of the score that is looked for in each image, and how many lie below all that have them."""
    sums = ranks.counts.cumsum(axis=1)
    found, below = [], []
    for image, total in enumerate(ranks.totals):
        rank = place(int(total)) - int(ranks.below[image])
        at = int(np.searchsorted(sums[image], rank, side="right"))
        # Where there is no score, its place is behind the last one.
        found.append(min(at, sums.shape[1] - 1))
        below.append(int(ranks.below[image]) + (int(sums[image, at - 1]) if at else 0))
    return np.array(found), np.array(below)


def _counts(ranks: Ranks, scores: NDArray[Any]) -> NDArray[np.int64]:
    counts = np.zeros((scores.shape[0], 1 << _STEP), np.int64)
    # NumPy 1 makes float64 of uint64 and a number of Python.
    shift = np.uint64(ranks.bits - ranks.known - _STEP)
    for image, values in enumerate(scores):
        keys = _keys(values[~np.isnan(values)]).astype(np.uint64) >> shift
        if ranks.known:
            keys = keys[keys >> np.uint64(_STEP) == ranks.prefixes[image]] & np.uint64((1 << _STEP) - 1)
        # `bincount` takes no uint64, which no signed type holds.
        counts[image] = np.bincount(keys.astype(np.int64), minlength=1 << _STEP)
    return counts


def _keys(values: NDArray[Any]) -> NDArray[Any]:
    """Return integers in the order of the values: the sign turned, and all else of what is negative."""
    unsigned = np.dtype(f"u{values.dtype.itemsize}")
    bits = np.ascontiguousarray(values).view(unsigned)
    sign = unsigned.type(1 << (values.dtype.itemsize * 8 - 1))
    return np.where(bits & sign, ~bits, bits | sign)


def _scores(keys: NDArray[np.uint64], bits: int) -> NDArray[Any]:
    """Return the values of integers that order them."""
    unsigned = np.dtype(f"u{bits // 8}")
    own, sign = keys.astype(unsigned), unsigned.type(1 << (bits - 1))
    return np.where(own & sign, own & ~sign, ~own).astype(unsigned).view(f"f{bits // 8}")
