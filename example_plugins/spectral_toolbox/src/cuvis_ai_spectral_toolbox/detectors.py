"""Detectors of a known spectrum before the background of its image."""

from collections.abc import Iterable
from math import nan
from typing import ClassVar

from array_api_compat import array_namespace

from cuvis_ai_core.node import ArrayNode
from cuvis_ai_spectral_toolbox.arrays import CUBE, SCORES, Array, as_in, like, take_bands, to_float64, whole_pixels
from cuvis_ai_spectral_toolbox.moments import Moments, gather, merge


class _TargetDetector(ArrayNode):
    """What both detectors share: the target, and the background statistics of each image."""

    INPUT_SPECS: ClassVar = {"cube": CUBE}
    OUTPUT_SPECS: ClassVar = {"scores": SCORES}

    per_pixel = True
    thread_safe = True

    def __init__(
        self, target: list[float], *, name: str | None = None, execution_stages: Iterable[str] | None = None
    ) -> None:
        if not target:
            raise ValueError("The target has one number a band.")
        super().__init__(name, execution_stages, target=list(target))
        self._target = list(target)

    def forward(self, cube: Array) -> dict[str, Array]:
        """Score each pixel.

        Raises:
            ValueError: The target has another number of bands, or the background's covariance has no inverse.
        """
        return self.forward_tile(self.tile_statistics(cube), cube)

    def tile_statistics(self, cube: Array) -> list[Moments]:
        """Gather the moments of a part of the images."""
        if cube.shape[-1] != len(self._target):
            raise ValueError(f"The target has {len(self._target)} bands, the cube {cube.shape[-1]}.")
        return gather(cube)

    def merge_statistics(self, left: list[Moments], right: list[Moments]) -> list[Moments]:
        """Put the moments of two parts together."""
        return merge(left, right)

    def forward_tile(self, statistics: list[Moments], cube: Array) -> dict[str, Array]:
        """Score each pixel of a part of the images."""
        images = [self._image(moments, cube[index, ...]) for index, moments in enumerate(statistics)]
        return {"scores": as_in(cube, array_namespace(cube).stack(images, axis=0))}

    def _image(self, moments: Moments, image: Array) -> Array:
        """Score an image whose spectra are centred and have the unit matrix as covariance, like the target then."""
        xp, values = to_float64(image)
        moments.needs(len(moments.bands) + 1)
        seen = take_bands(values, list(moments.bands))
        target = take_bands(like(image, self._target), list(moments.bands)) - moments.mean
        try:
            root = xp.linalg.inv(xp.linalg.cholesky(moments.covariance()))
        except Exception as error:
            raise ValueError(
                "The covariance of the background cannot be inverted: bands follow from others, or do not vary. Leave "
                "such bands out, or reduce them with PrincipalComponents before."
            ) from error
        valid = whole_pixels(seen)
        spectra = xp.matmul(xp.where(valid, seen, moments.mean) - moments.mean, root.T)
        return xp.where(valid, self._scores(spectra, xp.matmul(root, target)), nan)

    def _scores(self, spectra: Array, target: Array) -> Array:
        """Return a score for each spectrum, `[height, width, 1]`."""
        raise NotImplementedError


class MatchedFilter(_TargetDetector):
    """Score how much of a target is in each spectrum: 0 for the mean of the background, 1 for the target itself.

    The adaptive matched filter of Robey et al. 1992, "A CFAR adaptive matched filter detector", IEEE Transactions on
    Aerospace and Electronic Systems 28, 208-216, doi:10.1109/7.135446, scaled as abundance (Boardman et al. 1995): the
    background is the mean and the covariance (divisor n - 1) of each image.

    Args:
        target: The target spectrum, one number a band, in the unit of the cube.
        name: Name of this node in its pipeline.
        execution_stages: Stages in which a pipeline runs this node; None means always.
    """

    def _scores(self, spectra: Array, target: Array) -> Array:
        xp = array_namespace(spectra)
        return xp.matmul(spectra, target)[..., None] / xp.sum(target * target)


class AdaptiveCosineEstimator(_TargetDetector):
    """Score the squared cosine between each spectrum and a target, seen from the background: 0 to 1.

    The adaptive coherence (cosine) estimator of Kraut, Scharf and McWhorter 2001, "Adaptive subspace detectors", IEEE
    Transactions on Signal Processing 49, 1-16, doi:10.1109/78.890324. The background is the mean and the covariance
    (divisor n - 1) of each image. A pixel that is just the mean has the score 0.

    Args:
        target: The target spectrum, one number a band, in the unit of the cube.
        name: Name of this node in its pipeline.
        execution_stages: Stages in which a pipeline runs this node; None means always.
    """

    def _scores(self, spectra: Array, target: Array) -> Array:
        xp = array_namespace(spectra)
        along = xp.matmul(spectra, target)[..., None]
        energy = xp.sum(spectra * spectra, axis=-1, keepdims=True)
        return along * along / (xp.where(energy > 0, energy, 1.0) * xp.sum(target * target))
