import numpy as np
import torch
from cuvis_ai_core.node import Node
from cuvis_ai_schemas.enums import NodeCategory, NodeTag
from cuvis_ai_schemas.pipeline import PortSpec


class BeltDataNode(Node):
    _category = NodeCategory.SOURCE
    _tags = frozenset({NodeTag.HYPERSPECTRAL})

    INPUT_SPECS = {
        "cube": PortSpec(dtype=torch.Tensor, shape=(-1, -1, -1, -1)),
        "wavelengths": PortSpec(dtype=torch.int32, shape=(-1, -1)),
        "mask": PortSpec(dtype=torch.int32, shape=(-1, -1, -1), optional=True),
        "mesu_index": PortSpec(dtype=torch.int64, shape=(-1,), optional=True),
    }
    OUTPUT_SPECS = {
        "cube": PortSpec(dtype=torch.float32, shape=(-1, -1, -1, -1)),
        "wavelengths": PortSpec(dtype=np.int32, shape=(-1,)),
        "mesu_index": PortSpec(dtype=torch.int64, shape=(-1,), optional=True),
        "marked": PortSpec(dtype=torch.int64, shape=()),
    }
    seen = []

    def forward(self, cube, wavelengths, mask=None, mesu_index=None, context=None, **_):
        type(self).seen.append(None if mesu_index is None else mesu_index.tolist())
        marked = torch.tensor(0 if mask is None else int((mask > 0).sum()))
        wavelengths = wavelengths[0].cpu().numpy()
        return {"cube": cube.to(torch.float32), "wavelengths": wavelengths, "mesu_index": mesu_index, "marked": marked}


class BandScore(Node):
    INPUT_SPECS = {"cube": PortSpec(dtype=torch.float32, shape=(-1, -1, -1, -1))}
    OUTPUT_SPECS = {"logits": PortSpec(dtype=torch.float32, shape=(-1, -1, -1, 1))}

    def __init__(self, band: int = 0, **kwargs):
        self.band = band
        super().__init__(band=band, **kwargs)

    def forward(self, cube, **_):
        band = cube[..., self.band : self.band + 1]
        return {"logits": band - band.mean()}
