"""Detection of pixels that differ from their background."""

from collections.abc import Iterable, Mapping
from math import frexp, ldexp, nan
from typing import ClassVar, Final

import numpy as np
from array_api_compat import device
from cuvis_ai_schemas.pipeline import PortSpec

from cuvis_ai_core.builtin._checks import Array, Namespace, constant, image_namespace, number
from cuvis_ai_core.builtin._no_data import answer_type, bands_with_data, say_once, select
from cuvis_ai_core.node import ArrayNode

_EPSILON: Final = 2.0**-52
_SINGULAR: Final = 1e-14
"""Up to this share of the greatest variance, one is what rounding leaves: of sums, and of bands in float32."""

_NOTHING: Final = 1e-12
"""A mean up to this share of the largest deviation changes no score by 1e-10."""
_TINY: Final = 1e-100
_FAR: Final = 300
"""Powers of two up to this have squares that are numbers, also summed up over an image."""
_WELL_CONDITIONED: Final = 1e6
"""Up to this condition of the correlation, its inverse costs less than 1e-9 of a score."""


class RXDetector(ArrayNode):
    """Score every pixel by its squared Mahalanobis distance from the mean spectrum of its image.

    The global form of the detector of Reed and Xiaoli (Yu), "Adaptive multiple-band CFAR detection of an
    optical pattern with unknown spectral distribution", IEEE Transactions on Acoustics, Speech, and Signal
    Processing 38 (1990) 1760-1770, doi:10.1109/29.60107. Mean and covariance (divisor n - 1) are those of
    each image; everything is computed in float64.

    Where the covariance is singular (bands that are constant or follow from others, fewer pixels than bands),
    its pseudo-inverse gives the scores, and its rank is said.

    Ports:
        cube (in): `[batch, height, width, channel]`, any unit. A band without any finite value in an image is left
            out of it, and then a pixel with a value that is not finite.
        scores (out): `[batch, height, width, 1]`, without unit, 0 or more; large is anomalous. NaN for
            pixels left out.

    Args:
        regularization: Added to the variance of each channel, as a share of the mean variance of the
            channels. 0 is the textbook formula.
        name: Name of this node in its pipeline.
        execution_stages: Stages in which a pipeline runs this node.

    Raises:
        InvalidNodeError: The regularization is no number, or negative.
    """

    INPUT_SPECS: ClassVar[Mapping[str, PortSpec]] = {
        "cube": PortSpec(np.floating, (-1, -1, -1, -1), "Images [batch, height, width, channel]"),
    }
    OUTPUT_SPECS: ClassVar[Mapping[str, PortSpec]] = {
        "scores": PortSpec(np.floating, (-1, -1, -1, 1), "Squared distances, without unit [batch, height, width, 1]"),
    }

    def __init__(
        self,
        *,
        regularization: float = 0.0,
        name: str | None = None,
        execution_stages: Iterable[str] | None = None,
    ) -> None:
        super().__init__(name, execution_stages, regularization=regularization)
        self._regularization = number(self, "regularization", regularization, least=0)

    def forward(self, cube: Array) -> dict[str, Array]:
        """Score the pixels.

        Raises:
            PortError: The cube is no batch of floating-point images.
        """
        xp = image_namespace(self, "cube", cube)
        images = [cube[index, ...] for index in range(cube.shape[0])]
        return {"scores": xp.stack([self._score(xp, image) for image in images], axis=0)}

    def _score(self, xp: Namespace, image: Array) -> Array:
        height, width, _ = image.shape
        bands = bands_with_data(self, xp, image)
        seen = select(xp, image, bands)
        pixels = xp.reshape(seen, (height * width, seen.shape[-1]))
        valid = xp.all(xp.isfinite(pixels), axis=-1, keepdims=True)
        count = int(xp.sum(xp.astype(valid, xp.int64)))
        if not (bands and count):
            return xp.full_like(image[..., :1], nan, dtype=answer_type(xp, image))
        masked = _Masked(xp, valid, count)
        whitened = self._whitened(xp, masked.without_missing(xp.astype(pixels, xp.float64)), masked)
        # the squared length of a whitened spectrum cannot become negative by rounding, unlike x' C^-1 x
        scores = xp.where(valid, xp.vecdot(whitened, whitened, axis=-1)[:, None], nan)
        return xp.astype(xp.reshape(scores, (height, width, 1)), answer_type(xp, image))

    def _whitened(self, xp: Namespace, pixels: Array, masked: "_Masked") -> Array:
        """Return centred spectra with the unit matrix as covariance, of as many channels as theirs has rank."""
        channels = pixels.shape[-1]
        centred, spread, fixed = masked.centred(pixels)
        varying = [band for band in range(channels) if not bool(fixed[band])]
        whitened = centred[:, :0]
        if varying:
            spectra = _Spectra(xp, select(xp, centred, varying), select(xp, spread, varying), masked.count)
            whitened = spectra.whitened(self._regularization, channels)
        if (rank := whitened.shape[-1]) < channels:
            say_once(
                self,
                f"the covariance of its {channels} bands over {masked.count} pixels has the rank {rank}; its "
                "pseudo-inverse gives the scores",
            )
        return whitened


