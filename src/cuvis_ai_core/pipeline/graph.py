"""The validated graph: nodes, their ports, the edges between them, and the order in which they run."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any

from cuvis_ai_core._nearest import did_you_mean
from cuvis_ai_core.errors import PipelineError, PortError
from cuvis_ai_core.node.ports import FREE, Port, dtypes_overlap, read_ports, type_text
from cuvis_ai_core.pipeline.file.config_models import EdgeConfig, parse_endpoint


@dataclass(frozen=True, slots=True)
class Edge:
    """A connection from an output port to an input port."""

    source: str
    source_port: str
    target: str
    target_port: str

    def __str__(self) -> str:
        return f"{self.source}.{self.source_port} -> {self.target}.{self.target_port}"


@dataclass(frozen=True, slots=True)
class ResolvedPort:
    """A port of one node object, its symbolic sizes read."""

    node: str
    port: Port
    sizes: tuple[int, ...]

    @property
    def name(self) -> str:
        """The address of this port: `node.port`."""
        return f"{self.node}.{self.port.name}"

    def __str__(self) -> str:
        return type_text(self.port.dtype, self.sizes)


Ports = dict[str, ResolvedPort]


class Nodes(Mapping[str, Any]):
    """Node objects by name; called, as published software does, it is a list of them.

    Args:
        nodes: The node objects by name.
    """

    __slots__ = ("_nodes",)

    def __init__(self, nodes: Mapping[str, Any]) -> None:
        self._nodes = dict(nodes)

    def __call__(self) -> list[Any]:
        """Return the node objects."""
        return list(self._nodes.values())

    def __getitem__(self, name: str) -> Any:
        return self._nodes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._nodes)

    def __len__(self) -> int:
        return len(self._nodes)

    def __repr__(self) -> str:
        return f"Nodes({self._nodes!r})"


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
        self.inputs = {name: _resolve(name, node, "INPUT_SPECS") for name, node in nodes.items()}
        self.outputs = {name: _resolve(name, node, "OUTPUT_SPECS") for name, node in nodes.items()}
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
        source = self._port(where, config.source, "outputs")
        target = self._port(where, config.target, "inputs")
        _check_fit(where, source, target)
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

    def _port(self, where: str, endpoint: str, side: str) -> ResolvedPort:
        node, port = parse_endpoint(endpoint, side)
        if node not in self.nodes:
            raise PipelineError(
                f"{where}: there is no node '{node}'.{did_you_mean(node, self.nodes)}",
                hint=f"Nodes of this pipeline: {', '.join(self.nodes)}.",
                node=node,
            )
        here, there = (self.outputs, self.inputs) if side == "outputs" else (self.inputs, self.outputs)
        if port in here[node]:
            return here[node][port]
        other = f" (It has an {'input' if side == 'outputs' else 'output'} of that name.)" * (port in there[node])
        raise PortError(
            f"{where}: node '{node}' ({type(self.nodes[node]).__name__}) has no {side[:-1]} '{port}'."
            f"{did_you_mean(port, here[node])}{other}",
            hint=f"Its {side}: {', '.join(map(str, here[node])) or 'none'}.",
            node=node,
            port=port,
        )


def _resolve(name: str, node: object, direction: str) -> Ports:
    ports = read_ports(type(node), direction)
    return {port.name: ResolvedPort(name, port, port.sizes(node)) for port in ports.values()}


def _check_fit(where: str, source: ResolvedPort, target: ResolvedPort) -> None:
    if problem := _misfit(source, target):
        raise PortError(
            f"{where}: the ports do not fit: '{source.name}' gives {source}, '{target.name}' takes {target}: "
            f"{problem}.",
            node=target.node,
            port=target.port.name,
        )


def _misfit(source: ResolvedPort, target: ResolvedPort) -> str | None:
    if not dtypes_overlap(source.port.dtype, target.port.dtype):
        return "the dtypes differ"
    if source.port.is_anything or target.port.is_anything:
        return None
    if len(source.sizes) != len(target.sizes):
        return f"{len(source.sizes)} axes, not {len(target.sizes)}"
    for axis, (given, taken) in enumerate(zip(source.sizes, target.sizes, strict=True)):
        # Symbolic sizes are known when a value is there; only numbers can contradict each other now.
        if FREE not in {given, taken} and given != taken:
            return f"axis {axis} has {given} elements, not {taken}"
    return None


def _topological_order(nodes: Iterable[str], edges: Iterable[Edge]) -> tuple[str, ...]:
    # All nodes first, in the order of the file: the sorter keeps it among those that wait for nothing.
    sorter: TopologicalSorter[str] = TopologicalSorter(dict.fromkeys(nodes, ()))
    for edge in edges:
        sorter.add(edge.target, edge.source)
    try:
        return tuple(sorter.static_order())
    except CycleError as error:
        cycle = error.args[1]
        raise PipelineError(
            f"The edges form a cycle: {' -> '.join(cycle)}. A pipeline runs each node once.",
            hint="Remove one of these edges.",
            cycle=tuple(cycle),
        ) from None
