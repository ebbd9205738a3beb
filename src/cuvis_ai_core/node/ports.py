"""The one place that knows how ports are declared.

Published node classes declare ports as `PortSpec`, as a list with one `PortSpec` (fan-in, older schemas), or
as a plain dict, with dtypes of NumPy, of torch, or as text. Everything else in this package sees a `Port`.
"""

import builtins
import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Final, SupportsIndex, get_origin

from cuvis_ai_core.errors import InvalidNodeError
from cuvis_ai_core.node.dtypes import FAMILIES, NUMBERS, UNKNOWN, dtype_name, library_of

if TYPE_CHECKING:
    from cuvis_ai_schemas.pipeline import PortSpec

FREE: Final = -1
"""The size of an axis that may have any length."""


@dataclass(frozen=True, slots=True)
class Port:
    """One input or output port of a node.

    Attributes:
        name: Name of the port.
        dtype: Canonical name: a concrete dtype (`float32`), a family (`floating`, `integer`, `number`,
            `array`), a Python type (`str`), or `any`.
        shape: Sizes; -1 is free, a text is the name of an attribute of the node.
        description: One sentence for people.
        optional: Whether an input may be left unconnected, or an output left out.
        variadic: Whether an input takes many connections and hands the node a list.
        library: `numpy` or `torch` where the dtype is declared as one of these.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    description: str = ""
    optional: bool = False
    variadic: bool = False
    # float32 of NumPy and of torch make the same port.
    library: str | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return type_text(self.dtype, self.shape)

    @property
    def is_anything(self) -> bool:
        """Whether the declaration says nothing about values: any dtype and no sizes."""
        return self.dtype in {"any", UNKNOWN} and not self.shape

    @property
    def holds_array(self) -> bool:
        """Whether values are arrays or numbers, not objects of a Python type."""
        return self.dtype in FAMILIES["array"] or self.dtype in FAMILIES

    def sizes(self, node: object) -> tuple[int, ...]:
        """Return the shape with every symbolic size read from `node`.

        Raises:
            InvalidNodeError: The node has no such attribute, or it is no size.
        """
        return tuple(self._symbol(node, size) if isinstance(size, str) else size for size in self.shape)

    def _symbol(self, node: object, symbol: str) -> int:
        value = getattr(node, symbol, None)
        size = _as_size(value)
        if size is None:
            raise InvalidNodeError(
                f"Port '{self.name}' of {type(node).__name__} has the symbolic size '{symbol}', "
                f"but the node's attribute '{symbol}' is {value!r}, no size (an integer from 0, or -1).",
                hint=f"Set self.{symbol} in the node's constructor, or declare the size as -1.",
                node=type(node).__name__,
            )
        return size


def type_text(dtype: str, shape: tuple[int | str, ...]) -> str:
    """Return a dtype and a shape for people: `float32 [*, *, *, 3]`, where `*` is any size."""
    sizes = ", ".join("*" if size == FREE else str(size) for size in shape)
    return f"{dtype} [{sizes}]" if shape else dtype


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


def as_port_spec(spec: object) -> "PortSpec":
    """Return a declaration of any known form as the `PortSpec` of the installed schemas."""
    from cuvis_ai_schemas.pipeline import PortSpec

    declared = spec[0] if isinstance(spec, list) else spec
    if not isinstance(declared, Mapping):
        return declared
    known = {each.name for each in fields(PortSpec)}
    return PortSpec(**{key: value for key, value in declared.items() if key in known})


def _read_port(node_class: type, direction: str, name: str, spec: object) -> Port:
    fan_in = isinstance(spec, list)
    declared = spec[0] if isinstance(spec, list) and len(spec) == 1 else spec
    given = declared if isinstance(declared, Mapping) else getattr(declared, "__dict__", {})
    if "dtype" in given:
        _refuse_wrong_dtype(f"{node_class.__name__}.{direction}['{name}']", given["dtype"], node_class)
    try:
        return Port(
            name=name,
            dtype=dtype_name(given["dtype"]),
            shape=_declared_shape(given["shape"]),
            description=str(given.get("description", "")),
            optional=bool(given.get("optional", False)),
            variadic=fan_in or bool(given.get("variadic", False)),
            library=library_of(given["dtype"]),
        )
    except (KeyError, TypeError) as error:
        raise InvalidNodeError(
            f"{node_class.__name__}.{direction}['{name}'] is {spec!r}, which declares no port: a port has a "
            "dtype, and a shape of integers from 0, -1 for any size, or names of attributes of the node.",
            hint="Declare it as PortSpec(dtype=np.float32, shape=(-1, -1, -1, -1)).",
            node=node_class.__name__,
        ) from error


def _refuse_wrong_dtype(where: str, dtype: object, node_class: type) -> None:
    if isinstance(dtype, str):
        name = dtype_name(dtype)

        from cuvis_ai_core._nearest import nearest

        near = nearest(name, NUMBERS | FAMILIES.keys())
        # A type of Python may be named as a text.
        if near is None or near == name or hasattr(builtins, name):
            return
        problem, meant = f"the dtype '{dtype}', which there is not; '{near}' is near.", near
    elif type(dtype).__module__ != "builtins" or isinstance(dtype, type) or get_origin(dtype) is not None:
        return
    else:
        problem, meant = f"the dtype {dtype!r}, which is none: it is a type of NumPy, torch or Python, or its name.", ""
    raise InvalidNodeError(
        f"{where} declares {problem}",
        hint=f"Write: PortSpec(np.{meant or 'float32'}, (-1, -1, -1, -1)). First the dtype, then the shape.",
        node=node_class.__name__,
    )


def _declared_shape(shape: Iterable[object]) -> tuple[int | str, ...]:
    if isinstance(shape, str):
        raise TypeError(shape)  # tuple("size") would be four symbols
    return tuple(map(_declared_size, shape))


def _declared_size(size: object) -> int | str:
    if isinstance(size, str) and size.isidentifier():
        return size
    number = _as_size(size)
    if number is None:
        raise TypeError(size)
    return number


def _as_size(value: object) -> int | None:
    """Return an integer of any library as a size, or None."""
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        return None
    try:
        size = operator.index(value)
    except TypeError:  # arrays have the method and refuse
        return None
    return size if size >= FREE else None
