"""Decisions from scores."""

from collections.abc import Iterable, Mapping
from math import inf
from typing import Any, ClassVar

import numpy as np
from cuvis_ai_schemas.enums import NodeCategory, NodeTag
from cuvis_ai_schemas.pipeline import PortSpec
from numpy.typing import NDArray

from cuvis_ai_core.builtin._input_checks import Array, Namespace, constant, image_namespace, number
from cuvis_ai_core.builtin._quantiles import Ranks, first_ranks, next_ranks, values_at
from cuvis_ai_core.node import ArrayNode


class QuantileDecider(ArrayNode):
    """Mark the pixels of each image whose score is above a quantile of the scores of that image.

    Of n scores in ascending order the one at place `quantile * (n - 1)`, rounded down and counted from 0, is the
    greatest that is not marked. Every way to interpolate between two places (Hyndman and Fan, "Sample quantiles
    in statistical packages", The American Statistician 50 (1996) 361-365, doi:10.2307/2684934, definition 7, the
    default of `numpy.quantile`) gives this mask: no score lies between.

    Ports:
        scores (in): `[batch, height, width, 1]`, any unit. NaN counts for nothing.
        mask (out): `[batch, height, width, 1]`, bool; False for NaN, and everywhere in an image of equal
            scores.

    Args:
        quantile: Share of the pixels that is not marked, from 0 to below 1.
        name: Name of this node in its pipeline.
        execution_stages: Stages in which a pipeline runs this node.

    Raises:
        InvalidNodeError: The quantile is out of its range.
    """

    _category = NodeCategory.TRANSFORM
    _tags = frozenset({NodeTag.ANOMALY, NodeTag.MASK, NodeTag.POSTPROCESSING})
    INPUT_SPECS: ClassVar[Mapping[str, PortSpec]] = {
        "scores": PortSpec(np.floating, (-1, -1, -1, 1), "Scores [batch, height, width, 1]"),
    }
    OUTPUT_SPECS: ClassVar[Mapping[str, PortSpec]] = {
        "mask": PortSpec(np.bool_, (-1, -1, -1, 1), "Scores above the quantile [batch, height, width, 1]"),
    }

    per_pixel = True
    thread_safe = True

    def __init__(
        self,
        *,
        quantile: float = 0.995,
        name: str | None = None,
        execution_stages: Iterable[str] | None = None,
    ) -> None:
        super().__init__(name, execution_stages, quantile=quantile)
        self._quantile = number(self, "quantile", quantile, least=0, below=1)

    def forward(self, scores: Array) -> dict[str, Array]:
        """Decide.

        Raises:
            PortError: The scores are no batch of floating-point images.
        """
        xp = image_namespace(self, "scores", scores)
        images = [scores[index, ...] for index in range(scores.shape[0])]
        return {"mask": xp.stack([image > self._threshold(xp, image) for image in images])}

    def tile_statistics(self, scores: Array) -> Ranks:
        """Return the ranks of the scores of a part of the images, by their first bits."""
        image_namespace(self, "scores", scores)
        return first_ranks(_plain(scores))

    def merge_statistics(self, left: Ranks, right: Ranks) -> Ranks:
        """Return the ranks of two parts together."""
        return left.merged(right)

    def statistics_rough(self, ranks: Ranks) -> bool:
        """Tell whether bits are left to look at."""
        return not ranks.is_last()

    def refine_statistics(self, ranks: Ranks, scores: Array) -> Ranks:
        """Return the ranks of the scores of a part of the images, by the bits behind those that are known."""
        return next_ranks(ranks, _plain(scores), self._place)

    def forward_tile(self, ranks: Ranks, scores: Array) -> dict[str, Array]:
        """Decide for a part of the images."""
        xp = image_namespace(self, "scores", scores)
        thresholds = values_at(ranks, self._place)
        return {"mask": xp.stack([scores[at, ...] > each for at, each in enumerate(thresholds)], axis=0)}

    def _place(self, count: int) -> int:
        """Return the place of the greatest score that is not marked, among so many in ascending order."""
        return int(self._quantile * (count - 1))

    def _threshold(self, xp: Namespace, scores: Array) -> float:
        """Return the greatest score that is not marked, infinity if there are none."""
        scores = constant(scores)
        missing = xp.isnan(scores)
        count = int(xp.sum(xp.astype(~missing, xp.int64)))
        # replaced, because the standard does not say where NaN is sorted
        ascending = xp.sort(xp.reshape(xp.where(missing, inf, scores), (-1,)))
        return float(ascending[self._place(count)])


def _plain(scores: Array) -> NDArray[Any]:
    """Return scores as an array of NumPy, of types that it has not as float32."""
    values = constant(scores)
    if hasattr(values, "cpu"):
        values = values.cpu()
        values = values.float() if str(values.dtype) == "torch.bfloat16" else values
    return np.asarray(values)
