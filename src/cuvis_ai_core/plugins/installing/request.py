"""What is to be installed together: the plugins of a manifest, with all that this depends on."""

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

from cuvis_ai_core.plugins.cache.store import Store
from cuvis_ai_core.plugins.installing.versions import Versions
from cuvis_ai_core.plugins.manager import PluginState
from cuvis_ai_core.plugins.manifest import GitPlugin, LocalPlugin

Announcement: TypeAlias = Callable[[str, PluginState, str], None]
"""Tells observers that a plugin entered a state, with a detail to show."""


class InstallRequest(NamedTuple):
    """Plugins that are to be there together.

    Attributes:
        plugins: Manifest entries by the plugins' names, in the order of the manifest.
        versions: How versions of their dependencies come about.
        store: The plugin cache.
        announce: Told of the states that each plugin enters, with a detail to show.
        offline: Whether no connection may be opened.
    """

    plugins: Mapping[str, GitPlugin | LocalPlugin]
    versions: Versions
    store: Store
    announce: Announcement
    offline: bool
