"""The spectra of an image, in parts that a processor's cache holds: what is done to one does not wait for memory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import gcd
from typing import Any, Final

import numpy as np

from cuvis_ai_core.builtin._checks import Array, Namespace
from cuvis_ai_core.builtin._no_data import select

_VALUES: Final = 2**17

_AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True, eq=False)
class Spectra:
    """The spectra of an image, or of a part of it; they may be gone through more than once.

    Attributes:
        xp: The array namespace of the image.
        image: `[height, width, channel]`.
        bands: The bands to take.
        masked: Whether spectra with a value that is not finite are left out.
        factors: What each band is multiplied by, None for 1.
    """

    xp: Namespace
    image: Array
    bands: list[int]
    masked: bool = False
    factors: Array = None

    def stored(self) -> Iterator[tuple[Array, Array | None]]:
        """Yield them `[pixel, band]` as they are, and which of them count `[pixel, 1]`, None for all."""
        for part in _parts(self.xp, self.image):
            pixels = select(self.xp, part, self.bands)
            yield pixels, self.xp.all(self.xp.isfinite(pixels), axis=-1, keepdims=True) if self.masked else None

    def __iter__(self) -> Iterator[tuple[Array, Array | None]]:
        """Yield them in float64 and multiplied, those that do not count as 0."""
        for stored, valid in self.stored():
            pixels = self.kept(self.xp.astype(stored, self.xp.float64), valid)
            yield (pixels if self.factors is None else pixels * self.factors), valid

    def kept(self, pixels: Array, valid: Array | None, other: float = 0.0) -> Array:
        """Return spectra, with another value in those that do not count."""
        return pixels if valid is None else self.xp.where(valid, pixels, other)


def per_band(xp: Namespace, reduce: Callable[..., Any], pixels: Array) -> Array:
    """Reduce spectra `[pixel, band]` to `[band]`, by `xp.sum` or the like.

    Several spectra count as one row first: NumPy goes through short rows at a third of the speed of long ones.
    """
    count, bands = pixels.shape
    together = gcd(count, _AT_ONCE)
    rows = xp.reshape(pixels, (count // together, together * bands))
    return reduce(xp.reshape(reduce(rows, axis=0), (together, bands)), axis=0)


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
