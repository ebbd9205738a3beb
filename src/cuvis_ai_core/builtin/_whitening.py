"""Spectra with the unit matrix as covariance."""

from dataclasses import replace
from functools import reduce
from typing import Final

from array_api_compat import device

from cuvis_ai_core.builtin._array_namespace import array_namespace
from cuvis_ai_core.builtin._input_checks import Array, Namespace, constant
from cuvis_ai_core.builtin._moments import Moments
from cuvis_ai_core.builtin._no_data import select
from cuvis_ai_core.builtin._spectra_chunks import Spectra

_EPSILON: Final = 2.0**-52
_SINGULAR: Final = 1e-14
"""Up to this share of the greatest variance, one is what rounding leaves: of sums, and of bands in float32."""

_WELL_CONDITIONED: Final = 1e6
"""Up to this condition of the correlation, its inverse costs less than 1e-9 of a score."""

_LEAST_POWER: Final = -900


class Whitening:
    """A linear map of spectra, of as many channels as their covariance has rank.

    Bands of different units would look as if one followed from others: each counts by its own deviation, what is added
    to its variance included. That is done to the matrices, not to the spectra, which would take a pass more.

    It does not keep the moments, which keep it: what they hold would stay until garbage is collected.

    Args:
        moments: Those of the image; at least one pixel counts.
        regularization: What is added to each variance, as a share of the mean variance of all bands with data.
    """

    def __init__(self, moments: Moments, regularization: float) -> None:
        self._xp = xp = array_namespace(moments.mean)
        self._shifts = [moments.mean] + [moments.rest] * bool(xp.any(constant(moments.rest) != 0))
        level = xp.maximum(xp.abs(moments.low), xp.abs(moments.high))
        # What differs by rounding alone has no variance to divide by.
        fixed = moments.high - moments.low <= 4 * _EPSILON * level
        self._varying = [band for band in range(level.shape[0]) if not bool(fixed[band])]
        self._is_rough = False
        self._matrix = self._made(moments, regularization) if self._varying else None
        self._factors = (
            None if moments.exponents is None else self._powers([-each for each in moments.exponents], moments.mean)
        )

    @property
    def rank(self) -> int:
        """The rank of the covariance."""
        return 0 if self._matrix is None else int(self._matrix.shape[-1])

    @property
    def is_rough(self) -> bool:
        """Whether the covariance of what it whitens should be taken again (CholeskyQR2)."""
        return self._is_rough

    def centred(self, spectra: Spectra) -> Spectra:
        """Return spectra of all bands with data less their mean."""
        return reduce(Spectra.less, self._shifts, replace(spectra, factors=self._factors))

    def apply(self, centred: Array) -> Array:
        """Return what `centred` yields, `[pixel, band]`, whitened: `[pixel, rank]`."""
        if self._matrix is None:
            return centred[:, :0]
        return self._xp.matmul(select(self._xp, centred, self._varying), self._matrix)

    def _made(self, moments: Moments, regularization: float) -> Array:
        xp, channels = self._xp, moments.mean.shape[0]
        freedom = max(moments.count - 1, 1)
        rows = select(xp, moments.scatter, self._varying)
        gram = select(xp, rows.T, self._varying) / freedom
        unit = select(xp, self._units(moments), self._varying)
        deviation = unit * xp.sqrt(xp.linalg.diagonal(gram))
        mean_variance = xp.sum(deviation * deviation) / channels
        added = xp.sqrt(regularization * mean_variance) * xp.ones_like(deviation)
        scale = xp.hypot(deviation, added)
        ratio, ridge = (unit / scale)[:, None], (added / scale)[:, None]
        eye = xp.eye(gram.shape[0], dtype=gram.dtype, device=device(gram))
        correlation = gram * ratio * ratio.T + eye * ridge * ridge
        root = _trusted_root(xp, correlation)
        if root is not None:
            return ratio * root
        basis = _independent(xp, constant(correlation))
        if basis is None:
            return ratio * _inverse_root(xp, correlation)
        self._is_rough = moments.whitened is None
        if self._is_rough:
            return ratio * basis
        rest = ridge * basis
        again = moments.whitened / freedom + xp.matmul(rest.T, rest)
        return xp.matmul(ratio * basis, _inverse_root(xp, again))

    def _units(self, moments: Moments) -> Array:
        """Return what one is worth in each band, against that in which numbers are greatest."""
        exponents = moments.exponents
        if exponents is None:
            return self._xp.ones_like(constant(moments.mean))
        return self._powers([max(each - max(exponents), _LEAST_POWER) for each in exponents], moments.mean)

    def _powers(self, exponents: list[int], mean: Array) -> Array:
        return self._xp.asarray([2.0**each for each in exponents], dtype=self._xp.float64, device=device(mean))


def _inverse_root(xp: Namespace, covariance: Array) -> Array:
    """Return W with W W' the inverse of a covariance."""
    return xp.linalg.inv(xp.linalg.cholesky(covariance)).T


def _trusted_root(xp: Namespace, correlation: Array) -> Array | None:
    """Return the same of a correlation whose condition is certainly good; None where its variances have to tell.

    A variance is at most the sum of all, and so is the inverse of one: that bound costs a tenth of them.
    """
    try:
        root = _inverse_root(xp, correlation)
    except (RuntimeError, ValueError):  # each library has its own error for a matrix that is not positive definite
        return None
    known = constant(root)
    bound = float(xp.sum(known * known)) * float(xp.sum(xp.linalg.diagonal(constant(correlation))))
    return root if bound < _WELL_CONDITIONED else None  # some libraries answer NaN


def _independent(xp: Namespace, correlation: Array) -> Array | None:
    """Return coordinates that depend on each other so little that their covariance can be inverted.

    None where those of the spectra do already; else nearly their principal components: those whose variance is more
    than rounding. They are made by a matrix that counts as constant: whatever it is, scores and their gradients are the
    same (CholeskyQR2: Yamamoto et al. 2015, "Roundoff error analysis of the CholeskyQR2 algorithm").
    """
    variances, directions = xp.linalg.eigh(correlation)
    largest = float(variances[-1])
    if float(variances[0]) * _WELL_CONDITIONED > largest:
        return None
    # ascending: what is left out comes first
    rounding = max(_SINGULAR, correlation.shape[0] * _EPSILON) * largest
    small = int(xp.sum(xp.astype(variances <= rounding, xp.int64)))
    return directions[:, small:] / xp.sqrt(variances[small:])