class _Masked:
    """The pixels of an image of which some may be missing.

    Args:
        xp: The array namespace.
        valid: Which are there, `[pixel, 1]`.
        count: How many are.
    """

    def __init__(self, xp: Namespace, valid: Array, count: int) -> None:
        self.xp = xp
        self.valid = valid
        self.count = count

    def without_missing(self, pixels: Array) -> Array:
        """Return pixels with 0 for those that are missing."""
        whole = self.count == pixels.shape[0]  # a pass over the image less
        return pixels if whole else self.xp.where(self.valid, pixels, 0.0)

    def centred(self, pixels: Array) -> tuple[Array, Array, Array]:
        """Return pixels without their mean, in a range in which squares are no infinity.

        Returns:
            They, the largest magnitude of each band, and which bands do not vary.
        """
        xp, level = self.xp, _magnitude(self.xp, pixels)
        largest = frexp(float(xp.max(level)))[1]
        if abs(largest) > _FAR:
            factor = ldexp(1.0, min(-largest, 1000))  # a power of two changes no digit
            pixels, level = pixels * factor, level * factor
        centred = self._without_mean(pixels)
        rest = xp.abs(xp.sum(constant(centred), axis=0)) / self.count
        spread = _magnitude(xp, centred)
        # the mean of numbers far from 0 is rounded; what that leaves, a second round takes
        if bool(xp.any(rest > _NOTHING * spread)):
            centred = self._without_mean(centred)
            spread = _magnitude(xp, centred)
        return centred, spread, spread <= 4 * _EPSILON * level

    def _without_mean(self, pixels: Array) -> Array:
        return self.without_missing(pixels - self.xp.sum(pixels, axis=0, keepdims=True) / self.count)


class _Spectra:
    """Centred spectra of bands that vary.

    Bands of different units would look as if one followed from others: each counts by its own deviation, what is added
    to its variance included. That is done to the matrices, not to the spectra, which would take a pass more.

    Args:
        xp: The array namespace.
        centred: `[pixel, channel]`, 0 where there is no data.
        spread: The largest magnitude in each band.
        count: The number of pixels with data.
    """

    def __init__(self, xp: Namespace, centred: Array, spread: Array, count: int) -> None:
        self._xp = xp
        self._unit = xp.where(spread < _TINY, spread, 1.0)
        # squares of such small numbers would be 0
        self._centred = centred / self._unit if bool(xp.any(spread < _TINY)) else centred
        self._freedom = max(count - 1, 1)

    def whitened(self, regularization: float, channels: int) -> Array:
        """Return them with the unit matrix as covariance.

        Args:
            regularization: What is added to each variance, as a share of the mean variance.
            channels: The bands over which that is the mean, those that do not vary included.
        """
        xp = self._xp
        gram = self._gram(self._centred)
        deviation = self._unit * xp.sqrt(xp.linalg.diagonal(gram))
        mean_variance = xp.sum(deviation * deviation) / channels
        added = xp.sqrt(regularization * mean_variance) * xp.ones_like(deviation)
        scale = xp.hypot(deviation, added)
        ratio, ridge = (self._unit / scale)[:, None], (added / scale)[:, None]
        eye = xp.eye(gram.shape[0], dtype=gram.dtype, device=device(gram))
        correlation = gram * ratio * ratio.T + eye * ridge * ridge
        basis = _independent(xp, constant(correlation))
        if basis is None:
            return xp.matmul(self._centred, ratio * _inverse_root(xp, correlation))
        spectra, rest = xp.matmul(self._centred, ratio * basis), ridge * basis
        return xp.matmul(spectra, _inverse_root(xp, self._gram(spectra) + xp.matmul(rest.T, rest)))

    def _gram(self, spectra: Array) -> Array:
        return self._xp.matmul(spectra.T, spectra) / self._freedom


def _magnitude(xp: Namespace, pixels: Array) -> Array:
    """Return the largest magnitude in each band."""
    values = constant(pixels)
    return xp.maximum(xp.max(values, axis=0), -xp.min(values, axis=0))


def _inverse_root(xp: Namespace, covariance: Array) -> Array:
    """Return W with W W' the inverse of a covariance."""
    return xp.linalg.inv(xp.linalg.cholesky(covariance)).T


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
