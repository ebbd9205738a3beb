"""Slips of the pen in a node class, each with the line to write."""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any, Final

from cuvis_ai_core._error_location import definition_of
from cuvis_ai_core._nearest import nearest
from cuvis_ai_core.errors import InvalidNodeError
from cuvis_ai_core.node.base import NodeMixin, is_node_class
from cuvis_ai_core.node.constructor_keywords import note_unread, watched
from cuvis_ai_core.node.port_handles import is_set_up
from cuvis_ai_core.node.ports import Port, read_ports
from cuvis_ai_core.node.proxy_nodes import ELSEWHERE, process_of

_SIDES: Final = ("INPUT_SPECS", "OUTPUT_SPECS")
_CONTEXT: Final = "context"
_NEAR: Final = 0.8
_SPEC: Final = "PortSpec(np.float32, (-1, -1, -1, -1))"
_FIRST_LINE: Final = "super().__init__(name=name, execution_stages=execution_stages)"
_BASE: Final = "Write:\nfrom cuvis_ai_core.node import ArrayNode\n\nclass {}(ArrayNode):  # or Node, for torch"


def check_class(node_class: type) -> None:
    """Refuse a node class that cannot work as it is written.

    Raises:
        InvalidNodeError: Its declarations have another name, `forward` is missing or takes other arguments than there
            are input ports, or a port is declared wrongly.
    """
    if hasattr(node_class, ELSEWHERE):
        return  # the other process has the class itself, and looks at that
    for side in _SIDES:
        _refuse_misspelt(node_class, side)
    ports = read_ports(node_class, "INPUT_SPECS")
    read_ports(node_class, "OUTPUT_SPECS")
    forward: Any = vars(node_class).get("forward") or getattr(node_class, "forward", None)
    if getattr(forward, "__isabstractmethod__", False):
        arguments = ", ".join(["self", *ports])
        raise _refusal(node_class, "has no method 'forward'", f"    def forward({arguments}):", node_class)
    _refuse_deferred(node_class, forward, ports)
    _check_arguments(node_class, forward, ports)


def construct(node_class: type, /, *args: Any, **kwargs: Any) -> Any:
    """Return a node of a class; `constructor_keywords.unread_of` tells which keywords nobody read.

    Raises:
        InvalidNodeError: Its constructor does not call that of the base class.
        Exception: Whatever else the constructor raises.
    """
    given = watched(node_class, kwargs)
    try:
        node = node_class(*args, **given)
    except AttributeError as error:
        # torch's words: cannot assign module before Module.__init__() call.
        if "before Module.__init__() call" in str(error):
            raise _not_initialised(node_class) from error
        raise
    if isinstance(node, NodeMixin) and process_of(node) is None and not is_set_up(node):
        raise _not_initialised(node_class)
    note_unread(node, given)
    return node


def no_node_class(path: str, found: object) -> tuple[str, str]:
    """Return what is wrong with something that is no node class, and what to do: for the text of an error.

    Args:
        path: Full path of what was found.
        found: What is there, None for nothing.
    """
    name = path.rpartition(".")[2]
    if found is None:
        return f"there is no class '{path}'", "Correct the path: package.module.TheClass."
    if inspect.ismodule(found):
        classes = sorted(key for key, each in vars(found).items() if _is_own_node(found.__name__, each))
        meant = [f"{path}.{each}" for each in classes] or [f"{path}.TheClass"]
        return f"'{path}' is a module, no class", f"Name the class in it: provides: [{', '.join(meant)}]"
    if not isinstance(found, type):
        what = "a function" if inspect.isroutine(found) else f"an object of class {type(found).__name__}"
        place = definition_of(found) if inspect.isroutine(found) else None
        problem = f"'{path}' is {what}, no class" + (f" ({place})" if place else "")
        return problem, _BASE.format(name[:1].upper() + name[1:])
    for side in _SIDES:
        declared = getattr(found, side, None)
        if declared is not None and not isinstance(declared, Mapping):
            problem = f"its {side} is an object of class {type(declared).__name__}, no dict of ports by name"
            return f"'{path}' is no node class: {problem}", f"    {side} = {{'cube': {_SPEC}}}"
    lacking = [each for each in (*_SIDES, "forward") if not hasattr(found, each)]
    if not lacking:
        what = type(inspect.getattr_static(found, "forward")).__name__
        return f"'{path}' is no node class: its forward is a {what}, no method", _forward_line(
            getattr(found, "INPUT_SPECS", ())
        )
    return f"'{path}' is no node class: it lacks {_enumerated(lacking)}", _BASE.format(name)


