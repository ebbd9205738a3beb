"""How well scores of classes separate them, whatever the threshold."""

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.classification import binary_auroc


class OneAgainstAll(Metric):
    """The area under the receiver operating characteristic of each class against all others, and its mean.

    As scikit-learn's roc_auc_score with `multi_class="ovr"` and a macro average, over the classes that occur. All
    logits are kept until it is computed. Pixels whose logits are not finite are left out.
    """

    full_state_update = False
    logits: list[Tensor]
    true: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("logits", [], dist_reduce_fx="cat")
        self.add_state("true", [], dist_reduce_fx="cat")

    def update(self, logits: Tensor, true: Tensor) -> None:
        """Keep logits `[pixel, class]` and the true classes, from 1, `[pixel]`."""
        finite = logits.isfinite().all(dim=-1)
        self.logits.append(logits[finite])
        self.true.append(true[finite].long() - 1)

    def compute(self) -> Tensor:
        """Return the mean; NaN where there are no two classes."""
        true = torch.cat([torch.zeros(0, dtype=torch.int64), *(each.cpu() for each in self.true)])
        occurring = torch.bincount(true).nonzero()[:, 0].tolist()
        if len(occurring) < 2:  # noqa: PLR2004
            return torch.tensor(torch.nan)
        scores = torch.cat(self.logits).cpu().double().softmax(dim=-1)
        return torch.stack([binary_auroc(scores[:, number], (true == number).long()) for number in occurring]).mean()
