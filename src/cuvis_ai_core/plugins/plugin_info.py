"""What is said of a declared plugin: where it is in its lifecycle, and what was loaded from where."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path


class PluginState(StrEnum):
    """Where a declared plugin is in its lifecycle; observers are told by the hook `cuvis_ai_plugin_state`."""

    UNLOADED = "unloaded"
    DOWNLOADING = "downloading"
    CACHED = "cached"
    RESOLVING = "resolving"
    PATH_RESOLVED = "path resolved"
    INSTALLING = "installing"
    IMPORTING = "importing"
    REGISTERED = "registered"
    ACTIVE = "active"
    FAILED = "failed"


def code_is_there(source: str, tag: str | None, commit: str | None) -> tuple[PluginState, str]:
    """Return the state of a plugin whose code is there, with a detail to show.

    Args:
        source: Address of its repository without credentials, or its path.
        tag: Its tag; None for a local path.
        commit: The commit of the tag.
    """
    if tag is None:
        return PluginState.PATH_RESOLVED, source
    return PluginState.CACHED, f"{source} {tag}" + (f" at commit {commit[:12]}" if commit else "")


class PluginInfo(NamedTuple):
    """What was loaded, and from where.

    Attributes:
        name: Name in the manifest.
        kind: `git` or `local`; `installed` of what `register_plugin` found in this environment.
        source: Address of the repository without credentials, or the path.
        tag: The Git tag.
        commit: The commit that the tag named when it was fetched.
        distribution: Name of the plugin's distribution.
        version: Its version.
        target: The target directory; of a plugin in a process of its own its environment.
        nodes: Public full paths of its node classes, those of its hooks included.
    """

    name: str
    kind: str
    source: str
    tag: str | None
    commit: str | None
    distribution: str
    version: str
    target: Path
    nodes: tuple[str, ...]

    @property
    def found(self) -> tuple[PluginState, str]:
        """The state of a plugin whose code is there, with a detail to show."""
        return code_is_there(self.source, self.tag, self.commit)
