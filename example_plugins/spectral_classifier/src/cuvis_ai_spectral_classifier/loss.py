"""How wrong classes are, for gradients."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from cuvis_ai_schemas.pipeline import PortSpec
from torch import Tensor
from torch.nn import functional

from cuvis_ai_core.node import Node
from cuvis_ai_spectral_classifier.ports import LOGITS, MASK


class ClassificationLoss(Node):
    """The mean cross entropy over labelled pixels.

    Ports:
        logits (in): `[batch, height, width, class]`. A pixel of NaN alone has no data and counts nothing.
        mask (in): Class of each pixel `[batch, height, width]`, from 1; 0 is not labelled and counts nothing.
        loss (out): One number, in nats.
    """

    INPUT_SPECS: ClassVar[Mapping[str, PortSpec]] = {"logits": LOGITS, "mask": MASK}
    OUTPUT_SPECS: ClassVar[Mapping[str, PortSpec]] = {"loss": PortSpec(torch.float32, (), "Cross entropy in nats")}

    def __init__(self, **base: Any) -> None:
        super().__init__(*Node.consume_base_kwargs(base, ("train", "val", "test")), **base)

    def forward(self, logits: Tensor, mask: Tensor, **_: object) -> dict[str, Tensor]:
        """Compare."""
        known = torch.where(logits.isnan().all(dim=-1), 0, mask)
        classes = logits.reshape(-1, logits.shape[-1])
        return {"loss": functional.cross_entropy(classes, known.reshape(-1).long() - 1, ignore_index=-1)}
