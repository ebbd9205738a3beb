"""Detection of pixels that differ from their background."""

from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from functools import cache, reduce
from math import nan
from operator import add
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np
from cuvis_ai_schemas.enums import NodeCategory, NodeTag
from cuvis_ai_schemas.pipeline import PortSpec

from cuvis_ai_core.builtin._input_checks import Array, Namespace, image_namespace, number
from cuvis_ai_core.builtin._moments import Moments, merged, moments_of
from cuvis_ai_core.builtin._no_data import answer_type, bands_with_data, say_once
from cuvis_ai_core.builtin._spectra_chunks import Spectra
from cuvis_ai_core.builtin._whitening import Whitening
from cuvis_ai_core.node import ArrayNode

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

_SMALL: Final = 2**20
"""Up to so many values, threads of BLAS cost more than they bring; on busy cores ten times as much."""


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

    _category = NodeCategory.MODEL
    _tags = frozenset({NodeTag.ANOMALY, NodeTag.HYPERSPECTRAL, NodeTag.STATEFUL})
    INPUT_SPECS: ClassVar[Mapping[str, PortSpec]] = {
        "cube": PortSpec(np.floating, (-1, -1, -1, -1), "Images [batch, height, width, channel]"),
    }
    OUTPUT_SPECS: ClassVar[Mapping[str, PortSpec]] = {
        "scores": PortSpec(np.floating, (-1, -1, -1, 1), "Squared distances, without unit [batch, height, width, 1]"),
    }

    per_pixel = True
    thread_safe = True

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
        small = isinstance(cube, np.ndarray) and cube.size <= _SMALL
        with _blas().limit(limits=1) if small else nullcontext():
            moments = self._moments(cube, hold=small)
            return self.forward_tile(self.refine_statistics(moments, cube), cube)

    def tile_statistics(self, cube: Array) -> list[Moments]:
        """Return the moments of each image."""
        return self._moments(cube, hold=False)

    def merge_statistics(self, left: list[Moments], right: list[Moments]) -> list[Moments]:
        """Return the moments of two parts together."""
        return list(map(merged, left, right))

    def statistics_rough(self, moments: list[Moments]) -> bool:
        """Tell whether the covariance is so near to a singular one that it is taken again, of whitened spectra."""
        return any(self._is_rough(each) for each in moments)

    def refine_statistics(self, moments: list[Moments], cube: Array) -> list[Moments]:
        """Return the moments with those of whitened spectra, where the covariance is near to a singular one."""
        xp = image_namespace(self, "cube", cube)
        return [
            replace(each, whitened=self._gram(xp, cube[index, ...], each), _made={}) if self._is_rough(each) else each
            for index, each in enumerate(moments)
        ]

    def forward_tile(self, moments: list[Moments], cube: Array) -> dict[str, Array]:
        """Score the pixels of a part of the images."""
        xp = image_namespace(self, "cube", cube)
        scores = [self._score(xp, cube[index, ...], each) for index, each in enumerate(moments)]
        return {"scores": xp.stack(scores, axis=0)}

    def _moments(self, cube: Array, *, hold: bool) -> list[Moments]:
        xp = image_namespace(self, "cube", cube)
        return [moments_of(xp, cube[index, ...], hold=hold) for index in range(cube.shape[0])]

    def _is_rough(self, moments: Moments) -> bool:
        return moments.whitened is None and bool(moments.count) and self._whitening(moments).is_rough

    def _gram(self, xp: Namespace, image: Array, moments: Moments) -> Array:
        spectra, whitening = self._deviations(xp, image, moments), self._whitening(moments)
        whitened = (spectra.kept(whitening.apply(pixels), valid) for pixels, valid in spectra)
        return reduce(add, (xp.matmul(each.T, each) for each in whitened))

    def _score(self, xp: Namespace, image: Array, moments: Moments) -> Array:
        if not moments.count:
            return xp.full_like(image[..., :1], nan, dtype=answer_type(xp, image))
        spectra, whitening = self._deviations(xp, image, moments), self._whitening(moments)
        scores = []
        for pixels, valid in spectra:
            whitened = whitening.apply(pixels)
            # the squared length of a whitened spectrum cannot become negative by rounding, unlike x' C^-1 x
            scores.append(spectra.kept(xp.vecdot(whitened, whitened, axis=-1)[:, None], valid, nan))
        return xp.astype(xp.reshape(xp.concat(scores, axis=0), (*image.shape[:2], 1)), answer_type(xp, image))

    def _deviations(self, xp: Namespace, image: Array, moments: Moments) -> Spectra:
        bands = bands_with_data(self, moments.found)
        if moments.deviations is not None:
            return moments.deviations
        spectra = Spectra(xp, image, bands, masked=bool(moments.missing))
        return self._whitening(moments).centred(spectra)

    def _whitening(self, moments: Moments) -> Whitening:
        return moments.once(("whitening", self._regularization), lambda: self._new_whitening(moments))

    def _new_whitening(self, moments: Moments) -> Whitening:
        whitening = Whitening(moments, self._regularization)
        if whitening.rank < (channels := sum(moments.found)):
            say_once(
                self,
                f"the covariance of its {channels} bands over {moments.count} pixels has the rank {whitening.rank}; "
                "its pseudo-inverse gives the scores",
            )
        return whitening


# Looking for them goes through all libraries that the process has loaded.
@cache
def _blas() -> "ThreadpoolController":
    """Return the libraries of linear algebra, that of NumPy among them."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")
