"""Whether a plugin runs in this process or in one of its own, and what observers are told meanwhile."""

from collections.abc import Collection, Mapping
from contextlib import suppress
from functools import partial
from typing import Final

from cuvis_ai_core.errors import (
    CuvisError,
    DependencyConflictError,
    MissingExtraError,
    OperatorConflictError,
)
from cuvis_ai_core.plugins.dependencies import host
from cuvis_ai_core.plugins.installing.installed import source_on_disk
from cuvis_ai_core.plugins.installing.request import Announcement, InstallRequest
from cuvis_ai_core.plugins.load_errors import Announce
from cuvis_ai_core.plugins.manager import PluginState
from cuvis_ai_core.plugins.manifest import GitPlugin, LocalPlugin

IMPOSSIBLE: Final = (DependencyConflictError, OperatorConflictError, MissingExtraError)
"""Why a plugin cannot live in this process, but in one of its own (`isolation: auto`)."""


def those_here(request: InstallRequest) -> InstallRequest:
    """Return a request for those plugins that are to live in this process."""
    here = {name: each for name, each in request.plugins.items() if not runs_apart(name, each, request)}
    return request._replace(plugins=here)


def runs_apart(name: str, declared: GitPlugin | LocalPlugin, request: InstallRequest) -> bool:
    """Tell whether a plugin runs in a process of its own: by its manifest or lock file, or because it had to before."""
    isolation = request.versions.isolation(name, declared)
    if isolation != "auto":
        return isolation == "process"
    from cuvis_ai_core.plugins.worker.wanted import known_environment

    with suppress(CuvisError):  # whoever loads it says what is wrong
        source = source_on_disk(name, declared, request.store)
        known = known_environment(name, declared, source, request) if source is not None else None
        return known is not None and host.fingerprint() in known.refused
    return False


class Announcing:
    """Tells observers of the states of those plugins that are wanted.

    One with `isolation: auto` that cannot live in this process has not failed by that.

    Args:
        announce: Tells them.
        plugins: The plugins.
        wanted: Names of those that are wanted.
    """

    def __init__(
        self, announce: Announcement, plugins: Mapping[str, GitPlugin | LocalPlugin], wanted: Collection[str]
    ) -> None:
        self._announce = announce
        self._wanted = wanted
        self._open = {name for name, declared in plugins.items() if declared.isolation == "auto"}
        self._held: dict[str, str] = {}

    def __call__(self, name: str, state: PluginState, detail: str) -> None:
        """Tell that a plugin entered a state."""
        if name not in self._wanted:
            return
        if state is PluginState.FAILED and name in self._open:
            self._held[name] = detail
        else:
            self._announce(name, state, detail)

    def fail(self, name: str) -> None:
        """Tell that a plugin failed after all."""
        self._announce(name, PluginState.FAILED, self._held.pop(name, ""))

    def finally_of(self, name: str) -> Announce:
        """Return how the states of a plugin are told from now on: its failure is one."""
        self._open.discard(name)
        return partial(self, name)
