"""Does a value fit a port? Asked of every value in every run, so answered in well under a microsecond.

Arrays are known by their attributes `dtype` and `shape`: neither NumPy nor torch is imported.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

from cuvis_ai_core.node.array_node import Value
from cuvis_ai_core.node.dtypes import dtype_implies, dtype_name, dtypes_overlap
from cuvis_ai_core.node.ports import FREE, type_text
from cuvis_ai_core.pipeline.port_compatibility import ResolvedPort

Check: TypeAlias = Callable[[Value], bool]

_SCALARS = (bool, int, float, complex)


def make_check(port: ResolvedPort) -> Check | None:
    """Return a function that tells whether a value fits the port, or None where every value does.

    A variadic port's check is for one of its values. An optional port takes None.
    """
    declared = port.port
    if declared.is_anything:
        return None
    rank = len(port.sizes)
    fixed = tuple((axis, size) for axis, size in enumerate(port.sizes) if size != FREE)
    known: set[Any] = set()  # dtype objects seen to fit: asking them for their name is the slow part

    def fits(value: Value) -> bool:
        try:
            dtype, shape = value.dtype, value.shape
        except AttributeError:
            return _object_fits(value, port)
        if dtype not in known:
            if not _dtype_fits(dtype, declared.dtype):
                return False
            known.add(dtype)
        if len(shape) != rank:
            return False
        for axis, size in fixed:  # noqa: SIM110 - a generator would double the time
            if shape[axis] != size:
                return False
        return True

    return fits


def always_fits(source: ResolvedPort, target: ResolvedPort) -> bool:
    """Tell whether every value that fits `source` fits `target`, so that checking it once is enough."""
    if target.port.is_anything:
        return True
    if source.port.optional and not target.port.optional:
        return False
    if not dtype_implies(source.port.dtype, target.port.dtype) or len(source.sizes) != len(target.sizes):
        return False
    pairs = zip(source.sizes, target.sizes, strict=True)
    return all(taken in {FREE, given} for given, taken in pairs)


def misfit(port: ResolvedPort, value: Value) -> str:
    """Say how a value does not fit a port."""
    return f"got {describe_value(value)}, the port takes {'a list of ' * port.port.variadic}{port}"


def describe_value(value: Value) -> str:
    """Return dtype and shape of an array, the type of anything else."""
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return type_text(dtype_name(value.dtype), tuple(value.shape))
    return "nothing" if value is None else f"an object of type {type(value).__name__}"


def _dtype_fits(dtype: object, declared: str) -> bool:
    name = dtype_name(dtype)
    if name == "any":  # an array of Python objects: no number port takes it
        return declared in {"any", "array"}
    return declared == "array" or dtypes_overlap(name, declared)


def _object_fits(value: Value, port: ResolvedPort) -> bool:
    if value is None and port.port.optional:
        return True
    if port.port.dtype == "any":
        return not port.sizes or _nested(value, port.sizes, port.port.dtype)
    if port.port.holds_array:  # a Python number is a value without axes, never an array
        is_number = not port.sizes and isinstance(value, _SCALARS) and port.port.dtype != "array"
        return is_number and _dtype_fits(type(value), port.port.dtype)
    return _is_a(value, port.port.dtype) or _nested(value, port.sizes, port.port.dtype)


def _is_a(value: Value, type_name: str) -> bool:
    return any(base.__name__ == type_name for base in type(value).__mro__)


def _nested(value: Value, sizes: tuple[int, ...], type_name: str) -> bool:
    """Tell whether lists, nested as deep as there are sizes, hold objects of a Python type."""
    if not sizes:
        return type_name == "any" or _is_a(value, type_name)
    if not isinstance(value, list | tuple) or sizes[0] not in {FREE, len(value)}:
        return False
    return all(_nested(each, sizes[1:], type_name) for each in value)
