"""Node classes as messages: where they come from, their ports, and what editors show of them."""

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from cuvis_ai_core.grpc.messages.node_icons import icon_of
from cuvis_ai_core.grpc.messages.schema_generations import enum_value, messages
from cuvis_ai_core.grpc.messages.tensors import dtype_number
from cuvis_ai_core.node.ports import FREE, Port, read_ports

if TYPE_CHECKING:
    from cuvis_ai_core.plugins.node_lookup import NodeEntry
    from cuvis_ai_core.registry import NodeRegistry

logger = logging.getLogger(__name__)


def node_infos(registry: "NodeRegistry", *, with_lists: bool) -> list[Any]:
    """Return a message for each node of a registry.

    Args:
        registry: The registry.
        with_lists: Whether ports travel in lists, as before version 0.5 of the schemas.
    """
    return [_node_info(registry, entry, with_lists=with_lists) for entry in registry.nodes()]


def shape_of(sizes: Iterable[object]) -> list[int]:
    """Return sizes as the wire has them: those that are free or symbolic are -1."""
    return [size if isinstance(size, int) else FREE for size in sizes]


def _node_info(registry: "NodeRegistry", entry: "NodeEntry", *, with_lists: bool) -> Any:
    kind = messages().NodeInfoWithLists if with_lists else messages().NodeInfo
    info = kind(
        class_name=entry.name,
        full_path=entry.path,
        source="builtin" if entry.plugin is None else "plugin",
        plugin_name=entry.plugin or "",
    )
    try:
        # By its path: two plugins may have a class of one short name.
        node_class = registry.get(entry.path)
        _describe(info, node_class, with_lists=with_lists)
    except Exception:  # a class that cannot be imported keeps nothing from the others
        logger.warning("node '%s' is listed without its ports", entry.path, exc_info=True)
    return info


def _describe(info: Any, node_class: type, *, with_lists: bool) -> None:
    for specs, direction in ((info.input_specs, "INPUT_SPECS"), (info.output_specs, "OUTPUT_SPECS")):
        for name, port in read_ports(node_class, direction).items():
            target = specs[name].specs.add() if with_lists else specs[name]
            target.CopyFrom(_port_spec(port))
    info.icon_svg = icon_of(node_class)
    info.category = _number("NodeCategory", "NODE_CATEGORY", getattr(node_class, "get_category", lambda: None)())
    tags: Iterable[object] = getattr(node_class, "get_tags", tuple)()
    info.tags.extend(number for each in sorted(tags, key=str) if (number := _number("NodeTag", "NODE_TAG", each)))


def _port_spec(port: Port) -> Any:
    return messages().PortSpec(
        name=port.name,
        dtype=dtype_number(port.dtype),
        shape=shape_of(port.shape),
        optional=port.optional,
        description=port.description,
        variadic=port.variadic,
    )


def _number(enum: str, prefix: str, value: object) -> int:
    """Return the number of a category or tag of the schemas, 0 where the wire has none of that name."""
    name = str(getattr(value, "value", value)).upper()
    try:
        return enum_value(enum, f"{prefix}_{name}")
    except KeyError:
        return 0
