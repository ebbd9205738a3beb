"""A torch node."""

import torch
from cuvis_ai_core.node import Node
from cuvis_ai_schemas.pipeline import PortSpec

CUBE = (-1, -1, -1, -1)


class Weigh(Node):
    """Weigh the bands, with weights that are random at first."""

    INPUT_SPECS = {"cube": PortSpec(torch.float32, CUBE)}
    OUTPUT_SPECS = {"cube": PortSpec(torch.float32, CUBE), "half": PortSpec(torch.bfloat16, CUBE, optional=True)}
    TRAINABLE_BUFFERS = ("offset",)

    def __init__(self, bands: int, **kwargs):
        super().__init__(bands=bands, **kwargs)
        self.linear = torch.nn.Linear(bands, bands)
        self.register_buffer("offset", torch.zeros(bands))

    def forward(self, cube, **_):
        assert isinstance(cube, torch.Tensor)
        answer = self.linear(cube) + self.offset
        return {"cube": answer, "half": answer.to(torch.bfloat16)}
