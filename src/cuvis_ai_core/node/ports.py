"""The one place that knows how ports are declared.

Published node classes declare ports as `PortSpec`, as a list with one `PortSpec` (fan-in, older schemas), or as a
plain dict, with dtypes of NumPy, of torch, or as text. Everything else in this package sees a `Port`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cuvis_ai_core.errors import InvalidNodeError

_FLOATS = frozenset({"bfloat16", "float16", "float32", "float64"})
_INTEGERS = frozenset({"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"})
_COMPLEX = frozenset({"complex64", "complex128"})
_NUMBERS = _FLOATS | _INTEGERS | _COMPLEX

_ALIASES: Final[Mapping[str, str]] = {
    "bool_": "bool",
    "double": "float64",
    "half": "float16",
    "long": "int64",
    "object": "any",
    "Any": "any",
    "ndarray": "array",
    "Tensor": "array",
}
_FAMILIES: Final[Mapping[str, frozenset[str]]] = {
    "array": _NUMBERS | {"bool"},
    "number": _NUMBERS,
    "floating": _FLOATS,
    "integer": _INTEGERS,
}


@dataclass(frozen=True, slots=True)
class Port:
    """One input or output port of a node.

    Attributes:
        name: Name of the port.
        dtype: Canonical name: a concrete dtype (`float32`), a family (`floating`, `integer`, `number`, `array`),
            a Python type (`str`), or `any`.
        shape: Sizes; -1 is free, a text is the name of an attribute of the node.
        description: One sentence for people.
        optional: Whether an input may be left unconnected.
        variadic: Whether an input takes many connections and hands the node a list.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    description: str = ""
    optional: bool = False
    variadic: bool = False

    def sizes(self, node: object) -> tuple[int, ...]:
        """Return the shape with every symbolic size read from `node`.

        Raises:
            InvalidNodeError: The node has no such attribute, or it is no integer.
        """
        return tuple(size if isinstance(size, int) else self._symbol(node, size) for size in self.shape)

    def _symbol(self, node: object, symbol: str) -> int:
        value = getattr(node, symbol, None)
        if not isinstance(value, int) or isinstance(value, bool):
            raise InvalidNodeError(
                f"Port '{self.name}' of {type(node).__name__} has the symbolic size '{symbol}', "
                f"but the node's attribute '{symbol}' is {value!r}, no integer.",
                node=type(node).__name__,
            )
        return value


def dtype_name(dtype: object) -> str:
    """Return the canonical name of a dtype of NumPy or torch, of a Python type, or of a text.

    Examples: `np.float32`, `torch.float32` and `"float32"` are `float32`; `np.ndarray` and `torch.Tensor` are `array`.
    """
    if isinstance(dtype, str):
        name = dtype.removeprefix("numpy.").removeprefix("torch.").removeprefix("np.")
    elif isinstance(dtype, type):
        name = dtype.__name__
    else:
        name = str(getattr(dtype, "name", dtype)).removeprefix("torch.")
    return _ALIASES.get(name, name)


def dtypes_overlap(left: str, right: str) -> bool:
    """Tell whether some value fits both canonical dtype names."""
    if left == right or "any" in {left, right}:
        return True
    return not _FAMILIES.get(left, frozenset({left})).isdisjoint(_FAMILIES.get(right, frozenset({right})))


def read_ports(node_class: type, direction: str) -> dict[str, Port]:
    """Return the ports of a node class by name.

    Args:
        node_class: A node class.
        direction: `INPUT_SPECS` or `OUTPUT_SPECS`.

    Raises:
        InvalidNodeError: A declaration is none of the known forms.
    """
    return {
        str(name): _read_port(node_class, direction, str(name), spec)
        for name, spec in getattr(node_class, direction).items()
    }


def _read_port(node_class: type, direction: str, name: str, spec: Any) -> Port:
    fan_in = isinstance(spec, list)
    declared = spec[0] if isinstance(spec, list) and len(spec) == 1 else spec
    fields = declared if isinstance(declared, Mapping) else getattr(declared, "__dict__", {})
    try:
        return Port(
            name=name,
            dtype=dtype_name(fields["dtype"]),
            shape=tuple(fields["shape"]),
            description=str(fields.get("description", "")),
            optional=bool(fields.get("optional", False)),
            variadic=fan_in or bool(fields.get("variadic", False)),
        )
    except (KeyError, TypeError) as error:
        raise InvalidNodeError(
            f"{node_class.__name__}.{direction}['{name}'] is {spec!r}, which declares no port.",
            hint="Declare it as PortSpec(dtype=np.float32, shape=(-1, -1, -1, -1)).",
            node=node_class.__name__,
        ) from error
