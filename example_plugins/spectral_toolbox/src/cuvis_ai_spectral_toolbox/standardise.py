"""Bands of one mean and one deviation."""

from collections.abc import Iterable
from math import nan
from typing import ClassVar

from cuvis_ai_core.node import ArrayNode
from cuvis_ai_spectral_toolbox.arrays import CUBE, Array, as_in, to_float64
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
            bands = []
            for band in range(cube.shape[-1]):
                part = values[index, ..., band]
                if band not in moments.bands:
                    bands.append(xp.full_like(part, nan))
                    continue
                at = moments.bands.index(band)
                variance = float(moments.scatter[at, at]) / max(moments.count, 1)
                bands.append((part - moments.mean[at]) / (variance**0.5 or 1.0))
            images.append(xp.stack(bands, axis=-1))
        return {"cube": as_in(cube, xp.stack(images, axis=0))}
