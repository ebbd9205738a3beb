"""Detection of pixels that differ from their background."""

from collections.abc import Iterable, Mapping
from math import nan
from typing import ClassVar

import numpy as np
from array_api_compat import device
from cuvis_ai_schemas.pipeline import PortSpec

from cuvis_ai_core.builtin._checks import Array, Namespace, image_namespace, input_error, number
from cuvis_ai_core.node import ArrayNode


class RXDetector(ArrayNode):
    """Score every pixel by its squared Mahalanobis distance from the mean spectrum of its image.

    The global form of the detector of Reed and Xiaoli (Yu), "Adaptive multiple-band CFAR detection of an
    optical pattern with unknown spectral distribution", IEEE Transactions on Acoustics, Speech, and Signal
    Processing 38 (1990) 1760-1770, doi:10.1109/29.60107. Mean and covariance (divisor n - 1) are those of
    each image; everything is computed in float64.

    Ports:
        cube (in): `[batch, height, width, channel]`, any unit. A pixel with a value that is not finite is
            left out.
        scores (out): `[batch, height, width, 1]`, without unit, 0 or more; large is anomalous. NaN for
            pixels left out.

    Args:
        regularization: Added to the variance of each channel, as a share of the mean variance of the
            channels. It makes covariances invertible where channels are redundant or pixels few; 0 is the
            textbook formula.
        name: Name of this node in its pipeline.
        execution_stages: Stages in which a pipeline runs this node.

    Raises:
        InvalidNodeError: The regularization is no number, or negative.
    """

    INPUT_SPECS: ClassVar[Mapping[str, PortSpec]] = {
        "cube": PortSpec(np.floating, (-1, -1, -1, -1), "Images [batch, height, width, channel]"),
    }
    OUTPUT_SPECS: ClassVar[Mapping[str, PortSpec]] = {
        "scores": PortSpec(np.floating, (-1, -1, -1, 1), "Squared distances [batch, height, width, 1]"),
    }

    def __init__(
        self,
        *,
        regularization: float = 1e-8,
        name: str | None = None,
        execution_stages: Iterable[str] | None = None,
    ) -> None:
        super().__init__(name, execution_stages, regularization=regularization)
        self._regularization = number(self, "regularization", regularization, least=0)

    def forward(self, cube: Array) -> dict[str, Array]:
        """Score the pixels.

        Raises:
            PortError: The cube is no batch of floating-point images, or a covariance is singular.
        """
        xp = image_namespace(self, "cube", cube)
        images = [cube[index, ...] for index in range(cube.shape[0])]
        return {"scores": xp.stack([self._score(xp, image) for image in images], axis=0)}

    def _score(self, xp: Namespace, image: Array) -> Array:
        height, width, channels = image.shape
        pixels = xp.astype(xp.reshape(image, (height * width, channels)), xp.float64)
        valid = xp.all(xp.isfinite(pixels), axis=-1, keepdims=True)
        count = xp.astype(xp.sum(xp.astype(valid, xp.int64)), xp.float64)
        kept = xp.where(valid, pixels, 0.0)
        mean = xp.sum(kept, axis=0, keepdims=True) / xp.clip(count, 1, None)
        centred = xp.where(valid, kept - mean, 0.0)
        covariance = xp.matmul(centred.T, centred) / xp.clip(count - 1, 1, None)
        # the squared length of a whitened spectrum cannot become negative by rounding, unlike x' C^-1 x
        whitened = xp.matmul(centred, self._whitening(xp, covariance))
        scores = xp.where(valid, xp.sum(whitened * whitened, axis=-1, keepdims=True), nan)
        return xp.astype(xp.reshape(scores, (height, width, 1)), image.dtype)

    def _whitening(self, xp: Namespace, covariance: Array) -> Array:
        """Return W with W W' the inverse of the regularised covariance."""
        channels = covariance.shape[0]
        variance = xp.linalg.trace(covariance) / channels
        # an image without any variance gets the unit matrix, and so the scores 0
        share = xp.where(variance > 0, self._regularization * variance, 1.0)
        unit = xp.eye(channels, dtype=covariance.dtype, device=device(covariance))
        try:
            return xp.linalg.inv(xp.linalg.cholesky(covariance + share * unit)).T
        # NumPy's LinAlgError is a ValueError, that of torch a RuntimeError
        except (ValueError, RuntimeError) as error:
            raise input_error(
                self,
                "cube",
                f"the covariance of its {channels} channels cannot be inverted",
                hint=f"Raise 'regularization' of this node; it is {self._regularization:g}.",
            ) from error
