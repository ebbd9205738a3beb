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
        pixels = xp.astype(xp.reshape(seen, (height * width, seen.shape[-1])), xp.float64)
        valid = xp.all(xp.isfinite(pixels), axis=-1, keepdims=True)
        count = int(xp.sum(xp.astype(valid, xp.int64)))
        if not (bands and count):
            return xp.full_like(image[..., :1], nan, dtype=answer_type(xp, image))
        centred, fixed = _centred(xp, xp.where(valid, pixels, 0.0), valid, count)
        # the squared length of a whitened spectrum cannot become negative by rounding, unlike x' C^-1 x
        whitened = self._whitened(xp, centred, fixed, count)
        scores = xp.where(valid, xp.sum(whitened * whitened, axis=-1, keepdims=True), nan)
        return xp.astype(xp.reshape(scores, (height, width, 1)), answer_type(xp, image))

    def _whitened(self, xp: Namespace, centred: Array, fixed: Array, count: int) -> Array:
        """Return centred spectra with the unit matrix as covariance, of as many channels as theirs has rank."""
        channels = centred.shape[-1]
        varying = [band for band in range(channels) if not bool(fixed[band])]
        whitened = centred[:, :0]
        if varying:
            spectra, ridge = self._equilibrated(xp, select(xp, centred, varying), channels, count)
            spectra, ridge = _independent(xp, spectra, ridge, count)
            lower = xp.linalg.cholesky(_covariance(xp, spectra, ridge, count))
            whitened = xp.matmul(spectra, xp.linalg.inv(lower).T)
        if (rank := whitened.shape[-1]) < channels:
            say_once(
                self,
                f"the covariance of its {channels} bands over {count} pixels has the rank {rank}; its pseudo-inverse "
                "gives the scores",
            )
        return whitened

    def _equilibrated(self, xp: Namespace, centred: Array, channels: int, count: int) -> tuple[Array, Array]:
        """Return spectra in which each band has the variance 1, what is added to it included.

        Bands of different units would else look as if one followed from others, and squares would leave the range of
        numbers. What is added comes as a matrix whose square is to be added to the covariance.
        """
        largest = xp.max(xp.abs(centred), axis=0, keepdims=True)
        unit = centred / largest
        deviation = largest * xp.sqrt(xp.sum(unit * unit, axis=0, keepdims=True) / max(count - 1, 1))
        mean_variance = xp.sum(deviation * deviation) / channels
        added = xp.sqrt(self._regularization * mean_variance) * xp.ones_like(deviation)
        scale = xp.hypot(deviation, added)
        eye = xp.eye(centred.shape[-1], dtype=centred.dtype, device=device(centred))
        return centred / scale, eye * (added / scale)


def _centred(xp: Namespace, pixels: Array, valid: Array, count: int) -> tuple[Array, Array]:
    """Return pixels without their mean, in a range in which squares stay numbers, and which bands do not vary.

    Args:
        xp: The array namespace.
        pixels: `[pixel, channel]`; those that are not valid are 0.
        valid: `[pixel, 1]`.
        count: How many are valid.
    """
    largest = float(xp.max(xp.abs(constant(pixels))))
    pixels = pixels * ldexp(1.0, min(-frexp(largest)[1], 1000))  # a power of two changes no digit
    centred = pixels
    for _ in range(2):  # the mean of numbers far from 0 is rounded; what that leaves, the second round takes
        centred = xp.where(valid, centred - xp.sum(centred, axis=0, keepdims=True) / count, 0.0)
    spread, level = (xp.max(xp.abs(each), axis=0) for each in (centred, pixels))
    return centred, spread <= 4 * _EPSILON * level


def _covariance(xp: Namespace, spectra: Array, ridge: Array, count: int) -> Array:
    return xp.matmul(spectra.T, spectra) / max(count - 1, 1) + xp.matmul(ridge.T, ridge)


def _independent(xp: Namespace, spectra: Array, ridge: Array, count: int) -> tuple[Array, Array]:
    """Return spectra in coordinates that depend on each other so little that their covariance can be inverted.

    These are the spectra themselves, or where that is not so, nearly their principal components: those whose variance
    is more than rounding. They are made by a matrix that counts as constant: whatever it is, scores and their gradients
    are the same (CholeskyQR2: Yamamoto et al. 2015, "Roundoff error analysis of the CholeskyQR2 algorithm").
    """
    variances, directions = xp.linalg.eigh(constant(_covariance(xp, spectra, ridge, count)))
    largest = float(variances[-1])
    if float(variances[0]) * _WELL_CONDITIONED > largest:
        return spectra, ridge
    # ascending: what is left out comes first
    rounding = max(_SINGULAR, spectra.shape[-1] * _EPSILON) * largest
    small = int(xp.sum(xp.astype(variances <= rounding, xp.int64)))
    basis = directions[:, small:] / xp.sqrt(variances[small:])
    return xp.matmul(spectra, basis), xp.matmul(ridge, basis)
