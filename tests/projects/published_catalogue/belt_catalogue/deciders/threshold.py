import torch
from cuvis_ai_core.deciders.base_decider import BinaryDecider as BaseDecider
from cuvis_ai_schemas.pipeline import PortSpec


class Threshold(BaseDecider):
    OUTPUT_SPECS = {"decisions": PortSpec(dtype=torch.bool, shape=(-1, -1, -1, 1))}

    def __init__(self, threshold: float = 0.5, **kwargs):
        self.threshold = threshold
        super().__init__(threshold=threshold, **kwargs)

    def forward(self, logits, **_):
        return {"decisions": torch.sigmoid(logits) >= self.threshold}
