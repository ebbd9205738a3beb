"""Similarity of spectra as distributions."""

from collections.abc import Iterable
from math import nan
from typing import ClassVar

from array_api_compat import array_namespace

from cuvis_ai_core.node import ArrayNode
from cuvis_ai_spectral_toolbox.arrays import CUBE, SCORES, Array, as_in, like, to_float64


class SpectralInformationDivergence(ArrayNode):
    """Measure how far every spectrum, as a distribution over the bands, is from a reference: 0 is the same.

    Chang 2000, "An information-theoretic approach to spectral variability, similarity, and discrimination for
    hyperspectral image analysis", IEEE Transactions on Information Theory 46, 1927-1932, doi:10.1109/18.857802: the sum
    of both Kullback-Leibler divergences, in nats. Only bands in which pixel and reference are finite count; a pixel
    with a value of 0 or less there has none and is not a number.

    Args:
        reference: The reference spectrum, one positive number a band; NaN for a band that is left out.
        name: Name of this node in its pipeline.
        execution_stages: Stages in which a pipeline runs this node; None means always.
    """

    INPUT_SPECS: ClassVar = {"cube": CUBE}
    OUTPUT_SPECS: ClassVar = {"divergence": SCORES}

    per_pixel = True
    thread_safe = True

    def __init__(
        self, reference: list[float], *, name: str | None = None, execution_stages: Iterable[str] | None = None
    ) -> None:
        if not any(value > 0 for value in reference) or any(value <= 0 for value in reference):
            raise ValueError("The reference has a number above 0 for each band, or NaN for a band that is left out.")
        super().__init__(name, execution_stages, reference=list(reference))
        self._reference = list(reference)

    def forward(self, cube: Array) -> dict[str, Array]:
        """Measure the divergences.

        Raises:
            ValueError: The reference has another number of bands.
        """
        if cube.shape[-1] != len(self._reference):
            raise ValueError(f"The reference has {len(self._reference)} bands, the cube {cube.shape[-1]}.")
        xp, values = to_float64(cube)
        reference = like(cube, self._reference)
        counts = xp.isfinite(values) & xp.isfinite(reference)
        valid = xp.all(xp.where(counts, values, 1.0) > 0, axis=-1, keepdims=True) & xp.any(
            counts, axis=-1, keepdims=True
        )
        pixel = _distribution(xp.where(counts & valid, values, 1.0), counts)
        other = _distribution(xp.where(counts, reference, 1.0), counts)
        apart = xp.where(counts, (pixel - other) * (xp.log(pixel) - xp.log(other)), 0.0)
        return {"divergence": as_in(cube, xp.where(valid, xp.sum(apart, axis=-1, keepdims=True), nan))}


def _distribution(values: Array, counts: Array) -> Array:
    """Return spectra whose sum over the bands that count is 1."""
    xp = array_namespace(values)
    total = xp.sum(xp.where(counts, values, 0.0), axis=-1, keepdims=True)
    return values / xp.where(total > 0, total, 1.0)
