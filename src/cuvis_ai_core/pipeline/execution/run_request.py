"""What is asked of a run, apart from values."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from cuvis_ai_core._nearest import did_you_mean
from cuvis_ai_core.errors import PipelineError, PortError
from cuvis_ai_core.node.base import STAGES, stage_name
from cuvis_ai_core.pipeline.execution.input_sources import BatchKey, Feeding
from cuvis_ai_core.pipeline.graph import Graph

if TYPE_CHECKING:
    from cuvis_ai_schemas.execution import Context

Address: TypeAlias = tuple[str, str]
"""Node and port."""

# A node says `always`; nobody runs in it.
_RUN_STAGES: Final = STAGES - {"always"}


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of a run, checked; one plan fits all runs with the same request.

    Attributes:
        stage: Nodes that do not run in this execution stage are left out.
        keys: The keys of the batch.
        upto_node: Only nodes that feed this one run.
        kept: The outputs to answer; None means all.
    """

    stage: str
    keys: frozenset[BatchKey]
    upto_node: str | None = None
    kept: frozenset[Address] | None = None


def make_request(
    graph: Graph, stage: object, keys: frozenset[BatchKey], upto_node: object, kept: Iterable[object] | None
) -> Request:
    """Check what a run is asked for.

    Raises:
        PipelineError: There is no such stage or node.
        PortError: There is no such output.
    """
    return Request(
        stage=checked_stage(stage),
        keys=keys,
        upto_node=None if upto_node is None else _node_name(graph.nodes, upto_node),
        kept=None if kept is None else frozenset(_output(graph, each) for each in kept),
    )


def unread_outputs(
    graph: Graph, stage: object, upto_node: object, named: Iterable[BatchKey] = ()
) -> frozenset[BatchKey]:
    """Return the outputs of the nodes that run which no other of them reads, and those that are named.

    Args:
        graph: The graph.
        stage: The stage of the run.
        upto_node: As of the run.
        named: More outputs; the name of a port alone means that of every node that has one.

    Raises:
        PipelineError: There is no such stage or node.
    """
    upto = None if upto_node is None else _node_name(graph.nodes, upto_node)
    feeding = Feeding(graph, checked_stage(stage), upto)
    named = frozenset(named)
    read = {(edge.source, edge.source_port) for edges in feeding.edges.values() for edge in edges}
    found = {(node, port) for node in feeding.running for port in graph.outputs[node]}
    ports = {port for _, port in found}
    kept = {each for each in found if each[1] in named}
    return frozenset({*(found - read), *kept, *(each for each in named if each not in ports)})


def stage_of_run(stage: object, context: "Context | None") -> object:
    """Return the stage that is given, by name or in a context.

    Raises:
        PipelineError: Both are given and differ, or the context is none.
    """
    if context is None:
        return "inference" if stage is None else stage
    if not hasattr(context, "stage"):
        raise PipelineError(
            f"The context is {context!r}; it must be a cuvis_ai_schemas.execution.Context.",
            hint="A stage alone is given as stage='train'.",
        )
    if stage is not None and stage_name(stage) != stage_name(context.stage):
        raise PipelineError(
            f"The stage is '{stage_name(stage)}', and that of the context is '{stage_name(context.stage)}'.",
            hint="Leave out the stage: the context has it.",
        )
    return context.stage


def checked_stage(stage: object) -> str:
    """Return the name of a stage to run in.

    Raises:
        PipelineError: There is no such stage.
    """
    name = stage_name(stage)
    if name not in _RUN_STAGES:
        raise PipelineError(
            f"There is no stage '{name}' to run in." + did_you_mean(name, _RUN_STAGES),
            hint=f"Stages: {', '.join(sorted(_RUN_STAGES))}.",
        )
    return name


def _node_name(nodes: Mapping[str, Any], node: object) -> str:
    """Return the name of a node that is given by its name or as it is."""
    found = node if isinstance(node, str) else next((name for name, each in nodes.items() if each is node), None)
    if found is None or found not in nodes:
        shown = f"'{node}'.{did_you_mean(node, nodes)}" if isinstance(node, str) else f"{node!r}."
        raise PipelineError(
            f"The pipeline has no node {shown}", hint=f"Nodes of this pipeline: {', '.join(nodes)}.", node=found
        )
    return found


def _output(graph: Graph, output: object) -> Address:
    name = (
        output if isinstance(output, str) else ".".join(map(str, output)) if isinstance(output, tuple) else repr(output)
    )
    node, _, port = name.partition(".")
    if port in graph.outputs.get(node, ()):
        return node, port
    known = [f"{owner}.{each}" for owner, ports in graph.outputs.items() for each in ports]
    raise PortError(
        f"The pipeline has no output '{name}'.{did_you_mean(name, known)}",
        hint=f"Outputs: {', '.join(known) or 'none'}.",
        node=node,
        port=port,
    )
