"""What observers are told of plugins while they are loaded."""

from collections.abc import Callable, Collection, Mapping
from typing import TypeAlias

from cuvis_ai_core.plugins.manifest.manifest_schema import GitPlugin, LocalPlugin
from cuvis_ai_core.plugins.plugin_info import PluginState

Announce: TypeAlias = Callable[[PluginState, str], None]
"""Tells observers that a plugin entered a state, with a detail to show."""

Announcement: TypeAlias = Callable[[str, PluginState, str], None]
"""Tells observers that a plugin, by its name, entered a state, with a detail to show."""


class Announcing:
    """Tells observers of the states of those plugins that are wanted.

    One with `isolation: auto` that cannot live in this process has not failed by that.
    """

    def __init__(
        self, announce: Announcement, plugins: Mapping[str, GitPlugin | LocalPlugin], wanted: Collection[str]
    ) -> None:
        self._announce = announce
        self._wanted = wanted
        self._undecided = {name for name, declared in plugins.items() if declared.isolation == "auto"}
        self._held: dict[str, str] = {}

    def __call__(self, name: str, state: PluginState, detail: str) -> None:
        """Tell that a plugin entered a state."""
        if name not in self._wanted:
            return
        # Held back: in a process of its own it may succeed, and observers would have counted a failure.
        if state is PluginState.FAILED and name in self._undecided:
            self._held[name] = detail
        else:
            self._announce(name, state, detail)

    def fail(self, name: str) -> None:
        """Tell that a plugin failed after all."""
        self._announce(name, PluginState.FAILED, self._held.pop(name, ""))

    def decide(self, names: Collection[str]) -> None:
        """Take a failure of some plugins for one from now on: they have a process of their own."""
        self._undecided.difference_update(names)
