"""How right classes are, for people."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from cuvis_ai_schemas.execution import Context, Metric
from cuvis_ai_schemas.pipeline import PortSpec
from torch import Tensor

from cuvis_ai_core.node import Node
from cuvis_ai_spectral_classifier.ports import MASK


class ClassificationAccuracy(Node):
    """The share of labelled pixels with the right class: of all (`overall`), of each class, and the mean of these.

    Ports:
        classes (in): Predicted class of each pixel `[batch, height, width]`; 0 has no data and counts nothing.
        mask (in): True class of each pixel `[batch, height, width]`, from 1; 0 is not labelled and counts nothing.
        metrics (out): `Metric`s `overall`, `average`, and one named after each class that occurs.

    Args:
        names: Names of the classes 1, 2, ...; by default their numbers.
    """

    INPUT_SPECS: ClassVar[Mapping[str, PortSpec]] = {"classes": MASK, "mask": MASK}
    OUTPUT_SPECS: ClassVar[Mapping[str, PortSpec]] = {"metrics": PortSpec(list, (), "Shares of right pixels")}

    def __init__(self, names: Sequence[str] = (), **base: Any) -> None:
        super().__init__(*Node.consume_base_kwargs(base, ("val", "test")), names=list(names), **base)
        self.names = list(names)

    def forward(
        self, classes: Tensor, mask: Tensor, context: Context | None = None, **_: object
    ) -> dict[str, list[Metric]]:
        """Count."""
        labelled = (mask > 0) & (classes > 0)
        right, true = (classes == mask)[labelled].double(), mask[labelled]
        shares = {
            self._class_name(number): right[true == number].mean().item() for number in sorted(set(true.tolist()))
        }
        means = {"overall": right.mean().item(), "average": sum(shares.values()) / max(1, len(shares))}
        place = {} if context is None else {"stage": context.stage, "epoch": context.epoch}
        return {"metrics": [Metric(name=name, value=value, **place) for name, value in {**means, **shares}.items()]}

    def _class_name(self, number: int) -> str:
        return self.names[number - 1] if number <= len(self.names) else str(number)
