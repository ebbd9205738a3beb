"""What was taken for what, over any number of batches, and the measures that follow from it."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric


class Confusion(Metric):
    """Count pixels by their true and their predicted class, and compute what follows from the counts.

    Measures are those of scikit-learn: `overall` its accuracy_score, `average` its balanced_accuracy_score (the mean
    over classes that occur), `kappa` its cohen_kappa_score (Cohen 1960), `f1` and `iou` its f1_score and jaccard_score
    with macro averages over classes that occur or are predicted, and under the name of each class that occurs the share
    of its pixels that are right. What is not defined is NaN.

    Args:
        names: Names of the classes 1, 2, ...; by default their numbers.
    """

    full_state_update = False
    counts: Tensor

    def __init__(self, names: Sequence[str] = ()) -> None:
        super().__init__()
        self.names = list(names)
        self.add_state("counts", torch.zeros(0, 0, dtype=torch.int64), dist_reduce_fx="sum")

    @property
    def labels(self) -> list[str]:
        """Names of the rows and columns of the matrix, for pictures."""
        return [self._name(number) for number in self._occurring()]

    def update(self, classes: Tensor, true: Tensor) -> None:
        """Count.

        Args:
            classes: Predicted class of each labelled pixel, 0 where it was given none.
            true: True class of each labelled pixel, from 1.
        """
        if not len(true):
            return
        size = max(len(self.counts), len(self.names) + 1, int(max(classes.max(), true.max())) + 1)
        grown = torch.zeros(size, size, dtype=torch.int64, device=true.device)
        grown[: len(self.counts), : len(self.counts)] = self.counts
        pairs = true.long() * size + classes.long()
        self.counts = grown + torch.bincount(pairs, minlength=size**2).reshape(size, size)

    def compute(self) -> dict[str, Any]:
        """Return the measures by name, and the matrix of counts `[true class, predicted class]` as `confusion`."""
        counts = self.counts.double()
        right, true, predicted = counts.diagonal(), counts.sum(dim=1), counts.sum(dim=0)
        total, seen = counts.sum(), self._occurring()
        shares = right / true
        occurring = true > 0
        chance = (true * predicted).sum() / total**2
        overall = right.sum() / total
        found = {
            "overall": overall,
            "average": shares[occurring].mean(),
            "kappa": (overall - chance) / (1 - chance),
            "f1": (2 * right / (true + predicted))[seen].mean(),
            "iou": (right / (true + predicted - right))[seen].mean(),
        }
        named = {self._name(number): shares[number] for number in occurring.nonzero()[:, 0].tolist()}
        return {**found, **named, "confusion": self.counts[seen][:, seen]}

    def _occurring(self) -> list[int]:
        """Return the classes that occur or are predicted."""
        used = self.counts.sum(dim=0) + self.counts.sum(dim=1) > 0
        found: list[int] = used.nonzero()[:, 0].tolist()
        return found

    def _name(self, number: int) -> str:
        return self.names[number - 1] if 0 < number <= len(self.names) else str(number)
