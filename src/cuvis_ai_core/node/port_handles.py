"""Ports as things to hold: `node.outputs.scores`, to be connected by programs."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cuvis_ai_schemas.pipeline import InputPort, OutputPort


class PortHandles:
    """The ports of one side of a node, as attributes; iterating gives their names."""

    def __init__(self, owner: str, ports: "dict[str, InputPort] | dict[str, OutputPort]") -> None:
        self._owner = owner
        self._ports = ports

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # asked by copy and pickle, before there are ports
            raise AttributeError(name)
        if name in self._ports:
            return self._ports[name]

        from cuvis_ai_core._nearest import did_you_mean

        meant = did_you_mean(name, self._ports) or f" There are {', '.join(self._ports) or 'none'}."
        raise AttributeError(f"{self._owner} has no port '{name}'.{meant}")

    def __dir__(self) -> list[str]:
        return sorted(self._ports)

    def __iter__(self) -> Iterator[str]:
        return iter(self._ports)

    def __contains__(self, name: object) -> bool:
        return name in self._ports

    def __len__(self) -> int:
        return len(self._ports)


def is_set_up(node: object) -> bool:
    """Tell whether the constructor of the base class of nodes has run."""
    return "_name" in vars(node)


def input_handles(node: Any) -> PortHandles:
    """Return the input ports of a node."""
    return PortHandles(f"The input side of node '{node.name}'", input_ports(node))


def output_handles(node: Any) -> PortHandles:
    """Return the output ports of a node."""
    return PortHandles(f"The output side of node '{node.name}'", output_ports(node))


def input_ports(node: Any) -> "dict[str, InputPort]":
    """Return the input ports of a node by name, each the same object whenever it is asked for."""
    from cuvis_ai_schemas.pipeline import InputPort

    ports: dict[str, InputPort] = _kept(node, "_inputs_made", node.INPUT_SPECS, InputPort)
    return ports


def output_ports(node: Any) -> "dict[str, OutputPort]":
    """Return the output ports of a node by name, each the same object whenever it is asked for."""
    from cuvis_ai_schemas.pipeline import OutputPort

    ports: dict[str, OutputPort] = _kept(node, "_outputs_made", node.OUTPUT_SPECS, OutputPort)
    return ports


class _Made:
    """Ports that were made for a node: neither a copy of it nor a file has them, which make their own."""

    __slots__ = ("ports", "specs")

    def __init__(self, specs: object = None, ports: Any = None) -> None:
        self.specs = specs
        self.ports = ports

    def __copy__(self) -> "_Made":
        return _Made()

    def __deepcopy__(self, _: object) -> "_Made":
        return _Made()

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return _Made, ()


def _kept(node: Any, key: str, specs: Any, kind: Any) -> Any:
    from cuvis_ai_core.node.ports import as_port_spec

    made = vars(node).get(key)
    ports = made.ports if made is not None and made.specs is specs else None
    if ports is None or any(port.node is not node for port in ports.values()):
        ports = {name: kind(node, name, as_port_spec(spec)) for name, spec in specs.items()}
        vars(node)[key] = _Made(specs, ports)
    return ports


def port_handle(node: Any, name: str) -> "InputPort | OutputPort":
    """Return the one port of a node that has a name.

    Raises:
        AttributeError: There is no port of that name, or one on each side.
    """
    is_input, is_output = name in node.INPUT_SPECS, name in node.OUTPUT_SPECS
    if is_input and is_output:
        raise AttributeError(
            f"Port '{name}' of {type(node).__name__} exists in both inputs and outputs: "
            f"write node.inputs.{name} or node.outputs.{name}."
        )
    if not (is_input or is_output):
        why = "" if is_set_up(node) else ": its __init__ has not called super().__init__()"
        raise AttributeError(f"'{type(node).__name__}' has no attribute or port '{name}'{why}", name=name, obj=node)
    side = input_handles(node) if is_input else output_handles(node)
    port: InputPort | OutputPort = getattr(side, name)
    return port
