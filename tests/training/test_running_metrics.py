"""Metrics that published nodes count on over all batches of a pass."""

from typing import Any, ClassVar

import numpy as np
from cuvis_ai_schemas.enums import ExecutionStage
from cuvis_ai_schemas.execution import Context, Metric
from cuvis_ai_schemas.pipeline import PortSpec

from cuvis_ai_core.node import ArrayNode
from cuvis_ai_core.pipeline.pipeline import Pipeline
from cuvis_ai_core.training.batch_step import Measuring
from cuvis_ai_core.training.evaluation import evaluate, pooled
from cuvis_ai_core.training.metric_pooling import Pool


class Share:
    """Counts, as a metric of torchmetrics does."""

    def __init__(self) -> None:
        self.reset()
        self.computed = 0

    def reset(self) -> None:
        """Forget what was counted."""
        self.marked = self.all = 0

    def update(self, mask: Any) -> None:
        """Count on."""
        self.marked, self.all = self.marked + int(mask.sum()), self.all + mask.size

    def compute(self) -> float:
        """Return the share of all that was counted."""
        self.computed += 1
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


def test_what_a_node_counts_is_computed_once() -> None:
    """At the end of a pass: a metric that keeps what it is given would go through all of it for every batch."""
    node = Counting(name="count")
    measuring = Measuring(Pipeline("belt").add(node), metric_nodes=["count"])
    pool = pooled(measuring, [{"mask": np.ones((1, 2))}] * 5, "val")
    assert (pool.values()["count/share"], node.share.computed) == (1.0, 1)


def test_a_pass_has_what_was_counted_until_it_is_put_aside() -> None:
    """A validation in the middle of an epoch counts with the same node; the epoch goes on counting after it."""
    measuring = Measuring(Pipeline("belt").add(Counting(name="count")), metric_nodes=["count"])
    context = Context(stage=ExecutionStage.TRAIN)
    training = Pool()
    training.add(measuring.measure({"mask": np.ones((1, 2))}, context))
    training.take_counts()
    assert evaluate(measuring, [{"mask": np.zeros((1, 2))}], "val")["count/share"] == 0.0
    assert training.values()["count/share"] == 1.0
    training.add(measuring.measure({"mask": np.ones((1, 6))}, context))
    assert training.values()["count/share"] == 0.75
