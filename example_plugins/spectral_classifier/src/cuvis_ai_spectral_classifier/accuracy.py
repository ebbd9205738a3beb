"""How right classes are, for people."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from cuvis_ai_schemas.pipeline import PortSpec
from torch import Tensor

from cuvis_ai_core.node import Node
from cuvis_ai_spectral_classifier.auroc import OneAgainstAll
from cuvis_ai_spectral_classifier.confusion import Confusion
from cuvis_ai_spectral_classifier.labels import labelled
from cuvis_ai_spectral_classifier.ports import LOGITS, MASK


class ClassificationAccuracy(Node):
    """Measure how right classes are, over all labelled pixels of all cubes together.

    Reported are `overall`, `average`, `kappa`, `f1`, `iou`, the matrix `confusion` and the accuracy of each class that
    occurs, as `Confusion` defines them; and with logits `auroc`, the mean over classes of the area under the receiver
    operating characteristic of each against all others.

    Ports:
        classes (in): Predicted class of each pixel `[batch, height, width]`; 0 has no data and counts nothing.
        mask (in): True class of each pixel `[batch, height, width]`, from 1; 0 is not labelled and counts nothing.
        logits (in, optional): `[batch, height, width, class]`; they are kept until the end of the pass.
        metrics (out): What is compared with what, by metrics of torchmetrics.

    Args:
        names: Names of the classes 1, 2, ...; by default their numbers.
        ignore_label: A label beside 0 that counts nothing, such as 255.
    """

    INPUT_SPECS: ClassVar[Mapping[str, PortSpec]] = {
        "classes": MASK,
        "mask": MASK,
        "logits": PortSpec(LOGITS.dtype, LOGITS.shape, LOGITS.description, optional=True),
    }
    OUTPUT_SPECS: ClassVar[Mapping[str, PortSpec]] = {"metrics": PortSpec(dict, (), "Metrics and what they compare")}

    def __init__(self, names: Sequence[str] = (), ignore_label: int | None = None, **base: Any) -> None:
        stages = Node.consume_base_kwargs(base, ("val", "test"))
        super().__init__(*stages, names=list(names), ignore_label=ignore_label, **base)
        self.ignore_label = ignore_label
        self.confusion = Confusion(names)
        self.areas = OneAgainstAll()

    def forward(
        self, classes: Tensor, mask: Tensor, logits: Tensor | None = None, **_: object
    ) -> dict[str, dict[str, tuple[Any, ...]]]:
        """Say what is compared."""
        known = labelled(mask, self.ignore_label) & (classes > 0)
        metrics: dict[str, tuple[Any, ...]] = {"confusion": (self.confusion, classes[known], mask[known])}
        if logits is not None:
            metrics["auroc"] = (self.areas, logits[known], mask[known])
        return {"metrics": metrics}
