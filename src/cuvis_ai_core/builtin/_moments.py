"""Count, mean and scatter of the pixels of an image, which parts of it can be merged to.

After Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", Stanford
report STAN-CS-79-773 (1979). Bands of very large or small numbers are scaled by powers of two, which change no digit:
squares neither overflow nor vanish.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import reduce
from math import frexp, inf, isfinite
from operator import add, or_
from typing import Any, Final, TypeVar

from array_api_compat import device

from cuvis_ai_core.builtin._array_namespace import array_namespace
from cuvis_ai_core.builtin._input_checks import Array, Namespace, constant
from cuvis_ai_core.builtin._no_data import either
from cuvis_ai_core.builtin._spectra_chunks import Spectra, per_band

_NOTHING: Final = 1e-12
"""A mean up to this share of the largest deviation changes no score by 1e-10."""
_FAR: Final = 300
"""Powers of two up to this have squares that are numbers, also summed up over an image."""
_FARTHEST: Final = 1000

_Made = TypeVar("_Made")


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """The moments of those pixels of an image, or of a part of it, that have data in all bands that have any.

    All arrays are float64 and have one place for each band with data; they are None where no pixel counts.

    Attributes:
        found: Of each band of the image, whether it has a finite value.
        count: How many pixels count.
        missing: How many do not.
        mean: Means.
        rest: What they are rounded by: numbers far from 0 have means that are not exact.
        scatter: Sums of products of deviations `[band, band]`.
        low: The least values.
        high: The greatest values.
        exponents: The power of two by which each band was divided, None for 0 everywhere.
        whitened: Sums of products of spectra that these moments have whitened already, None where nobody asked.
        deviations: The spectra less their mean, where they are kept.
    """

    found: tuple[bool, ...]
    count: int
    missing: int
    mean: Array = None
    rest: Array = None
    scatter: Array = None
    low: Array = None
    high: Array = None
    exponents: list[int] | None = None
    whitened: Array = None
    deviations: Spectra | None = None
    _made: dict[Any, Any] = field(default_factory=dict)

    def once(self, key: object, make: Callable[[], _Made]) -> _Made:
        """Return what is made of these moments, made when it is first asked for."""
        if key not in self._made:
            self._made[key] = make()
        found: _Made = self._made[key]
        return found

    def scaled(self, exponents: list[int] | None) -> "Moments":
        """Return the same moments with other powers of two."""
        if self.exponents == exponents or not self.count:
            return self
        own, wanted = (each or [0] * len(self.mean) for each in (self.exponents, exponents))
        xp = array_namespace(self.mean)
        factors = xp.asarray(
            [_power(left - right) for left, right in zip(own, wanted, strict=True)],
            dtype=xp.float64,
            device=device(self.mean),
        )
        return replace(
            self,
            mean=self.mean * factors,
            rest=self.rest * factors,
            scatter=self.scatter * factors[:, None] * factors[None, :],
            low=self.low * factors,
            high=self.high * factors,
            exponents=exponents,
            _made={},
        )


def moments_of(xp: Namespace, image: Array, *, hold: bool = False) -> Moments:
    """Return the moments of an image, or of a part of it.

    Args:
        xp: Its array namespace.
        image: `[height, width, channel]`.
        hold: Whether to keep the deviations of an array of NumPy.
    """
    total, channels = image.shape[0] * image.shape[1], image.shape[-1]
    spectra, found, count = Spectra(xp, image, list(range(channels))), (True,) * channels, total
    low, high = _ends(spectra)
    if not bool(xp.all(xp.isfinite(low) & xp.isfinite(high))):  # NaN comes through both
        found = _bands_with_data(spectra)
        spectra = replace(spectra, bands=[band for band, has_data in enumerate(found) if has_data], masked=True)
        # Without any band there is nothing to ask for.
        count = spectra.bands and sum(int(xp.sum(xp.astype(valid, xp.int64))) for _, valid in spectra.stored())
        if not count:
            return Moments(found, 0, total)
        spectra = replace(spectra, masked=count < total)
        low, high = _ends(spectra)
    low, high = (xp.astype(each, xp.float64) for each in (low, high))
    exponents = _exponents(low, high, needed=False)
    if exponents is not None:
        factors = xp.asarray([_power(-each) for each in exponents], dtype=xp.float64, device=device(image))
        spectra, low, high = replace(spectra, factors=factors), low * factors, high * factors
    mean, rest, scatter, deviations = _about_mean(spectra.holding() if hold else spectra, count, high - low)
    held = deviations if hold else None
    return Moments(found, count, total - count, mean, rest, scatter, low, high, exponents, deviations=held)


def merged(left: Moments, right: Moments) -> Moments:
    """Return the moments of two parts of an image together."""
    if left is right:
        return left
    # Parts of the second pass differ in this alone: all else is that of the whole image.
    if left.whitened is not None:
        return replace(left, whitened=left.whitened + right.whitened, _made={})
    found = either(left.found, right.found)
    # a band with data in one part only is missing in every pixel of the other
    parts = [each for each in (left, right) if each.count and each.found == found]
    total = left.count + left.missing + right.count + right.missing
    if not parts:
        return Moments(found, 0, total)
    if len(parts) == 1:
        return replace(parts[0], missing=total - parts[0].count, _made={})
    exponents = _common(left, right)
    first, second = left.scaled(exponents), right.scaled(exponents)
    xp = array_namespace(first.mean)
    count = first.count + second.count
    # In this order: the means are near to each other and far from 0, their rests are small.
    apart = (second.mean - first.mean) + (second.rest - first.rest)
    step = first.rest + apart * (second.count / count)
    mean = first.mean + step
    return Moments(
        found,
        count,
        total - count,
        mean,
        step - (mean - first.mean),
        first.scatter + second.scatter + apart[:, None] * apart[None, :] * (first.count * (second.count / count)),
        xp.minimum(first.low, second.low),
        xp.maximum(first.high, second.high),
        exponents,
    )


def _about_mean(spectra: Spectra, count: int, span: Array) -> tuple[Array, Array, Array, Spectra]:
    """Return the mean, what it is rounded by, the scatter about both, and the spectra less both."""
    xp = spectra.xp
    mean = reduce(add, (per_band(xp, xp.sum, pixels) for pixels, _ in spectra)) / count
    centred = spectra.less(mean)
    off, scatter = _sums(centred)
    rest = off / count
    # the mean of numbers far from 0 is rounded; what that leaves, a second round takes
    if bool(xp.any(xp.abs(constant(rest)) > _NOTHING * span)):
        centred = centred.less(rest)
        return mean, rest, _sums(centred)[1], centred
    return mean, xp.zeros_like(constant(rest)), scatter, centred


def _sums(centred: Spectra) -> tuple[Array, Array]:
    """Return the sum of all deviations, and those of their products."""
    xp, off, scatter = centred.xp, 0.0, 0.0
    for pixels, _ in centred:
        off = off + per_band(xp, xp.sum, pixels)
        scatter = scatter + xp.matmul(pixels.T, pixels)
    return off, scatter


def _ends(spectra: Spectra) -> tuple[Array, Array]:
    """Return the least and the greatest value of each band; NaN where there is one."""
    xp = spectra.xp
    low, high = [], []
    for pixels, valid in spectra.stored():
        low.append(per_band(xp, xp.min, spectra.kept(constant(pixels), valid, inf)))
        high.append(per_band(xp, xp.max, spectra.kept(constant(pixels), valid, -inf)))
    return reduce(xp.minimum, low), reduce(xp.maximum, high)


def _bands_with_data(spectra: Spectra) -> tuple[bool, ...]:
    found = reduce(or_, (spectra.xp.any(spectra.xp.isfinite(pixels), axis=0) for pixels, _ in spectra.stored()))
    return tuple(bool(found[band]) for band in range(found.shape[0]))


def _exponents(low: Array, high: Array, *, needed: bool) -> list[int] | None:
    """Return for each band a power of two near its greatest magnitude, None where squares of all are numbers."""
    xp = array_namespace(low)
    level = xp.maximum(xp.abs(low), xp.abs(high))
    greatest, least = float(xp.max(level)), float(xp.min(xp.where(level > 0, level, 1.0)))
    if not needed and max(abs(frexp(greatest)[1]), abs(frexp(least)[1])) <= _FAR:
        return None
    values = [float(level[band]) for band in range(level.shape[0])]
    return [_limited(frexp(each)[1]) if each > 0 and isfinite(each) else -_FARTHEST for each in values]


def _common(left: Moments, right: Moments) -> list[int] | None:
    """Return the powers of two of two parts together; those of a band that is 0 in one part are those of the other."""
    if left.exponents is None and right.exponents is None:
        return None
    both = (
        [0 if exponent > -_FARTHEST else exponent for exponent in _exponents(each.low, each.high, needed=True) or ()]
        if each.exponents is None
        else each.exponents
        for each in (left, right)
    )
    return list(map(max, *both))


def _limited(exponent: int) -> int:
    return max(-_FARTHEST, min(_FARTHEST, exponent))


def _power(exponent: int) -> float:
    # Above, Python raises OverflowError; below, the result is 0.
    return 2.0 ** max(-1074, min(1023, exponent))
