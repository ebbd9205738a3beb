"""The nodes of a pipeline that a trainrun, or a program, names: for losses, for metrics, to freeze."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from cuvis_ai_core._nearest import did_you_mean
from cuvis_ai_core.errors import TrainRunError

if TYPE_CHECKING:
    from cuvis_ai_core.pipeline.pipeline import Pipeline


def names_of(pipeline: "Pipeline", nodes: Sequence[Any], key: str) -> tuple[str, ...]:
    """Return the names of nodes in a pipeline, each given by its name or as an object.

    Raises:
        TrainRunError: It has no such node.
    """
    # By identity: nodes may define `==`.
    by_object = {id(node): name for name, node in pipeline.nodes.items()}
    found = []
    for each in nodes:
        name = each if isinstance(each, str) else by_object.get(id(each))
        if name not in pipeline.nodes:
            shown = repr(each) if name is None else f"'{name}'"
            raise TrainRunError(
                f"{key}: the pipeline has no node {shown}.",
                hint=f"Nodes of this pipeline: {', '.join(pipeline.nodes.keys())}.",
                key=key,
            )
        found.append(str(name))
    return tuple(found)


def metric_nodes_of(pipeline: "Pipeline", names: Sequence[str], absent: Callable[[str], None]) -> list[str]:
    """Return the metric nodes of a trainrun that its pipeline has.

    Published trainruns name one that theirs has not, and are trained all the same.

    Args:
        pipeline: The pipeline.
        names: What the trainrun names.
        absent: Called with a sentence about each that is not there.
    """
    for name in dict.fromkeys(names):
        if name not in pipeline.nodes:
            absent(f"metric_nodes: the pipeline has no node '{name}'.{did_you_mean(name, pipeline.nodes.keys())}")
    return [name for name in names if name in pipeline.nodes]


def check_node(pipeline: "Pipeline", name: str, key: str) -> None:
    """Check that a pipeline has a node that a trainrun names.

    Raises:
        TrainRunError: It has none of that name.
    """
    if name not in pipeline.nodes:
        raise TrainRunError(
            f"{key}: the pipeline has no node '{name}'.{did_you_mean(name, pipeline.nodes.keys())}",
            hint=f"Nodes of this pipeline: {', '.join(pipeline.nodes.keys())}.",
            key=key,
        )
