"""The validated graph: nodes, the edges between them, and the order in which they run."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any

from cuvis_ai_core._nearest import did_you_mean
from cuvis_ai_core.errors import PipelineError, PortError
from cuvis_ai_core.pipeline.file.config_models import EdgeConfig
from cuvis_ai_core.pipeline.file.endpoint_texts import parse_endpoint
from cuvis_ai_core.pipeline.node_views import Nodes
from cuvis_ai_core.pipeline.port_compatibility import ResolvedPort, check_fit, resolve_ports


@dataclass(frozen=True, slots=True)
class Edge:
    """A connection from an output port to an input port."""

    source: str
    source_port: str
    target: str
    target_port: str

    @property
    def output(self) -> tuple[str, str]:
        """The output from which it comes: node and port."""
        return self.source, self.source_port

    def __str__(self) -> str:
        return f"{self.source}.{self.source_port} -> {self.target}.{self.target_port}"


class Graph:
    """Nodes and edges that fit together.

    Args:
        nodes: Node objects by name.
        edges: The edges as the file has them, checked one after the other.

    Raises:
        PipelineError: An edge names an unknown node, or the edges form a cycle.
        PortError: A port is unknown, does not fit the other end, or is connected twice.
        InvalidNodeError: A port's declaration cannot be read.
    """

    def __init__(self, nodes: Mapping[str, Any], edges: Iterable[EdgeConfig]) -> None:
        self.nodes = Nodes(nodes)
        self.inputs = {name: resolve_ports(name, node, "INPUT_SPECS") for name, node in nodes.items()}
        self.outputs = {name: resolve_ports(name, node, "OUTPUT_SPECS") for name, node in nodes.items()}
        self.incoming: dict[tuple[str, str], list[Edge]] = defaultdict(list)
        self.edges = tuple(self._connect(number, edge) for number, edge in enumerate(edges))
        self.order = _topological_order(self.nodes, self.edges)

    def feeders(self, node: str) -> set[str]:
        """Return the nodes from which a path of edges leads to a node."""
        found: set[str] = set()
        waiting = [node]
        # Not by calls within calls: ten thousand nodes in a line are a benchmark of ours.
        while waiting:
            target = waiting.pop()
            sources = {edge.source for port in self.inputs[target] for edge in self.incoming.get((target, port), ())}
            waiting += sources - found
            found |= sources
        return found

    def _connect(self, number: int, config: EdgeConfig) -> Edge:
        where = f"edges[{number}] ({config.source} -> {config.target})"
        source = _end(where, config.source, self, "outputs")
        target = _end(where, config.target, self, "inputs")
        check_fit(where, source, target)
        edge = Edge(source.node, source.port.name, target.node, target.port.name)
        present = self.incoming[edge.target, edge.target_port]
        if edge in present:
            raise PortError(f"{where}: this edge is there twice.", node=edge.target, port=edge.target_port)
        if present and not target.port.variadic:
            raise PortError(
                f"{where}: input '{target.name}' takes one edge and has one already ({present[0]}).",
                hint="Remove one of the edges; only a variadic input takes several.",
                node=edge.target,
                port=edge.target_port,
            )
        present.append(edge)
        return edge


def _end(where: str, endpoint: str, graph: Graph, side: str) -> ResolvedPort:
    """Return the port at one end of an edge; `side` is `outputs` or `inputs`."""
    node, port = parse_endpoint(endpoint, side)
    if node not in graph.nodes:
        raise PipelineError(
            f"{where}: there is no node '{node}'.{did_you_mean(node, graph.nodes)}",
            hint=f"Nodes of this pipeline: {', '.join(graph.nodes)}.",
            node=node,
        )
    here, there = (graph.outputs, graph.inputs) if side == "outputs" else (graph.inputs, graph.outputs)
    if port in here[node]:
        return here[node][port]
    other = f" (It has an {'input' if side == 'outputs' else 'output'} of that name.)" * (port in there[node])
    raise PortError(
        f"{where}: node '{node}' ({type(graph.nodes[node]).__name__}) has no {side[:-1]} '{port}'."
        f"{did_you_mean(port, here[node])}{other}",
        hint=f"Its {side}: {', '.join(map(str, here[node])) or 'none'}.",
        node=node,
        port=port,
    )


def _topological_order(nodes: Iterable[str], edges: Iterable[Edge]) -> tuple[str, ...]:
    # All nodes first, in the order of the file: the sorter keeps it among those that wait for nothing.
    sorter: TopologicalSorter[str] = TopologicalSorter(dict.fromkeys(nodes, ()))
    for edge in edges:
        sorter.add(edge.target, edge.source)
    try:
        return tuple(sorter.static_order())
    except CycleError as error:
        # The nodes of the cycle, as `graphlib` hands them over.
        cycle = error.args[1]
        raise PipelineError(
            f"The edges form a cycle: {' -> '.join(cycle)}. A pipeline runs each node once.",
            hint="Remove one of these edges.",
            cycle=tuple(cycle),
        ) from None
