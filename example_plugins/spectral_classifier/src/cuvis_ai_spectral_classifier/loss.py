"""How wrong classes are, for gradients."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from cuvis_ai_schemas.pipeline import PortSpec
from torch import Tensor
from torch.nn import functional

from cuvis_ai_core.node import Node
from cuvis_ai_spectral_classifier.labels import labelled
from cuvis_ai_spectral_classifier.ports import LOGITS, MASK


class ClassificationLoss(Node):
    """The mean cross entropy over labelled pixels.

    Ports:
        logits (in): `[batch, height, width, class]`. A pixel of NaN alone has no data and counts nothing, unless all
            labelled ones are such.
        mask (in): Class of each pixel `[batch, height, width]`, from 1; 0 is not labelled and counts nothing.
        loss (out): One number, in nats.
        weight (out): The number of pixels that it is the mean over, or the sum of their weights.

    Args:
        class_weights: A weight for each class; or `balanced`, which learns from the statistics of the training data how
            rare each class is: pixels / (classes that occur * pixels of the class), as scikit-learn has it.
        ignore_label: A label beside 0 that counts nothing, such as 255.
    """

    class_weights: Tensor | None

    INPUT_SPECS: ClassVar[Mapping[str, PortSpec]] = {"logits": LOGITS, "mask": MASK}
    OUTPUT_SPECS: ClassVar[Mapping[str, PortSpec]] = {
        "loss": PortSpec(torch.float32, (), "Cross entropy in nats"),
        "weight": PortSpec(torch.float32, (), "Pixels, or the sum of their weights"),
    }

    def __init__(
        self,
        class_weights: Sequence[float] | Literal["balanced"] | None = None,
        ignore_label: int | None = None,
        **base: Any,
    ) -> None:
        kept = class_weights if class_weights is None or isinstance(class_weights, str) else list(class_weights)
        if isinstance(kept, str) and kept != "balanced":
            raise ValueError(f"class_weights is a list of numbers or 'balanced', not {kept!r}")
        stages = Node.consume_base_kwargs(base, ("train", "val", "test"))
        super().__init__(*stages, class_weights=kept, ignore_label=ignore_label, **base)
        self.ignore_label, self.balanced = ignore_label, kept == "balanced"
        weights = torch.empty(0) if self.balanced else None if kept is None else torch.tensor(kept, dtype=torch.float32)
        self.register_buffer("class_weights", weights, persistent=self.balanced)

    @property
    def requires_initial_fit(self) -> bool:
        """Whether statistics are needed first: for balanced weights."""
        return self.balanced

    def statistical_initialization(self, input_stream: Iterable[Mapping[str, Any]]) -> None:
        """Count the pixels of each class."""
        counts = torch.zeros(0, dtype=torch.float64)
        for values in input_stream:
            true = values["mask"][labelled(values["mask"], self.ignore_label)].long() - 1
            more = torch.bincount(true, minlength=max(len(counts), values["logits"].shape[-1])).cpu()
            counts = functional.pad(counts, (0, len(more) - len(counts))) + more
        if not counts.sum():
            raise ValueError("no pixel has a label")
        occurring = counts > 0
        weights = counts.sum() / (occurring.sum() * counts)
        self.class_weights = torch.where(occurring, weights, 0.0).float()

    def forward(self, logits: Tensor, mask: Tensor, **_: object) -> dict[str, Tensor]:
        """Compare."""
        known = labelled(mask, self.ignore_label)
        scores, true = logits[known], mask[known].long() - 1
        self._check_labels(true, logits.shape[-1])
        has_data = ~scores.isnan().all(dim=-1)
        if has_data.any():
            scores, true = scores[has_data], true[has_data]
        weights = None if self.class_weights is None else self.class_weights.to(scores.dtype)
        weight = torch.ones_like(true, dtype=torch.float32).sum() if weights is None else weights[true].sum()
        loss = functional.cross_entropy(scores, true, weights, reduction="sum")
        return {"loss": loss / torch.where(weight > 0, weight, 1.0), "weight": weight}

    def _check_labels(self, true: Tensor, classes: int) -> None:
        if len(true) and int(true.max()) >= classes:
            raise ValueError(
                f"a pixel has the label {int(true.max()) + 1}, and there are logits of {classes} classes: name more "
                "classes, or leave that label out with ignore_label"
            )