def _refuse_misspelt(node_class: type, side: str) -> None:
    if getattr(node_class, side, None):
        return
    for base in node_class.__mro__:
        for name, value in vars(base).items():
            near = name != side and nearest(name.upper(), [side], cutoff=_NEAR)
            if near and isinstance(value, Mapping) and not base.__module__.startswith("cuvis_ai_core.node."):
                raise _refusal(
                    node_class,
                    f"declares '{name}', which nobody reads: ports are declared in {side}",
                    f"    {side} = {{{', '.join(f'{port!r}: ...' for port in value)}}}",
                    node_class,
                )


def _refuse_deferred(node_class: type, forward: Any, ports: Iterable[str]) -> None:
    """Refuse a `forward` whose call only promises a result: nobody would wait for it."""
    plain = inspect.unwrap(getattr(forward, "__func__", forward))
    if inspect.iscoroutinefunction(plain) or inspect.isasyncgenfunction(plain):
        raise _refusal(
            node_class, "has a 'forward' that is 'async'; a call returns the outputs", _forward_line(ports), plain
        )
    if inspect.isgeneratorfunction(plain):
        problem = "has a 'forward' that yields; it returns all its outputs at once"
        raise _refusal(node_class, problem, "        return {...}", plain, "in place of yield")


def _check_arguments(node_class: type, forward: Any, ports: Mapping[str, Port]) -> None:
    try:
        parameters = dict(inspect.signature(forward).parameters)
    except (TypeError, ValueError):
        return  # compiled code need not tell
    parameters.pop(next(iter(parameters), ""), None)  # self
    named = {
        name: each for name, each in parameters.items() if each.kind not in {each.VAR_POSITIONAL, each.VAR_KEYWORD}
    }
    takes_any = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    for name, each in named.items():
        if each.default is each.empty and name not in ports and name != _CONTEXT:
            near = nearest(name, ports.keys() - named.keys())
            known = "".join(f"{port!r}: ..., " for port in ports)
            line = _forward_line(ports) if near else f"    INPUT_SPECS = {{{known}{name!r}: {_SPEC}}}"
            raise _refusal(
                node_class,
                f"has no input port '{name}', which its 'forward' takes; its ports are {_enumerated(ports) or 'none'}",
                line,
                forward,
            )
    for name, port in ports.items():
        if not takes_any and name not in named and not port.optional:
            raise _refusal(
                node_class,
                f"has an input port '{name}', which its 'forward' does not take",
                _forward_line(ports),
                forward,
            )


def _forward_line(ports: Iterable[str]) -> str:
    return f"    def forward({', '.join(['self', *ports])}):"


def _not_initialised(node_class: type) -> InvalidNodeError:
    owner = next((base for base in node_class.__mro__ if "__init__" in vars(base)), node_class)
    return _refusal(
        node_class,
        "has an __init__ that does not call that of its base class",
        f"        {_FIRST_LINE}",
        vars(owner).get("__init__"),
        "as the first line of __init__, which takes name=None and execution_stages=None",
    )


def _refusal(node_class: type, problem: str, line: str, owner: object, where: str = "") -> InvalidNodeError:
    place = definition_of(owner)
    return InvalidNodeError(
        f"Node class {node_class.__name__} {problem}{f' ({place})' if place else ''}.",
        hint=f"Write{f' {where}' if where else ''}:\n{line}",
        node=node_class.__name__,
        place=place,
    )


def _is_own_node(module: str, found: object) -> bool:
    return is_node_class(found) and getattr(found, "__module__", None) == module


def _enumerated(names: Iterable[str]) -> str:
    *first, last = [*names] or [""]
    return f"{', '.join(first)} and {last}" if first else last
