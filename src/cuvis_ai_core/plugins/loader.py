"""One plugin, from its manifest entry to node classes: all of it, or nothing.

This is where a plugin becomes classes: `load` is the list of steps.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from cuvis_ai_core._redact import without_credentials
from cuvis_ai_core.errors import PluginError
from cuvis_ai_core.plugins import dependencies
from cuvis_ai_core.plugins.children import publish
from cuvis_ai_core.plugins.code import import_node, open_code
from cuvis_ai_core.plugins.discovery import load_entry_point, node_path
from cuvis_ai_core.plugins.failing import Announce, Enter, failing
from cuvis_ai_core.plugins.finder import install_finder
from cuvis_ai_core.plugins.manager import NodePlugin, PluginState, contribution
from cuvis_ai_core.plugins.manifest import GitPlugin, LocalPlugin
from cuvis_ai_core.plugins.operators import refuse_taken_operators
from cuvis_ai_core.plugins.public_names import give_back
from cuvis_ai_core.plugins.scope import Scope
from cuvis_ai_core.plugins.sources import Source, content_of, git_source, local_source
from cuvis_ai_core.plugins.store import Store
from cuvis_ai_core.plugins.target import Target, target_for_this_host
from cuvis_ai_core.plugins.uses import Uses


class PluginInfo(NamedTuple):
    """What was loaded, and from where.

    Attributes:
        name: Name in the manifest.
        kind: `git` or `local`.
        source: Address of the repository without credentials, or the path.
        tag: The Git tag.
        commit: The commit that the tag named when it was fetched.
        distribution: Name of the plugin's distribution.
        version: Its version.
        target: The target directory.
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


class LoadedPlugin(NamedTuple):
    """A declared plugin in memory.

    Attributes:
        declared: Its manifest entry.
        info: What was loaded, and from where.
        scope: Its private modules.
        lease: The dependencies that it keeps alive.
        classes: Its node classes, by the path under which they were declared.
        hooks: Its modules and objects with hook implementations, by entry-point name.
        uses: Its checkout and target directory, which count as in use in the plugin cache.
    """

    declared: GitPlugin | LocalPlugin
    info: PluginInfo
    scope: Scope
    lease: dependencies.Lease
    classes: Mapping[str, type]
    hooks: Mapping[str, object]
    uses: Uses

    def plugin_objects(self) -> Iterator[tuple[str, object]]:
        """Return what is registered in a manager, with the names to do it under."""
        yield self.info.name, NodePlugin(lambda: list(self.classes.values()))
        for name, plugin in self.hooks.items():
            yield f"{self.info.name}:{name}", plugin

    def import_node(self, path: str) -> type:
        """Import one of the plugin's classes by its public path.

        Raises:
            InvalidNodeError: There is no such class, or it is no node.
        """
        return import_node(self.info.name, self.scope, path)

    def release(self) -> None:
        """Let go of the modules and the dependencies."""
        self.scope.release()
        give_back()
        self.lease.release()
        self.uses.release()
        publish()


def load(name: str, declared: GitPlugin | LocalPlugin, store: Store, announce: Announce) -> LoadedPlugin:
    """Load a declared plugin.

    Args:
        name: Name of the plugin in its manifest.
        declared: Its entry there.
        store: The plugin cache.
        announce: Told of the states that the plugin enters, with a detail to show.

    Raises:
        PluginLoadError: A step failed; its `__cause__` says why, and nothing is left behind.
    """
    with failing(name, announce) as enter, ExitStack() as undo:
        _refuse_process(declared)
        undo.callback(store.release)
        source = _source(name, declared, store, enter)
        enter(PluginState.INSTALLING, None)
        target = _target(name, declared, source, store, enter)
        enter(PluginState.IMPORTING, target.plugin.name)
        lease = dependencies.acquire(target.plugin, target.needed, target.folder)
        undo.callback(lease.release)
        install_finder()
        scope = open_code(target, lease.private)
        undo.callback(scope.abandon)
        provided = {path: import_node(name, scope, path) for path in declared.provides}
        named, hooks = _entry_points(name, scope, target)
        refuse_taken_operators(scope)
        classes = provided | {path: found for path, found in named.items() if found not in provided.values()}
        info = _info(name, declared, source, target, classes)
        uses = store.hand_over(source.folder, target.folder)
        loaded = LoadedPlugin(declared, info, scope, lease, classes, hooks, uses)
        undo.pop_all()
    publish()
    return loaded


def _refuse_process(declared: GitPlugin | LocalPlugin) -> None:
    if declared.isolation == "process":
        raise PluginError(
            "isolation: process is not available in this version of cuvis-ai-core.",
            hint="Use isolation: scoped (the default).",
        )


def _source(name: str, declared: GitPlugin | LocalPlugin, store: Store, enter: Enter) -> Source:
    if isinstance(declared, LocalPlugin):
        return local_source(declared.path)

    def downloading(detail: str) -> None:
        enter(PluginState.DOWNLOADING, detail)
        # While git waits for the network, there is time to import what building needs.
        threading.Thread(target=import_module, args=("cuvis_ai_core.plugins.installer",), daemon=True).start()

    return git_source(name, declared.repo, declared.tag, store, downloading)


def _target(name: str, declared: GitPlugin | LocalPlugin, source: Source, store: Store, enter: Enter) -> Target:
    place = store.targets(name, content_of(declared, source))
    found = target_for_this_host(place)
    if found is not None and store.use(found.folder):
        return found
    # What building needs is imported when something has to be built.
    from cuvis_ai_core.plugins.installer import Installation

    return Installation(name, declared, source, store, enter).run(place)


def _entry_points(name: str, scope: Scope, target: Target) -> tuple[dict[str, type], dict[str, object]]:
    classes: dict[str, type] = {}
    hooks: dict[str, object] = {}
    for point, value in target.entry_points.items():
        path = node_path(point, value)
        if path is None:
            hooks[point] = contribution(load_entry_point(value, scope.import_module))
        else:
            classes[path] = import_node(name, scope, path)
    return classes, hooks


def _info(
    name: str, declared: GitPlugin | LocalPlugin, source: Source, target: Target, classes: Mapping[str, type]
) -> PluginInfo:
    git = isinstance(declared, GitPlugin)
    return PluginInfo(
        name=name,
        kind="git" if git else "local",
        source=without_credentials(declared.repo) if isinstance(declared, GitPlugin) else str(source.folder),
        tag=declared.tag if isinstance(declared, GitPlugin) else None,
        commit=source.commit,
        distribution=target.plugin.name,
        version=target.plugin.version,
        target=target.folder,
        nodes=tuple(classes),
    )
