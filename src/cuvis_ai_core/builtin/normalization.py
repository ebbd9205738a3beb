"""Scaling of cubes to a common range."""

from collections.abc import Iterable, Mapping
from math import inf, nan
from typing import ClassVar

import numpy as np
from cuvis_ai_schemas.enums import NodeCategory, NodeTag
from cuvis_ai_schemas.pipeline import PortSpec

from cuvis_ai_core.builtin._array_namespace import array_namespace
from cuvis_ai_core.builtin._input_checks import Array, constant, flag, image_namespace, number
from cuvis_ai_core.builtin._no_data import answer_type
from cuvis_ai_core.node import ArrayNode


class MinMaxNormalizer(ArrayNode):
    """Scale every image of a batch to the range 0 to 1: `(cube - min) / (max - min)`.

    Ports:
        cube (in): `[batch, height, width, channel]`, any unit.
        cube (out): the same shape, 0 to 1. Values that are not finite count for neither end and become NaN.

    Args:
        per_channel: Scale each band by its own ends. By default an image has one minimum and one maximum,
            which keeps the shape of its spectra.
        eps: A range `max - min` up to this share of the greatest magnitude is constant, and becomes 0.
        name: Name of this node in its pipeline.
        execution_stages: Stages in which a pipeline runs this node.

    Raises:
        InvalidNodeError: A hyper-parameter is out of its range.
    """

    _category = NodeCategory.TRANSFORM
    _tags = frozenset({NodeTag.HYPERSPECTRAL, NodeTag.NORMALIZATION, NodeTag.PREPROCESSING})
    INPUT_SPECS: ClassVar[Mapping[str, PortSpec]] = {
        "cube": PortSpec(np.floating, (-1, -1, -1, -1), "Images [batch, height, width, channel]"),
    }
    OUTPUT_SPECS: ClassVar[Mapping[str, PortSpec]] = {
        "cube": PortSpec(np.floating, (-1, -1, -1, -1), "The images, scaled to 0..1"),
    }

    per_pixel = True
    thread_safe = True

    def __init__(
        self,
        *,
        per_channel: bool = False,
        eps: float = 0.0,
        name: str | None = None,
        execution_stages: Iterable[str] | None = None,
    ) -> None:
        super().__init__(name, execution_stages, per_channel=per_channel, eps=eps)
        self._axes = (1, 2) if flag(self, "per_channel", per_channel) else (1, 2, 3)
        self._eps = number(self, "eps", eps, least=0)

    def forward(self, cube: Array) -> dict[str, Array]:
        """Scale the cube.

        Raises:
            PortError: The cube is no batch of floating-point images.
        """
        return self.forward_tile(self.tile_statistics(cube), cube)

    def tile_statistics(self, cube: Array) -> tuple[Array, Array]:
        """Return the ends of each image: infinity and its negative where no value is finite."""
        xp = image_namespace(self, "cube", cube)
        cube = xp.astype(cube, answer_type(xp, cube), copy=False)
        low, high = (end(cube, axis=self._axes, keepdims=True) for end in (xp.min, xp.max))
        if not bool(xp.all(xp.isfinite(low) & xp.isfinite(high))):  # NaN comes through both
            finite = xp.isfinite(cube)
            low = xp.min(xp.where(finite, cube, inf), axis=self._axes, keepdims=True)
            high = xp.max(xp.where(finite, cube, -inf), axis=self._axes, keepdims=True)
        return low, high

    def merge_statistics(self, left: tuple[Array, Array], right: tuple[Array, Array]) -> tuple[Array, Array]:
        """Return the ends of two parts together."""
        xp = array_namespace(*left, *right)
        return xp.minimum(left[0], right[0]), xp.maximum(left[1], right[1])

    def forward_tile(self, ends: tuple[Array, Array], cube: Array) -> dict[str, Array]:
        """Scale a part of the images."""
        xp = image_namespace(self, "cube", cube)
        cube = xp.astype(cube, answer_type(xp, cube), copy=False)
        finite, (low, high) = xp.isfinite(cube), ends
        # Not so where no value is finite: there the ends are infinite, each on the side of the other.
        found = low <= high
        low, high = xp.where(found, low, 0.0), xp.where(found, high, 0.0)
        greatest, least = (float(constant(each)) for each in (xp.max(high), xp.min(low)))
        if greatest / 2 - least / 2 > xp.finfo(cube.dtype).max / 2:
            cube, low, high = cube / 2, low / 2, high / 2  # else the range would be infinite
        span = high - low
        varies = span > self._eps * xp.maximum(xp.abs(low), xp.abs(high))
        # where the result is not used, it is made of harmless numbers: no warnings, no NaN gradients
        offset = xp.where(varies, low, 0.0)
        scaled = (xp.where(finite, cube, 0.0) - offset) / xp.where(varies, span, 1.0)
        return {"cube": xp.where(finite, xp.where(varies, scaled, 0.0), nan)}
