"""The node of this plugin."""

import numpy as np
from cuvis_ai_core.node import ArrayNode, PortSpec

CUBE = PortSpec(np.floating, (-1, -1, -1, -1))


class LeafIndex(ArrayNode):
    """Divide each spectrum by its mean."""

    INPUT_SPECS = {"cube": PortSpec(np.floating, (-1, -1, -1, -1))}
    OUTPUT_SPECS = {"cube": CUBE}

    def __init__(self, offset=0.01, **kwargs):
        self.offset = offset
        super().__init__(offset=offset, **kwargs)

    def forward(self, cube):
        return {"cube": cube / (cube.mean(axis=-1, keepdims=True) + self.offset)}
