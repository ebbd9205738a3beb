"""Whether two ports of nodes can be connected: the ports of a node object, and what is said of a misfit."""

from dataclasses import dataclass

from cuvis_ai_core.errors import PortError
from cuvis_ai_core.node.dtypes import dtypes_overlap
from cuvis_ai_core.node.ports import FREE, Port, read_ports, type_text


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


def resolve_ports(name: str, node: object, direction: str) -> Ports:
    """Return the ports of a node object by their names.

    Args:
        name: Of the node.
        node: The node.
        direction: `INPUT_SPECS` or `OUTPUT_SPECS`.

    Raises:
        InvalidNodeError: A declaration cannot be read.
    """
    ports = read_ports(type(node), direction)
    return {port.name: ResolvedPort(name, port, port.sizes(node)) for port in ports.values()}


def check_fit(where: str, source: ResolvedPort, target: ResolvedPort) -> None:
    """Refuse an edge whose ends do not fit together.

    Raises:
        PortError: They differ in dtype, axes or sizes.
    """
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
