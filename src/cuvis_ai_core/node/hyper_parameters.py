"""What a node was constructed with: recorded where it is called, whatever its author hands on to the base class."""

import inspect
from collections.abc import Mapping
from enum import Enum
from typing import Any, Self

_NO_HYPER_PARAMETERS = frozenset({"name", "execution_stages"})


class Unwritable:
    """Stands for a value that no pipeline file can hold; no dataclass, which pydantic would write as a mapping.

    Args:
        kind: Name of its type.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind


class Recorded:
    """Base class of nodes that remember the arguments of their constructor, as far as a file can hold them."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:  # noqa: D102 - whatever the constructor takes
        new = super().__new__
        # `object.__new__` refuses arguments.
        node = new(cls) if new is object.__new__ else new(cls, *args, **kwargs)
        vars(node)["_given"] = (
            [plain(each) for each in args],
            {str(name): plain(each) for name, each in kwargs.items()},
        )
        return node


def hyper_parameters(node: Any) -> dict[str, Any]:
    """Return the arguments that build a node again, its name and stages left out; `Unwritable` where there is no way.

    What its author keeps in `hparams` stands in for what no file can hold, such as an array, and for what it was given
    where that was changed since, as by a calibration.
    """
    kept = {name: plain(value) for name, value in getattr(node, "hparams", {}).items()}
    given = vars(node).get("_given")
    if given is None:
        return kept
    signature = inspect.signature(type(node))
    try:
        bound = signature.bind(*given[0], **given[1])
    except TypeError:  # built in another way, as by `copy`
        return kept
    explicit = set(bound.arguments)
    bound.apply_defaults()
    found: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        match signature.parameters[name].kind:
            case inspect.Parameter.VAR_KEYWORD:
                found |= value
            case inspect.Parameter.VAR_POSITIONAL | inspect.Parameter.POSITIONAL_ONLY if value:
                return kept  # these have no names by which a file could hand them over
            case inspect.Parameter.POSITIONAL_OR_KEYWORD | inspect.Parameter.KEYWORD_ONLY:
                found[name] = plain(value)
                if name not in explicit and holds_unwritable(found[name]):
                    del found[name]
    changed = changed_since_built(node)
    return {
        name: kept[name] if name in changed or (holds_unwritable(value) and name in kept) else value
        for name, value in found.items()
        if name not in _NO_HYPER_PARAMETERS
    }


def changed_since_built(node: Any) -> dict[str, Any]:
    """Return the hyper-parameters with another value than when the node was built, as a calibrated threshold."""
    attributes = getattr(node, "__dict__", {})
    before, now = attributes.get("_hparams_given", {}), attributes.get("hparams", {})
    if before == now or not isinstance(now, dict):
        return {}
    takes = inspect.signature(type(node)).parameters
    values = {name: plain(value) for name, value in now.items() if name in before and name in takes}
    return {
        name: value for name, value in values.items() if value != plain(before[name]) and not holds_unwritable(value)
    }


def has_own_stages(node: Any) -> bool:
    """Tell whether the stages of a node were given from outside, to its constructor or later; else its class knows."""
    given = vars(node).get("_given")
    if given is None or vars(node).get("_assigned_stages"):
        return True
    try:
        bound = inspect.signature(type(node)).bind(*given[0], **given[1]).arguments
    except TypeError:  # built in another way, as by `copy`
        return True
    return bound.get("execution_stages", given[1].get("execution_stages")) is not None


def plain(value: Any) -> Any:
    """Return a value in the types that a pipeline file has: numbers, texts, lists and mappings."""
    match value:
        case list() | tuple():
            return [plain(each) for each in value]
        case set() | frozenset() if not any(holds_unwritable(plain(each)) for each in value):
            return {plain(each) for each in value}
        case Mapping() if all(type(key) in {str, int, float, bool} for key in value):
            return {key: plain(each) for key, each in value.items()}
    return _plain_single(value)


def _plain_single(value: Any) -> Any:
    match value:
        case None | Unwritable() | bytes():
            return value
        case Enum():
            return plain(value.value)
        case bool() | int() | float() | str():
            # Of a subclass the plain value; bool first, since it is an int as well.
            return next(kind(value) for kind in (bool, int, float, str) if isinstance(value, kind))
    if getattr(value, "shape", None) == () and callable(getattr(value, "item", None)):  # a number of NumPy or torch
        return _plain_single(value.item())
    return _plain_rare(value)


def _plain_rare(value: object) -> Any:
    """Return a value of a class that its owner has imported; those who have none need not wait for that import."""
    from datetime import date
    from pathlib import PurePath

    match value:
        case date():
            return value
        case PurePath():
            return str(value)
    return Unwritable(type(value).__name__)


def holds_unwritable(value: object) -> str | None:
    """Return the type of something within a value that no file can hold."""
    match value:
        case Unwritable(kind=kind):
            return kind
        case list():
            inner: Any = value
        case dict():
            inner = value.values()
        case _:
            return None
    return next(filter(None, map(holds_unwritable, inner)), None)
