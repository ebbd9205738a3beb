"""From scores of classes to classes."""

from collections.abc import Iterable
from math import inf
from typing import ClassVar

from array_api_compat import array_namespace

from cuvis_ai_core.node import ArrayNode
from cuvis_ai_spectral_toolbox.arrays import CLASSES, CUBE, Array


class ArgMax(ArrayNode):
    """Give each pixel the class with the greatest (or least) of its scores; of equal ones the first.

    Classes are numbered from 1. A score that is not a number counts for nothing; a pixel without any has the class 0.

    Args:
        least: Take the least: of angles and distances the nearest.
        name: Name of this node in its pipeline.
        execution_stages: Stages in which a pipeline runs this node; None means always.
    """

    INPUT_SPECS: ClassVar = {"scores": CUBE}
    OUTPUT_SPECS: ClassVar = {"classes": CLASSES}

    per_pixel = True
    thread_safe = True

    def __init__(
        self, *, least: bool = False, name: str | None = None, execution_stages: Iterable[str] | None = None
    ) -> None:
        super().__init__(name, execution_stages, least=least)
        self.least = least

    def forward(self, scores: Array) -> dict[str, Array]:
        """Decide."""
        xp = array_namespace(scores)
        known = ~xp.isnan(scores)
        counted = xp.where(known, -scores if self.least else scores, -inf)
        best = xp.astype(xp.argmax(counted, axis=-1), xp.int32) + 1
        return {"classes": xp.where(xp.any(known, axis=-1), best, xp.zeros_like(best))}
