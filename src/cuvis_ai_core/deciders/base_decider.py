"""The base class of published nodes that turn scores into decisions; importing this module imports torch."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from cuvis_ai_schemas.pipeline import PortSpec

from cuvis_ai_core.node.node import Node

__all__ = ["BaseDecider", "BinaryDecider"]


class BinaryDecider(Node):
    """Decides for each pixel, from logits `[batch, height, width, channel]` to booleans `[batch, height, width, 1]`.

    Args:
        threshold: Where the decision changes; what it is compared with is up to the class that decides.
        kwargs: Name, execution stages and further hyper-parameters.
    """

    INPUT_SPECS: ClassVar[Mapping[str, Any]] = {
        "logits": PortSpec(torch.float32, (-1, -1, -1, -1), "Scores without bounds, [batch, height, width, channel]")
    }
    OUTPUT_SPECS: ClassVar[Mapping[str, Any]] = {
        "decisions": PortSpec(torch.bool, (-1, -1, -1, 1), "What was decided, [batch, height, width, 1]")
    }

    def __init__(self, threshold: float = 0.5, **kwargs: Any) -> None:
        self.threshold = threshold
        super().__init__(threshold=threshold, **kwargs)

    @abstractmethod
    def forward(self, logits: torch.Tensor, context: Any = None, **_: Any) -> dict[str, Any]:
        """Decide."""


BaseDecider = BinaryDecider
"""The name of the oldest catalogues."""
