"""A pipeline that is only looked at: nodes whose classes are not loaded have what stands for them."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, ClassVar

from cuvis_ai_core.errors import CuvisError
from cuvis_ai_core.node.dtypes import UNKNOWN
from cuvis_ai_core.node.ports import read_ports
from cuvis_ai_core.pipeline.file.config_models import NodeConfig, PipelineConfig
from cuvis_ai_core.pipeline.file.endpoint_texts import parse_endpoint
from cuvis_ai_core.pipeline.node_construction import NodeSource, build_nodes

Endpoint = tuple[str, str]


class UnloadedNode:
    """Stands for a node whose class is not loaded: it has the ports that edges name, and cannot run.

    Args:
        entry: Its entry in the file.
        reason: Why its class is not loaded.
    """

    INPUT_SPECS: ClassVar[Mapping[str, Any]] = {}
    OUTPUT_SPECS: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, entry: NodeConfig, reason: CuvisError) -> None:
        self.name = entry.name
        self.class_name = entry.class_name
        self.hparams = entry.params
        self.reason = reason

    def forward(self, **_: object) -> dict[str, Any]:
        """Raise why it is not loaded."""
        raise self.reason


def outline_nodes(config: PipelineConfig, registry: NodeSource) -> dict[str, Any]:
    """Return the nodes of a pipeline by name, in the order of the file; an `UnloadedNode` where one is not loaded.

    Raises:
        AmbiguousNodeError: Several plugins provide a class of that name.
        PipelineError: A name occurs twice, a class is no node, or its constructor refuses the parameters.
    """
    absent: dict[str, CuvisError] = {}
    loaded = build_nodes(config, _Shown(registry), absent)
    ports = _known_ports(config, loaded, absent)
    return {
        entry.name: loaded[entry.name] if entry.name in loaded else _stand_in(entry, absent[entry.name], ports)
        for entry in config.nodes
    }


class _Shown:
    """A source of classes that imports nothing on the word of a file.

    Args:
        registry: Where classes come from.
    """

    def __init__(self, registry: NodeSource) -> None:
        # A stranger's file is shown without importing what it names.
        self._find = getattr(registry, "known", registry.get)

    def get(self, name: str, /) -> type:
        """Return the class of that name."""
        found: type = self._find(name)
        return found


def _known_ports(
    config: PipelineConfig, loaded: Mapping[str, Any], absent: Mapping[str, object]
) -> dict[tuple[str, str], dict[str, dict[str, Any]]]:
    """Return the ports of nodes that are not loaded, by node and direction: names and, from the other end, types."""
    others: dict[tuple[str, str, str], list[Endpoint]] = defaultdict(list)
    for edge in config.edges:
        source, target = parse_endpoint(edge.source, "outputs"), parse_endpoint(edge.target, "inputs")
        others[source[0], "OUTPUT_SPECS", source[1]].append(target)
        others[target[0], "INPUT_SPECS", target[1]].append(source)
    found: dict[tuple[str, str], dict[str, dict[str, Any]]] = defaultdict(dict)
    for (node, direction, port), ends in others.items():
        if node in absent:
            other = "INPUT_SPECS" if direction == "OUTPUT_SPECS" else "OUTPUT_SPECS"
            several = direction == "INPUT_SPECS" and len(ends) > 1
            found[node, direction][port] = _declaration(loaded, ends, other, variadic=several)
    return found


def _declaration(loaded: Mapping[str, Any], ends: list[Endpoint], direction: str, *, variadic: bool) -> dict[str, Any]:
    """Return the type on which all loaded ends of the edges of a port agree, or that nothing is known of it."""
    known = [(loaded[node], name) for node, name in ends if node in loaded]
    types = {_type(node, direction, name) for node, name in known}
    dtype, shape = types.pop() if len(types) == 1 and len(known) == len(ends) else (UNKNOWN, ())
    return {"dtype": dtype, "shape": shape, "variadic": variadic}


def _type(node: object, direction: str, name: str) -> tuple[str, tuple[int, ...]]:
    port = read_ports(type(node), direction).get(name)
    return (port.dtype, port.sizes(node)) if port else (UNKNOWN, ())


def _stand_in(
    entry: NodeConfig, reason: CuvisError, ports: Mapping[tuple[str, str], dict[str, dict[str, Any]]]
) -> UnloadedNode:
    specs = {direction: ports.get((entry.name, direction), {}) for direction in ("INPUT_SPECS", "OUTPUT_SPECS")}
    name = entry.class_name.rpartition(".")[2].replace("\0", "\\0")  # Python's own names are texts of C
    # A class for each: drawings and tables ask `type(node)` for its name and ports.
    stand_in: type[UnloadedNode] = type(name, (UnloadedNode,), specs)
    return stand_in(entry, reason)
