"""From nodes at hand, connected port by port, to the content of a pipeline file."""

from collections.abc import Iterable, Mapping
from itertools import count
from typing import Any, TypeAlias

from pydantic import ValidationError

from cuvis_ai_core.errors import PipelineError
from cuvis_ai_core.node.base import stage_name
from cuvis_ai_core.node.class_checks import check_class
from cuvis_ai_core.node.hyper_parameters import has_own_stages, hyper_parameters
from cuvis_ai_core.pipeline.file.config_models import EdgeConfig, NodeConfig, PipelineConfig
from cuvis_ai_core.plugins.isolation.private_names import class_path

Connection: TypeAlias = tuple[Any, Any]
"""An output port and an input port: `(detector.outputs.scores, decider.inputs.scores)`."""

_EXAMPLE = "pipeline.connect((detector.outputs.scores, decider.inputs.scores))"


def connected(
    config: PipelineConfig, nodes: Mapping[str, Any], connections: Iterable[Connection]
) -> tuple[PipelineConfig, dict[str, Any]]:
    """Return the configuration and the nodes of a pipeline with more connections.

    A node whose name is taken gets a counter: `scaler`, `scaler-1`.

    Args:
        config: The pipeline before.
        nodes: Its nodes by name.
        connections: What is to be connected; nodes that are new join in.

    Raises:
        PipelineError: Something is no pair of an output port and an input port, or the name of a node has a dot.
    """
    joined, entries = dict(nodes), list(config.nodes)
    edges = [_edge(joined, entries, each) for each in _pairs(list(connections))]
    return config.model_copy(update={"nodes": entries, "edges": [*config.edges, *edges]}), joined


def added(
    config: PipelineConfig, nodes: Mapping[str, Any], new: Iterable[Any]
) -> tuple[PipelineConfig, dict[str, Any]]:
    """Return the configuration and the nodes of a pipeline with more nodes, connected to none.

    Raises:
        InvalidNodeError: Something is no node.
    """
    joined, entries = dict(nodes), list(config.nodes)
    for node in new:
        _join(joined, entries, node)
    return config.model_copy(update={"nodes": entries}), joined


def _pairs(connections: list[Any]) -> list[Any]:
    """Return connections as pairs: two ports that are no pair, as published software hands them over, are one."""
    from cuvis_ai_schemas.pipeline import InputPort, OutputPort

    single = len(connections) == 2 and all(isinstance(each, InputPort | OutputPort) for each in connections)  # noqa: PLR2004
    return [tuple(connections)] if single else connections


def _edge(nodes: dict[str, Any], entries: list[NodeConfig], connection: Connection) -> EdgeConfig:
    from cuvis_ai_schemas.pipeline import InputPort, OutputPort

    match connection:
        case (OutputPort() as source, InputPort() as target):
            begin, end = (_join(nodes, entries, node) for node in (source.node, target.node))
            return EdgeConfig(source=f"{begin}.outputs.{source.name}", target=f"{end}.inputs.{target.name}")
        case (InputPort(), OutputPort()):
            problem = "runs from an input to an output"
        case _:
            problem = "is no pair of an output port and an input port"
    raise PipelineError(f"The connection {connection!r} {problem}.", hint=f"Write {_EXAMPLE}.")


def _join(nodes: dict[str, Any], entries: list[NodeConfig], node: Any) -> str:
    """Return the name of a node in its pipeline, to which it is added if it is new."""
    for name, each in nodes.items():
        # By identity: nodes may define `==`, and arrays of theirs answer with arrays.
        if each is node:
            return name
    check_class(type(node))
    # As published pipelines count: `scaler`, `scaler-1`, so that their files have the same names.
    free = next(name for name in _names(node.name) if name not in nodes)
    entries.append(_entry(free, node))
    nodes[free] = node
    return free


def _names(name: str) -> Iterable[str]:
    yield name
    yield from (f"{name}-{number}" for number in count(1))


def _entry(name: str, node: Any) -> NodeConfig:
    stages = {"execution_stages": sorted(map(stage_name, node.execution_stages))} if has_own_stages(node) else {}
    params = hyper_parameters(node) | stages
    try:
        return NodeConfig(name=name, class_name=class_path(type(node)), params=params)
    except ValidationError as error:
        # pydantic begins so what a validator of ours raised.
        problem = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise PipelineError(f"Node '{name}' cannot join a pipeline: {problem}.", node=name) from error
