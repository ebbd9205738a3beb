"""Classes in colours."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from cuvis_ai_schemas.pipeline import PortSpec
from torch import Tensor

from cuvis_ai_core.node import Node
from cuvis_ai_spectral_classifier.ports import MASK

COLOURS = (
    *("#8dd3c7", "#ffd92f", "#e7298a", "#a6761d", "#1b9e77", "#66a61e", "#b3de69", "#d95f02"),
    *("#fb8072", "#80b1d3", "#bebada", "#fdb462", "#7570b3", "#33691e", "#666666", "#17becf"),
)
"""A colour for each class; from the 17th class on they begin anew."""


class ClassMap(Node):
    """Paint each pixel in the colour of its class; 0 stays black.

    Ports:
        classes (in): Class of each pixel `[batch, height, width]`.
        image (out): Red, green and blue, uint8 `[batch, height, width, 3]`.
    """

    INPUT_SPECS: ClassVar[Mapping[str, PortSpec]] = {"classes": MASK}
    OUTPUT_SPECS: ClassVar[Mapping[str, PortSpec]] = {
        "image": PortSpec(torch.uint8, (-1, -1, -1, 3), "Red, green, blue")
    }

    def __init__(self, **base: Any) -> None:
        super().__init__(*Node.consume_base_kwargs(base, ("inference",)), **base)
        colours = torch.tensor([list(bytes.fromhex(colour[1:])) for colour in COLOURS], dtype=torch.uint8)
        self.register_buffer("colours", colours, persistent=False)

    def forward(self, classes: Tensor, **_: object) -> dict[str, Tensor]:
        """Paint."""
        image = self.colours[(classes.long() - 1) % len(self.colours)]
        return {"image": torch.where((classes > 0)[..., None], image, 0).to(torch.uint8)}
