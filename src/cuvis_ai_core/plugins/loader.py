"""Plugins, from their manifest entries to node classes: each of them wholly, or not at all.

This is where plugins become classes: `preparation` has them fetched, resolved together and installed, unless they are
`ready`, and `load` imports and registers one after the other.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

from cuvis_ai_core._redact import without_credentials
from cuvis_ai_core.errors import DependencyConflictError, PluginLoadError
from cuvis_ai_core.plugins import dependencies
from cuvis_ai_core.plugins.children import publish
from cuvis_ai_core.plugins.code import import_node, open_code
from cuvis_ai_core.plugins.discovery import load_entry_point, node_path
from cuvis_ai_core.plugins.failing import failing
from cuvis_ai_core.plugins.finder import install_finder
from cuvis_ai_core.plugins.manager import NodePlugin, PluginState, contribution
from cuvis_ai_core.plugins.manifest import GitPlugin, LocalPlugin
from cuvis_ai_core.plugins.operators import refuse_taken_operators
from cuvis_ai_core.plugins.public_names import give_back
from cuvis_ai_core.plugins.ready import Ready, Request
from cuvis_ai_core.plugins.scope import Scope
from cuvis_ai_core.plugins.sources import Source
from cuvis_ai_core.plugins.store import Store
from cuvis_ai_core.plugins.target import Target
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


def load(
    request: Request,
    wanted: Iterable[str],
    prepared: Mapping[str, Ready | PluginLoadError],
    admit: Callable[[LoadedPlugin], None],
) -> dict[str, PluginLoadError]:
    """Import and register plugins, one after the other, and return why those failed that did; each fails for itself.

    Args:
        request: Plugins that are to be there together.
        wanted: Names of those that are to be loaded; the others are loaded already.
        prepared: What became of each, or why it failed.
        admit: Registers a loaded plugin.
    """
    return {name: error for name in wanted if (error := _load(name, request, prepared, admit))}


def _load(
    name: str,
    request: Request,
    prepared: Mapping[str, Ready | PluginLoadError],
    admit: Callable[[LoadedPlugin], None],
) -> PluginLoadError | None:
    announce = partial(request.announce, name)
    ready = prepared[name]
    if isinstance(ready, PluginLoadError):
        return ready
    try:
        with failing(name, announce, PluginState.IMPORTING) as enter:
            enter(PluginState.IMPORTING, ready.target.plugin.name)
            try:
                plugin = _open(name, request.plugins[name], ready, request.store)
            except DependencyConflictError as error:
                from cuvis_ai_core.plugins.disagreement import disagreement

                targets = {each: found.target for each, found in prepared.items() if isinstance(found, Ready)}
                raise disagreement(error, targets) from error
            enter(PluginState.REGISTERING, plugin.info.distribution)
            try:
                admit(plugin)
            except BaseException:
                plugin.release()
                raise
    except PluginLoadError as error:
        return error
    announce(PluginState.LOADED, ", ".join(path.rpartition(".")[2] for path in plugin.classes))
    return None


def _open(name: str, declared: GitPlugin | LocalPlugin, ready: Ready, store: Store) -> LoadedPlugin:
    source, target = ready
    with ExitStack() as undo:
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
