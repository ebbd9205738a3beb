"""The spectra of an image, in parts that a processor's cache holds: what is done to one does not wait for memory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final, TypeAlias

import numpy as np

from cuvis_ai_core.builtin._input_checks import Array, Namespace
from cuvis_ai_core.builtin._no_data import select

_VALUES: Final = 2**17

_AT_ONCE: Final = 32
"""So many spectra count as one row at most."""

Part: TypeAlias = tuple[Array, Array | None]
"""Spectra `[pixel, band]`, and which of them count `[pixel, 1]`, None for all."""


@dataclass(frozen=True, slots=True, eq=False)
class Spectra:
    """The spectra of an image, or of a part of it; they may be gone through more than once.

    Attributes:
        xp: The array namespace of the image.
        image: `[height, width, channel]`.
        bands: The bands to take.
        masked: Whether spectra with a value that is not finite are left out.
        factors: What each band is multiplied by, None for 1.
        shifts: What is taken from the products, one after the other.
        held: What going through them yields, where that is kept.
    """

    xp: Namespace
    image: Array
    bands: list[int]
    masked: bool = False
    factors: Array = None
    shifts: tuple[Array, ...] = ()
    held: list[Part] | None = None

    def stored(self) -> Iterator[Part]:
        """Yield them `[pixel, band]` as they are, and which of them count `[pixel, 1]`, None for all."""
        for part in _parts(self.xp, self.image):
            pixels = select(self.xp, part, self.bands)
            yield pixels, self.xp.all(self.xp.isfinite(pixels), axis=-1, keepdims=True) if self.masked else None

    def __iter__(self) -> Iterator[Part]:
        """Yield them in float64, multiplied and shifted, those that do not count as 0."""
        if self.held is not None:
            yield from self.held
            return
        for stored, valid in self.stored():
            pixels = self.kept(self.xp.astype(stored, self.xp.float64), valid)
            pixels = pixels if self.factors is None else pixels * self.factors
            for shift in self.shifts:
                pixels = self.kept(_less(pixels, shift), valid)
            yield pixels, valid

    def holding(self) -> "Spectra":
        """Return the same spectra, of which an array of NumPy is kept as it is gone through."""
        return replace(self, held=list(self)) if isinstance(self.image, np.ndarray) else self

    def less(self, shift: Array) -> "Spectra":
        """Return them less a spectrum; those that are kept are changed for it."""
        for pixels, valid in self.held or ():
            if valid is None:
                _less(pixels, shift, out=pixels)
            else:
                # What does not count is 0, and stays so.
                np.subtract(pixels, shift, out=pixels, where=valid)
        return replace(self, shifts=(*self.shifts, shift))

    def kept(self, pixels: Array, valid: Array | None, other: float = 0.0) -> Array:
        """Return spectra, with another value in those that do not count."""
        return pixels if valid is None else self.xp.where(valid, pixels, other)


def per_band(xp: Namespace, reduce: Callable[..., Any], pixels: Array) -> Array:
    """Reduce spectra `[pixel, band]` to `[band]`, by `xp.sum` or the like.

    Several spectra count as one row first: NumPy goes through short rows at a third of the speed of long ones.
    """
    count, bands = pixels.shape
    together = _together(count)
    rows = xp.reshape(pixels, (count // together, together * bands))
    return reduce(xp.reshape(reduce(rows, axis=0), (together, bands)), axis=0)


def _less(pixels: Array, shift: Array, out: Array = None) -> Array:
    """Return spectra less one of them, of NumPy in long rows too."""
    if not isinstance(pixels, np.ndarray):
        return pixels - shift
    if not pixels.flags.c_contiguous:
        return np.subtract(pixels, shift, out=out)
    together = _together(pixels.shape[0])
    rows = (pixels.shape[0] // together, together * pixels.shape[1])
    into = None if out is None else out.reshape(rows)
    return np.subtract(pixels.reshape(rows), np.tile(shift, together), out=into).reshape(pixels.shape)


@cache
def _together(count: int) -> int:
    """Return how many spectra count as one row."""
    return max(each for each in range(1, _AT_ONCE + 1) if count % each == 0)


def _parts(xp: Namespace, image: Array) -> Iterator[Array]:
    """Yield an image as `[pixel, channel]`.

    Only arrays of NumPy come in several parts: other libraries have a device to keep busy, and follow gradients.
    """
    height, width, channels = image.shape
    whole = not isinstance(image, np.ndarray)
    rows = height if whole else max(1, min(height, _VALUES // (width * channels)))
    columns = width if whole else max(1, min(width, _VALUES // (rows * channels)))
    for top in range(0, height, rows):
        for left in range(0, width, columns):
            part = image[top : top + rows, left : left + columns, :]
            yield xp.reshape(part, (part.shape[0] * part.shape[1], channels))
