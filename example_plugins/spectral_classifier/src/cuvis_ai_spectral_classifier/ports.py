"""The ports that several nodes have."""

from typing import Final

import torch
from cuvis_ai_schemas.pipeline import PortSpec

CUBE: Final = PortSpec(torch.float32, (-1, -1, -1, -1), "Images [batch, height, width, channel]")
LOGITS: Final = PortSpec(torch.float32, (-1, -1, -1, -1), "Logits of classes 1, 2, ... [batch, height, width, class]")
MASK: Final = PortSpec(torch.int32, (-1, -1, -1), "Class of each pixel [batch, height, width]; 0: not known")
