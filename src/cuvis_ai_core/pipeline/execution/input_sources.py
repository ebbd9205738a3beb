"""Where the value of each input comes from in one stage: an edge, or what is handed in."""

from collections.abc import Collection, Iterable, Iterator
from typing import TypeAlias

from cuvis_ai_core._nearest import did_you_mean
from cuvis_ai_core.errors import PortError
from cuvis_ai_core.pipeline.graph import Edge, Graph
from cuvis_ai_core.pipeline.port_compatibility import ResolvedPort

BatchKey: TypeAlias = str | tuple[str, str]


class Feeding:
    """The nodes that run in a stage, and what feeds their inputs.

    An edge wins over what is handed in. An edge from a node that does not run in this stage counts as none.

    Args:
        graph: The graph.
        stage: The execution stage.
        upto_node: Only nodes that feed this one take part.
    """

    def __init__(self, graph: Graph, stage: str, upto_node: str | None = None) -> None:
        self.graph = graph
        self.stage = stage
        wanted = graph.nodes if upto_node is None else graph.feeders(upto_node)
        self.running = tuple(name for name in graph.order if name in wanted and _runs(graph.nodes[name], stage))
        present = set(self.running)
        self.edges: dict[tuple[str, str], list[Edge]] = {}
        self.open: dict[tuple[str, str], ResolvedPort] = {}
        for node in self.running:
            for port, resolved in graph.inputs[node].items():
                edges = [edge for edge in graph.incoming.get((node, port), ()) if edge.source in present]
                if edges:
                    self.edges[node, port] = edges
                else:
                    self.open[node, port] = resolved

    def last(self) -> Iterator[str]:
        """Return the nodes whose answers no other one works on: they feed none that has outputs, or that has arrays."""
        feeding: set[str] = set()
        feeding_arrays: set[str] = set()
        for node in reversed(self.running):
            ports = self.graph.inputs[node]
            sources = {edge.source for port in ports for edge in self.edges.get((node, port), ())}
            if self.graph.outputs[node]:
                feeding |= sources
            if node in feeding_arrays or self._answers_arrays(node):
                feeding_arrays |= sources
        for node in self.running:
            # Published pipelines end in metrics and pictures that a monitor logs: these alone would be no result.
            if node not in (feeding_arrays if self._answers_arrays(node) else feeding):
                yield node

    def _answers_arrays(self, node: str) -> bool:
        ports = [resolved.port for resolved in self.graph.outputs[node].values()]
        return any(port.holds_array or port.is_anything for port in ports)

    def choose_keys(self, keys: Collection[BatchKey]) -> dict[tuple[str, str], BatchKey]:
        """Return for each open input its key: the most exact of (node, port), `node.port` and `port`.

        Raises:
            PortError: A required input has no key, or an exact key names an input that is not there.
        """
        self._refuse_unknown_addresses(keys)
        chosen: dict[tuple[str, str], BatchKey] = {}
        for (node, port), resolved in self.open.items():
            candidates: tuple[BatchKey, ...] = ((node, port), resolved.name, port)
            key = next((candidate for candidate in candidates if candidate in keys), None)
            if key is not None:
                chosen[node, port] = key
        missing = [port for address, port in self.required().items() if address not in chosen]
        if missing:
            raise self._missing(missing, keys)
        return chosen

    def required(self) -> dict[tuple[str, str], ResolvedPort]:
        """Return the inputs that must be handed in."""
        return {address: port for address, port in self.open.items() if not port.port.optional}

    def _refuse_unknown_addresses(self, keys: Iterable[BatchKey]) -> None:
        """Refuse keys that name a node's port which no node has; plain names that nobody takes are fine."""
        known = {f"{node}.{port}" for node, ports in self.graph.inputs.items() for port in ports}
        for key in keys:
            address = _address(key)
            if "." not in address or address in known:
                continue
            raise PortError(
                f"The batch has a value for '{address}', but the pipeline has no such input."
                + did_you_mean(address, known),
                hint=f"Inputs: {', '.join(sorted(known)) or 'none'}.",
                node=address.partition(".")[0],
                port=address.partition(".")[2],
            )

    def _missing(self, missing: list[ResolvedPort], keys: Collection[BatchKey]) -> PortError:
        given = ", ".join(sorted(".".join(key) if isinstance(key, tuple) else key for key in keys))
        lines = "".join(f"\n  {port.name}: {port}{self._why_open(port)}" for port in missing)
        names = dict.fromkeys(port.port.name for port in missing)
        batch = ", ".join(f"{name!r}: ..." for name in names)
        return PortError(
            f"Required inputs are missing in stage '{self.stage}':{lines}\nHanded in: {given or 'nothing'}.",
            hint=f"Hand them in as batch={{{batch}}}, or connect them with edges.",
            node=missing[0].node,
            port=missing[0].port.name,
            missing=tuple((port.node, port.port.name) for port in missing),
        )

    def _why_open(self, port: ResolvedPort) -> str:
        edges = self.graph.incoming.get((port.node, port.port.name))
        return f" (node '{edges[0].source}', which feeds it, does not run in this stage)" if edges else ""


def _address(key: object) -> str:
    match key:
        case str():
            return key
        case (str() as node, str() as port):
            return f"{node}.{port}"
    raise PortError(f"The batch has the key {key!r}; keys are 'port', 'node.port' or ('node', 'port').", node="")


def _runs(node: object, stage: str) -> bool:
    should_execute = getattr(node, "should_execute", None)  # a node class may do without our base classes
    return should_execute is None or bool(should_execute(stage))
