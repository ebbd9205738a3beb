"""Bands of one mean and one deviation."""

from collections.abc import Iterable
from math import nan
from typing import ClassVar

from cuvis_ai_core.node import ArrayNode
from cuvis_ai_spectral_toolbox.arrays import CUBE, Array, as_in, like, to_float64
from cuvis_ai_spectral_toolbox.moments import Moments, gather, merge


class Standardise(ArrayNode):
    """Give each band of each image the mean 0 and the standard deviation 1 (divisor n).

    The z-score of statistics, as `sklearn.preprocessing.StandardScaler` computes it. A band that does not vary becomes
    0, one without data stays so.

    Args:
        name: Name of this node in its pipeline.
        execution_stages: Stages in which a pipeline runs this node; None means always.
    """

    INPUT_SPECS: ClassVar = {"cube": CUBE}
    OUTPUT_SPECS: ClassVar = {"cube": CUBE}

    per_pixel = True
    thread_safe = True

    def __init__(self, *, name: str | None = None, execution_stages: Iterable[str] | None = None) -> None:
        super().__init__(name, execution_stages)

    def forward(self, cube: Array) -> dict[str, Array]:
        """Standardise the cube."""
        return self.forward_tile(self.tile_statistics(cube), cube)

    def tile_statistics(self, cube: Array) -> list[Moments]:
        """Gather the moments of a part of the images."""
        return gather(cube)

    def merge_statistics(self, left: list[Moments], right: list[Moments]) -> list[Moments]:
        """Put the moments of two parts together."""
        return merge(left, right)

    def forward_tile(self, statistics: list[Moments], cube: Array) -> dict[str, Array]:
        """Standardise a part of the images."""
        xp, values = to_float64(cube)
        images = []
        for index, moments in enumerate(statistics):
            mean, deviation = [nan] * cube.shape[-1], [1.0] * cube.shape[-1]
            for at, band in enumerate(moments.bands):
                mean[band] = float(moments.mean[at])
                deviation[band] = (float(moments.scatter[at, at]) / max(moments.count, 1)) ** 0.5 or 1.0
            images.append((values[index, ...] - like(cube, mean)) / like(cube, deviation))
        return {"cube": as_in(cube, xp.stack(images, axis=0))}
