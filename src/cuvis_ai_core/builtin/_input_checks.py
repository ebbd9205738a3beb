"""Checks that the built-in nodes share: of hyper-parameters when built, of inputs when run."""

from collections.abc import Iterable
from math import inf, isfinite, nan
from numbers import Real
from typing import Any, TypeAlias

from cuvis_ai_core.builtin._array_namespace import array_namespace
from cuvis_ai_core.errors import InvalidNodeError, PortError
from cuvis_ai_core.node import ArrayNode

Array: TypeAlias = Any
"""An array of any library that follows the array API standard."""

Namespace: TypeAlias = Any
"""The functions of that library (`xp`)."""


def number(node: ArrayNode, parameter: str, value: object, *, least: float = -inf, below: float = inf) -> float:
    """Return a hyper-parameter that is a finite number, at least `least` and below `below`.

    Raises:
        InvalidNodeError: It is something else.
    """
    found = _as_float(value)
    if isfinite(found) and least <= found < below:
        return found
    bounds = [f"at least {least:g}"] * (least > -inf) + [f"below {below:g}"] * (below < inf)
    rule = ", ".join(["a finite number", *bounds])
    raise InvalidNodeError(f"Node '{node.name}': {parameter} is {value!r}; it is {rule}.", node=node.name)


def _as_float(value: object) -> float:
    try:
        return float(value) if isinstance(value, Real) and not isinstance(value, bool) else nan
    # An integer of Python may be larger than any float.
    except OverflowError:
        return inf


def numbers(node: ArrayNode, parameter: str, values: object) -> list[float]:
    """Return a hyper-parameter that is a list of one or more finite numbers.

    Raises:
        InvalidNodeError: It is something else.
    """
    if isinstance(values, str) or not isinstance(values, Iterable) or not (found := list(values)):
        raise InvalidNodeError(
            f"Node '{node.name}': {parameter} is {values!r}; it is a list of one or more numbers.",
            node=node.name,
        )
    return [number(node, f"{parameter}[{index}]", value) for index, value in enumerate(found)]


def flag(node: ArrayNode, parameter: str, value: object) -> bool:
    """Return a hyper-parameter that is true or false.

    Raises:
        InvalidNodeError: It is something else.
    """
    if not isinstance(value, bool):
        raise InvalidNodeError(f"Node '{node.name}': {parameter} is {value!r}; it is true or false.", node=node.name)
    return value


def image_namespace(node: ArrayNode, port: str, value: Array) -> Namespace:
    """Return the array namespace of an input that is a batch of images.

    Args:
        node: The node that runs.
        port: Name of the input port.
        value: What came in: floating-point numbers `[batch, height, width, channel]`, no size 0.

    Raises:
        PortError: It is something else.
    """
    xp = namespace(node, port, value)
    if not xp.isdtype(value.dtype, "real floating"):
        raise input_error(
            node,
            port,
            f"got {value.dtype}; it takes floating-point numbers",
            hint="Convert before, for example with astype(numpy.float32) or torch's float().",
        )
    if value.ndim != 4 or 0 in value.shape:  # noqa: PLR2004 - the rule is in the message
        raise input_error(
            node,
            port,
            f"got the shape {tuple(value.shape)}; it takes [batch, height, width, channel], no size 0",
        )
    return xp


def namespace(node: ArrayNode, port: str, *values: Array) -> Namespace:
    """Return the one array namespace that all values belong to; `port` is that of the last one.

    Raises:
        PortError: A value is no array, or the values belong to different libraries.
    """
    try:
        return array_namespace(*values)
    except TypeError as error:
        raise input_error(
            node, port, f"got {type(values[-1]).__name__}; all inputs are arrays of one library"
        ) from error


def constant(value: Array) -> Array:
    """Return an array as one that no gradients flow through: what only decides how to compute."""
    return value.detach() if hasattr(value, "detach") else value


def input_error(node: ArrayNode, port: str, message: str, hint: str | None = None) -> PortError:
    """Return the error that says what is wrong with the value at an input port."""
    return PortError(f"Node '{node.name}', input '{port}': {message}.", hint=hint, node=node.name, port=port)
