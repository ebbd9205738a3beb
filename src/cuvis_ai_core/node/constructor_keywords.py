"""Which keywords a node class takes: those that its constructors name, and of any others those that it asks for.

A constructor with `**kwargs` declares nothing of what it takes out of them. Published nodes take some with `pop` or
`get`, and hand the rest to the base class, which keeps whatever comes. So such a class is asked when it is constructed:
a keyword notes whether somebody looked it up, and what nobody did is a slip of the pen.
"""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any, Final

_TOLD: Final = "_declared_parameters"
"""Where a class that stands for one in another process keeps what that class declares."""

_UNREAD: Final = "_unread"


class Keyword(str):
    """The name of an argument that no constructor declares, on its way through `**kwargs`.

    Attributes:
        read: Whether somebody compared it with a name, as looking it up in a mapping does.
    """

    __slots__ = ("read",)

    def __init__(self, _: str) -> None:
        self.read = False

    def __eq__(self, other: object) -> bool:
        same = super().__eq__(other)
        if same is True and type(other) is str:
            self.read = True
        return same

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__


def parameters_of(node_class: type) -> Mapping[str, inspect.Parameter]:
    """Return what a class declares to take: the parameters of its constructor, and of those behind its `**kwargs`."""
    told: Mapping[str, inspect.Parameter] | None = getattr(node_class, _TOLD, None)
    if told is not None:
        return told
    signatures = [inspect.signature(node_class)]
    # Without `object`, whose constructor says nothing of what a class takes.
    constructors = (vars(base)["__init__"] for base in node_class.__mro__[:-1] if "__init__" in vars(base))
    while is_open(signatures[-1]) and (behind := next(constructors, None)) is not None:
        signature = inspect.signature(behind)
        signatures.append(signature.replace(parameters=[*signature.parameters.values()][1:]))  # without the node itself
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {
        name: parameter
        for each in reversed(signatures)
        for name, parameter in each.parameters.items()
        if parameter.kind in named
    }


def is_open(signature: inspect.Signature) -> bool:
    """Tell whether something takes any keyword."""
    return any(each.kind is each.VAR_KEYWORD for each in signature.parameters.values())


def watched(node_class: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return keyword arguments with those watched that the class does not declare."""
    if not given or hasattr(node_class, _TOLD):  # the other process watches for itself
        return dict(given)
    declared = parameters_of(node_class)
    return {key if key in declared else Keyword(key): value for key, value in given.items()}


def note_unread(node: Any, given: Iterable[str]) -> None:
    """Note at a node which keywords came to its base class unread; they are its hyper-parameters all the same."""
    hparams = getattr(node, "hparams", None)
    if isinstance(hparams, dict) and any(isinstance(key, Keyword) for key in given):
        unread = [str(key) for key in hparams if isinstance(key, Keyword) and not key.read]
        node.hparams = {str(key): value for key, value in hparams.items()}
        if unread:
            vars(node)[_UNREAD] = unread


def unread_of(node: Any) -> list[str]:
    """Return the keywords that a node was constructed with, and that nobody read."""
    return list(getattr(node, "__dict__", {}).get(_UNREAD, ()))
