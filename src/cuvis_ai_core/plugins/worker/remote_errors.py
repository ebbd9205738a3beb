"""Exceptions of a worker as exceptions of the host: of the class of the same name, where that is known to both."""

import builtins
from collections.abc import Mapping
from functools import cache
from typing import Any

from cuvis_ai_core import errors
from cuvis_ai_core.errors import CuvisError, RemoteError


def remote_error(told: Mapping[str, Any], plugin: str, node: str | None) -> CuvisError:
    """Return the exception for what a worker told of one.

    Args:
        told: What it told: data, from which nothing is executed.
        plugin: Name of the plugin.
        node: Name of the node that was asked.
    """
    kind, words, trace = str(told.get("kind")), str(told.get("words")), str(told.get("trace"))
    shown = "\n".join(f"  {line}" for line in trace.rstrip().splitlines())
    where = f"In the worker process of plugin '{plugin}':\n{shown}"
    place = told.get("place")
    about = {"plugin": plugin, "node": node, "place": str(place) if place else None}
    # By name among our own classes: what a worker says is data, and makes no class of anything.
    ours = getattr(errors, str(told.get("ours")), None)
    if isinstance(ours, type) and issubclass(ours, CuvisError) and not issubclass(ours, errors.WorkerError):
        hint = told.get("hint")
        words = words if ours.__name__ == kind else f"{kind}: {words}"
        hints = [*([str(hint)] if hint else []), *([where] if trace else [])]
        return ours(words, hint="\n".join(hints) or None, **about)
    return _class_for(kind, str(told.get("like")))(
        words or f"{kind} without words", hint=where, **about, kind=kind, words=words, trace=trace
    )


@cache
def _class_for(kind: str, like: str) -> type[RemoteError]:
    base: Any = getattr(builtins, like, None)
    name = kind if kind.isidentifier() else "RemoteError"
    # A StopIteration that leaves a generator becomes a RuntimeError (PEP 479): it would hide what the node said.
    own = isinstance(base, type) and issubclass(base, Exception) and not issubclass(base, StopIteration)
    bases = (
        (RemoteError, base) if own and base is not Exception and not issubclass(RemoteError, base) else (RemoteError,)
    )
    try:
        found = type(name, bases, {"__module__": __name__, "__doc__": f"A {kind} of a worker process."})
        # Tried at once: UnicodeDecodeError and its kin take five arguments, which only a call shows.
        found("")
    except TypeError:  # some built-in classes want arguments of their own
        found = type(name, (RemoteError,), {"__module__": __name__, "__doc__": f"A {kind} of a worker process."})
    return found
