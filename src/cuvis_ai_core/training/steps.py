"""One batch through a pipeline in training: the sum of losses, and what metric nodes report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cuvis_ai_core.errors import TrainRunError
from cuvis_ai_core.pipeline.nearest import nearest

if TYPE_CHECKING:
    from cuvis_ai_schemas.execution import Context

    from cuvis_ai_core.pipeline.pipeline import Pipeline

LOSS = "loss"
METRICS = "metrics"


@dataclass(frozen=True, slots=True)
class Measured:
    """What came out for a batch.

    Attributes:
        loss: The sum of all losses, or None where no loss node runs in this stage.
        values: Name to value: `<loss node>/loss` where there are several, and `<metric node>/<metric>`.
    """

    loss: Any
    values: Mapping[str, float]


class Measuring:
    """The nodes of a pipeline that say how good it is.

    Args:
        pipeline: The pipeline.
        loss_nodes: Names of nodes with an output `loss`, one number.
        metric_nodes: Names of nodes with an output `metrics`, a list of `cuvis_ai_schemas.execution.Metric`.

    Raises:
        TrainRunError: There is no such node, or it has no such output.
    """

    def __init__(self, pipeline: "Pipeline", loss_nodes: Sequence[str] = (), metric_nodes: Sequence[str] = ()) -> None:
        self.pipeline = pipeline
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
        wanted = [(name, LOSS) for name in losses] + [(name, METRICS) for name in metrics]
        outputs = self.pipeline.forward(batch, context=context, keep_ports=wanted)
        several = losses if len(self.loss_nodes) > 1 else ()
        values = {f"{name}/{LOSS}": as_number(outputs[name, LOSS]) for name in several}
        for name in metrics:
            values |= {f"{name}/{each.name}": as_number(each.value) for each in outputs[name, METRICS] or ()}
        return Measured(sum(outputs[name, LOSS] for name in losses) if losses else None, values)


def as_number(value: Any) -> float:  # noqa: ANN401 - a number, or an array with one
    """Return the one number of an array, without its gradient."""
    return float(value.detach() if hasattr(value, "detach") else value)


def check_node(pipeline: "Pipeline", name: str, key: str) -> None:
    """Check that a pipeline has a node that a trainrun names.

    Raises:
        TrainRunError: It has none of that name.
    """
    if name not in pipeline.nodes:
        raise TrainRunError(
            f"{key}: the pipeline has no node '{name}'.{nearest(name, pipeline.nodes)}",
            hint=f"Nodes of this pipeline: {', '.join(pipeline.nodes)}.",
            key=key,
        )
