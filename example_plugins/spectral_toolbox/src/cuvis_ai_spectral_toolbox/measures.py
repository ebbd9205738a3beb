"""How good a map is, beside the truth: of classes, and of detections."""

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from cuvis_ai_core.node import ArrayNode, PortSpec
from cuvis_ai_spectral_toolbox.arrays import CLASSES, SCORES, Array, like

_ONE: PortSpec = PortSpec(np.floating, (), "0 to 1, NaN where it is not defined")
_EACH: PortSpec = PortSpec(np.floating, (-1,), "one a class from 1, NaN for a class that is nowhere")


class ClassificationMeasures(ArrayNode):
    """Compare a map of classes with the truth, over all pixels of a batch whose truth is not 0.

    Accuracy and Cohen's kappa (Cohen 1960, doi:10.1177/001316446002000104; Congalton 1991,
    doi:10.1016/0034-4257(91)90048-B); for each class F1 (van Rijsbergen 1979) and intersection over union (Jaccard
    1912, doi:10.1111/j.1469-8137.1912.tb05611.x). A pixel that got the class 0 counts as wrong.

    Args:
        classes: How many classes there are; None: the largest number in truth and map.
        name: Name of this node in its pipeline.
        execution_stages: Stages in which a pipeline runs this node; None means always.
    """

    INPUT_SPECS: ClassVar = {"classes": CLASSES, "mask": CLASSES}
    OUTPUT_SPECS: ClassVar = {"accuracy": _ONE, "kappa": _ONE, "f1": _EACH, "iou": _EACH}

    def __init__(
        self,
        classes: int | None = None,
        *,
        name: str | None = None,
        execution_stages: Iterable[str] | None = None,
    ) -> None:
        super().__init__(name, execution_stages, classes=classes)
        self.classes = classes

    def forward(self, classes: Array, mask: Array) -> dict[str, Array]:
        """Compare.

        Raises:
            ValueError: Map and truth are of different sizes, or have a class that there is not.
        """
        if tuple(classes.shape) != tuple(mask.shape):
            raise ValueError(f"The map is {tuple(classes.shape)}, the truth {tuple(mask.shape)}; they have one size.")
        table = _confusion(classes, mask, self.classes)
        total, right = table.sum(), np.trace(table)
        true, found = table.sum(axis=1), table.sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            accuracy = right / total
            chance = (true * found).sum() / total**2
            hits = np.diagonal(table)[1:]
            either = (true + found)[1:]
            values: dict[str, Any] = {
                "accuracy": accuracy,
                "kappa": (accuracy - chance) / (1 - chance),
                "f1": 2 * hits / either,
                "iou": hits / (either - hits),
            }
        return {key: like(classes, value) for key, value in values.items()}


class DetectionMeasures(ArrayNode):
    """Compare scores with the truth, over all pixels of a batch that have a score.

    The area under the receiver operating characteristic (Hanley and McNeil 1982, doi:10.1148/radiology.143.1.7063747;
    equal scores count half), and the probability of detection: the share of targets above the threshold that at most
    the share `false_alarm_rate` of the other pixels exceeds.

    Args:
        false_alarm_rate: From 0 to 1.
        name: Name of this node in its pipeline.
        execution_stages: Stages in which a pipeline runs this node; None means always.
    """

    INPUT_SPECS: ClassVar = {"scores": SCORES, "mask": CLASSES}
    OUTPUT_SPECS: ClassVar = {"roc_auc": _ONE, "probability_of_detection": _ONE}

    def __init__(
        self,
        false_alarm_rate: float = 0.001,
        *,
        name: str | None = None,
        execution_stages: Iterable[str] | None = None,
    ) -> None:
        if not 0 <= false_alarm_rate <= 1:
            raise ValueError(f"false_alarm_rate is {false_alarm_rate}; it is from 0 to 1.")
        super().__init__(name, execution_stages, false_alarm_rate=false_alarm_rate)
        self.false_alarm_rate = false_alarm_rate

    def forward(self, scores: Array, mask: Array) -> dict[str, Array]:
        """Compare.

        Raises:
            ValueError: Scores and truth are of different sizes.
        """
        if tuple(scores.shape[:3]) != tuple(mask.shape):
            raise ValueError(f"The scores are {tuple(scores.shape)}, the truth {tuple(mask.shape)}: not of one size.")
        values, truth = _numpy(scores)[..., 0].ravel(), _numpy(mask).ravel() > 0
        known = np.isfinite(values)
        targets, others = np.sort(values[known & truth]), np.sort(values[known & ~truth])
        if not (len(targets) and len(others)):
            nothing = like(scores, np.nan)
            return {"roc_auc": nothing, "probability_of_detection": nothing}
        below = np.searchsorted(others, targets, side="left") + np.searchsorted(others, targets, side="right")
        allowed = int(self.false_alarm_rate * len(others))
        threshold = others[-allowed - 1] if allowed < len(others) else -np.inf
        return {
            "roc_auc": like(scores, below.mean() / 2 / len(others)),
            "probability_of_detection": like(scores, (targets > threshold).mean()),
        }


def _confusion(classes: Array, mask: Array, known: int | None) -> Any:
    """Return how often each true class (rows) got which one (columns), float64; pixels without a truth are left out."""
    got, true = (_numpy(each).ravel().astype(np.int64) for each in (classes, mask))
    got, true = got[true > 0], true[true > 0]
    largest = max(int(got.max(initial=0)), int(true.max(initial=0)))
    if got.min(initial=0) < 0 or (known is not None and largest > known):
        raise ValueError(
            f"There is a class {largest if known else got.min()}; classes are 0 to {known or 'any number'}."
        )
    size = (known or largest) + 1
    return np.bincount(true * size + got, minlength=size * size).reshape(size, size).astype(np.float64)


def _numpy(values: Array) -> Any:
    """Return an array of any library as one of NumPy: what is counted here is no longer differentiable."""
    values = values.detach().cpu() if hasattr(values, "detach") else values
    return np.asarray(values)
