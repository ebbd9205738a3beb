"""One batch through a pipeline in training: its losses, and what metric nodes report."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cuvis_ai_core.errors import TrainRunError
from cuvis_ai_core.training.named_nodes import check_node

if TYPE_CHECKING:
    from cuvis_ai_schemas.execution import Context

    from cuvis_ai_core.pipeline.pipeline import Pipeline

LOSS = "loss"
METRICS = "metrics"
WEIGHT = "weight"
"""The output in which a node may say over how many pixels (or how much weight of them) its numbers are means."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What came out for a batch.

    Attributes:
        losses: Loss node to its loss.
        metrics: Metric node to what it returned.
        weights: Node to the weight of this batch in a mean over several.
        counting: Metric node to what returns the metrics that it counts on with over all batches, by the names of its
            numbers. What they come to so far is computed when it is wanted: it may take as long as all batches did.
    """

    losses: Mapping[str, Any]
    metrics: Mapping[str, Any]
    weights: Mapping[str, float]
    counting: Mapping[str, Callable[[], Mapping[str, Any]]] = field(default_factory=dict)

    @property
    def loss(self) -> Any:
        """The sum of the losses that say something about this batch, or None where none does."""
        telling = [loss for node, loss in self.losses.items() if self.weights[node]]
        return sum(telling) if telling else None


class Measuring:
    """The nodes of a pipeline that say how good it is.

    Args:
        pipeline: The pipeline.
        loss_nodes: Names of nodes with an output `loss`, one number.
        metric_nodes: Names of nodes with an output `metrics`: a list of `cuvis_ai_schemas.execution.Metric`, or a
            mapping of names to numbers or to (metric of torchmetrics, what its `update` takes ...).
        ignore_label: The label of pixels that say nothing, for nodes that do not say their weight.

    Raises:
        TrainRunError: There is no such node, or it has no such output.
    """

    def __init__(
        self,
        pipeline: "Pipeline",
        loss_nodes: Sequence[str] = (),
        metric_nodes: Sequence[str] = (),
        ignore_label: int | None = None,
    ) -> None:
        self.pipeline = pipeline
        self.ignore_label = ignore_label
        self.loss_nodes = tuple(dict.fromkeys(loss_nodes))
        self.metric_nodes = tuple(dict.fromkeys(metric_nodes))
        for key, names, port in (("loss_nodes", loss_nodes, LOSS), ("metric_nodes", metric_nodes, METRICS)):
            for name in names:
                check_node(pipeline, name, key)
                if port not in pipeline.outputs[name]:
                    raise TrainRunError(
                        f"{key}: node '{name}' ({type(pipeline.nodes[name]).__name__}) has no output '{port}'.",
                        hint=f"Its outputs: {', '.join(pipeline.outputs[name]) or 'none'}.",
                        key=key,
                    )

    def measure(self, batch: Mapping[Any, Any], context: "Context") -> Measured:
        """Run the pipeline on a batch.

        Raises:
            PortError: The batch does not fit the pipeline.
            NodeRunError: A node failed.
        """
        stage = context.stage
        losses, metrics = (
            [name for name in names if self.pipeline.nodes[name].should_execute(stage)]
            for names in (self.loss_nodes, self.metric_nodes)
        )
        weighted = [name for name in dict.fromkeys((*losses, *metrics)) if WEIGHT in self.pipeline.outputs[name]]
        wanted = [(name, LOSS) for name in losses] + [(name, METRICS) for name in metrics]
        outputs = self.pipeline.forward(
            batch, context=context, keep_ports=[*wanted, *((name, WEIGHT) for name in weighted)]
        )
        weights = dict.fromkeys((*losses, *metrics), float(pixels_in(batch, self.ignore_label)))
        weights |= {name: as_number(_one(name, WEIGHT, outputs[name, WEIGHT])) for name in weighted}
        return Measured(
            {name: _one(name, LOSS, outputs[name, LOSS]) for name in losses},
            {name: outputs[name, METRICS] for name in metrics},
            weights,
            {name: self._counting(name) for name in metrics},
        )

    def begin(self) -> None:
        """Have metric nodes that count over many batches begin anew."""
        for name in self.metric_nodes:
            for metric in self._counting(name)().values():
                metric.reset()

    def _counting(self, name: str) -> Callable[[], Mapping[str, Any]]:
        """Return what returns the metrics of torchmetrics that a published node counts on with.

        What such a node reports for a batch is of that batch alone, or of all so far, as its author chose.
        """
        counting: Callable[[], Mapping[str, Any]] = getattr(self.pipeline.nodes[name], "pooled_metrics", dict)
        return counting

    @property
    def by_pixels(self) -> tuple[str, ...]:
        """Names of the nodes that do not say the weight of a batch, so that its pixels are taken for it."""
        names = dict.fromkeys((*self.loss_nodes, *self.metric_nodes))
        return tuple(name for name in names if WEIGHT not in self.pipeline.outputs[name])


def _one(node: str, port: str, value: Any) -> Any:
    shape = tuple(getattr(value, "shape", ()))
    if value is None or math.prod(shape) != 1:
        given = "nothing" if value is None else f"an array of shape {list(shape)}"
        raise TrainRunError(
            f"Node '{node}': its output '{port}' is {given}; it is one number for a batch.",
            hint="Return the mean over all pixels, as loss.mean() is."
            if port == LOSS
            else "Return how many pixels the numbers of this batch are means over.",
            key="loss_nodes" if port == LOSS else None,
        )
    return value


def pixels_in(batch: Mapping[Any, Any], ignore_label: int | None = None) -> int:
    """Return how many pixels a batch has, without those of a label that says nothing; 1 where it holds no images."""
    mask = batch.get("mask")
    if mask is not None and ignore_label is not None:
        return int((mask != ignore_label).sum())
    shape = getattr(batch.get("cube"), "shape", ())
    return math.prod(shape[:3]) if len(shape) == 4 else 1  # noqa: PLR2004


def as_number(value: Any) -> float:
    """Return the one number of an array, without its gradient."""
    # Not `float`, which NumPy from 2.4 on refuses an array of one number.
    return float(value.item() if hasattr(value, "item") else value)
