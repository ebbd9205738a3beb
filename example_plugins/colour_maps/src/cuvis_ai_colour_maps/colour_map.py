"""Score maps as images."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, ClassVar, TypeAlias

import colorcet
import numpy as np
from array_api_compat import array_namespace, device
from cuvis_ai_schemas.pipeline import PortSpec

from cuvis_ai_core.node import ArrayNode

Array: TypeAlias = Any
"""An array of any library that follows the array API standard."""


class ColourMap(ArrayNode):
    """Show scores in colours: equal steps of the score look like equal steps of colour.

    The colour maps are those of Kovesi 2015, "Good colour maps: how to design them", from the package
    colorcet. Each image is stretched by itself; scores that are not finite have no colour: NaN.

    Args:
        palette: Name of a continuous colour map of colorcet.
        clip: Share of the scores at each end that gets the colour of the end, from 0 to below 0.5.
        name: Name of this node in its pipeline.
        execution_stages: Stages in which a pipeline runs this node; None means always.

    Raises:
        ValueError: There is no such colour map, or `clip` is out of range.
    """

    INPUT_SPECS: ClassVar = {
        "scores": PortSpec(np.floating, (-1, -1, -1, 1), "any finite scale, [batch, height, width, 1]"),
    }
    OUTPUT_SPECS: ClassVar = {
        "image": PortSpec(np.floating, (-1, -1, -1, 3), "red, green, blue from 0 to 1, NaN without a score"),
        "limits": PortSpec(
            np.floating, (-1, 2), "scores at the two ends of the colour map, [batch, 2]; NaN without scores"
        ),
    }

    def __init__(
        self,
        palette: str = "fire",
        clip: float = 0.005,
        *,
        name: str | None = None,
        execution_stages: Iterable[str] | None = None,
    ) -> None:
        if palette not in colorcet.palette_n:
            near = get_close_matches(palette, colorcet.palette_n, n=1) or sorted(colorcet.palette_n)[:5]
            raise ValueError(f"colorcet has no continuous colour map '{palette}'; try {', '.join(near)}.")
        if not 0 <= clip < 0.5:  # noqa: PLR2004 -- one half
            raise ValueError(f"clip is {clip:g}: it must be at least 0 and below 0.5.")
        super().__init__(name, execution_stages, palette=palette, clip=clip)
        self.clip = clip
        self.colours = [[int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)] for colour in colorcet.palette_n[palette]]

    def forward(self, scores: Array) -> dict[str, Array]:
        """Colour each image."""
        xp = array_namespace(scores)
        wanted = xp.result_type(scores, xp.float32)
        colours = xp.asarray(self.colours, dtype=wanted, device=device(scores))
        limits = xp.stack([self._limits(scores[i, ...]) for i in range(scores.shape[0])])
        # halved, because the difference of two numbers may be too large for one
        values, ends = (xp.astype(each, xp.float64) / 2 for each in (scores[..., 0], limits))
        low, high = ends[:, 0, None, None], ends[:, 1, None, None]
        finite = xp.isfinite(values)
        values = xp.clip(xp.where(finite, values, 0.0), low, high)
        share = xp.where(finite, (values - low) / xp.where(high > low, high - low, 1.0), 0.0)
        steps = xp.astype(xp.round(share * (colours.shape[0] - 1)), xp.int64)
        image = xp.reshape(xp.take(colours, xp.reshape(steps, (-1,)), axis=0), (*steps.shape, 3))
        return {
            "image": xp.where(finite[..., None], image, xp.full_like(image, xp.nan)),
            "limits": xp.astype(limits, wanted),
        }

    def _limits(self, scores: Array) -> Array:
        xp = array_namespace(scores)
        ordered = xp.sort(scores[xp.isfinite(scores)])
        if ordered.shape[0] == 0:
            return xp.full((2,), xp.nan, dtype=scores.dtype, device=device(scores))
        last = ordered.shape[0] - 1
        clipped = int(self.clip * last)
        return xp.stack([ordered[clipped], ordered[last - clipped]])
