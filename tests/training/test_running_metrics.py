"""Metrics that published nodes count on over all batches of a pass."""

from typing import Any, ClassVar

import numpy as np
from cuvis_ai_schemas.execution import Metric
from cuvis_ai_schemas.pipeline import PortSpec

from cuvis_ai_core.node import ArrayNode
from cuvis_ai_core.pipeline.pipeline import Pipeline
from cuvis_ai_core.training.batch_step import Measuring
from cuvis_ai_core.training.evaluation import evaluate


class Share:
    """Counts, as a metric of torchmetrics does."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget what was counted."""
        self.marked = self.all = 0

    def update(self, mask: Any) -> None:
        """Count on."""
        self.marked, self.all = self.marked + int(mask.sum()), self.all + mask.size

    def compute(self) -> float:
        """Return the share of all that was counted."""
        return self.marked / self.all


class Counting(ArrayNode):
    """Reports the share and the maximum of each batch, and counts the share of all so far."""

    INPUT_SPECS: ClassVar[Any] = {"mask": PortSpec("number", (-1, -1))}
    OUTPUT_SPECS: ClassVar[Any] = {"metrics": PortSpec(list, ())}

    def __init__(self, name: str | None = None, execution_stages: Any = None) -> None:
        super().__init__(name, execution_stages)
        self.share = Share()

    def pooled_metrics(self) -> dict[str, Share]:
        """Return what counts."""
        return {"share": self.share}

    def forward(self, mask: Any, **_: Any) -> dict[str, Any]:
        """Return both."""
        self.share.update(mask)
        found = {"share": float(mask.mean()), "highest": float(mask.max())}
        return {"metrics": [Metric(name=name, value=value) for name, value in found.items()]}


def test_what_a_node_counts_is_reported_at_the_end() -> None:
    """And no mean of batches; each pass begins anew, and other numbers are averaged as ever."""
    pipeline = Pipeline("belt").add(Counting(name="count"))
    batches = [{"mask": np.asarray([each])} for each in ([1, 1], [0, 0, 0, 0])]
    measuring = Measuring(pipeline, metric_nodes=["count"])
    for _ in range(2):
        found = evaluate(measuring, batches, "val")
        assert found == {"count/share": 1 / 3, "count/highest": 0.5}
