"""Whose code asks: the plugin of the nearest frame on the stack that runs plugin code."""

import sys
from importlib.machinery import PathFinder
from typing import Any, NamedTuple, cast

from cuvis_ai_core.plugins.scope import MARK, Scope


class StartedBy(NamedTuple):
    """The plugin whose code started this process.

    Attributes:
        scope: Its modules.
        runs: Whether the main program is the plugin's own (`python -m its_module`): its names come first then.
    """

    scope: Scope
    runs: bool


_started_by: StartedBy | None = None


def process_started_by(scope: Scope, *, runs: bool) -> None:
    """Have a plugin answer where code that is nobody's asks for one of its public names.

    Args:
        scope: Its modules.
        runs: Whether its names come before those of the environment.
    """
    global _started_by  # noqa: PLW0603 - a process is started once
    _started_by = StartedBy(scope, runs)


def nearest_scope() -> Scope | None:
    """Return the scope of the nearest frame that runs plugin code."""
    frame = sys._getframe(1)  # noqa: SLF001 - the only way to ask who calls
    while frame is not None:
        scope = frame.f_builtins.get(MARK)
        if scope is not None:
            return cast("Scope", scope)
        frame = cast("Any", frame.f_back)
    return None


def asking_scope() -> Scope | None:
    """Return the nearest scope, or in a process that a plugin started that plugin's."""
    return nearest_scope() or (_started_by.scope if _started_by else None)


def answering_scope(public: str) -> Scope | None:
    """Return the scope that answers for a public module name, where it owns that name."""
    scope = nearest_scope()
    if scope is None and _started_by is not None:
        top = public.partition(".")[0]
        scope = _started_by.scope if _started_by.runs or not _environment_has(top) else None
    return scope if scope is not None and scope.owns(public) else None


def _environment_has(top: str) -> bool:
    found = PathFinder.find_spec(top)
    return found is not None and found.loader is not None
