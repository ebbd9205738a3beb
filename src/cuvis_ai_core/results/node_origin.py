"""Where a node class comes from: built in, from a declared or a discovered plugin, or from the host."""

from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cuvis_ai_core.registry import NodeRegistry

CORE: Final = "cuvis-ai-core"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a node class comes from.

    Attributes:
        kind: `builtin`, `git`, `local`, `discovered` (a pip-installed plugin), or `host` (an import path).
        plugin: Name of the plugin.
        source: Address of the repository without credentials, or the path.
        tag: The Git tag.
        commit: The commit of the tag.
        distribution: The distribution that holds the class.
        version: Its version.
    """

    kind: str
    plugin: str | None = None
    source: str | None = None
    tag: str | None = None
    commit: str | None = None
    distribution: str | None = None
    version: str | None = None

    def __str__(self) -> str:
        if self.kind in {"builtin", "host"}:
            return "built in" if self.kind == "builtin" else "importable module"
        where = f"{self.tag} {(self.commit or '')[:12]}" if self.kind == "git" else self.kind
        return f"{self.plugin} {self.version} ({where})"


# `importlib.metadata` looks for the distribution, and reads its file, at each call.
@cache
def core_version() -> str:
    """Return the version of this package."""
    return version(CORE)


def origin_of(registry: "NodeRegistry", node_class: type) -> Origin:
    """Return where a node class of a registry comes from."""
    info = registry.plugin_of(node_class)
    if info is not None:
        return Origin(info.kind, info.name, info.source, info.tag, info.commit, info.distribution, info.version)
    path = registry.public_path(node_class)
    entry = next((entry for entry in registry.nodes() if entry.path == path), None)
    if entry is None:
        return Origin("host")
    if entry.plugin is None:
        return Origin("builtin", distribution=CORE, version=core_version())
    plugin = registry.discovered_plugins[entry.plugin]
    return Origin("discovered", entry.plugin, distribution=plugin.distribution, version=plugin.version)
