"""The base class of published nodes that turn scores into decisions; importing this module imports torch."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from cuvis_ai_schemas.pipeline import PortSpec

from cuvis_ai_core.node.base import does_nothing
from cuvis_ai_core.node.node import Node

__all__ = ["BaseDecider", "BinaryDecider"]


class BinaryDecider(Node):
    """Decides for each pixel, from logits `[batch, height, width, channel]` to booleans `[batch, height, width, 1]`.

    Args:
        threshold: Where the decision changes; what it is compared with is up to the class that decides.
        kwargs: Name, execution stages and further hyper-parameters.
    """

    INPUT_SPECS: ClassVar[Mapping[str, Any]] = {
        # Type and shape are the published ones: subclasses in catalogues inherit them.
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

    @property
    def is_calibrated(self) -> bool:
        """Whether it has the thresholds that it decides by; a class that may be built without overrides this."""
        return True

    # By this a training knows that a class has none of its own.
    @does_nothing
    def calibrate(self, scores: torch.Tensor, targets: torch.Tensor) -> dict[str, Any] | None:
        """Choose the threshold anew, by images whose pixels are marked; a class that can do so overrides this.

        A training calls it in the end, with what fed `logits` for the data to validate on. A class that does not
        override it is left out there.

        Args:
            scores: Values of all images, one behind the other, `[image, height, width, channel]`, on the CPU.
            targets: Which pixels are marked, booleans `[image, height, width, channel]` or `[image, height, width]`.

        Returns:
            A report, each changed hyper-parameter as `{"old": ..., "new": ...}`; here None: nothing was changed.
        """
        del scores, targets
        return None


BaseDecider = BinaryDecider
"""The name of the oldest catalogues."""
