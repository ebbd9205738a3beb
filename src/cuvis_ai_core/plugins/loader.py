"""Plugins, from their manifest entries to node classes: each of them wholly, or not at all.

This is where plugins become classes: `preparation` has them fetched, resolved together and installed, unless they are
`ready`, and `load` imports and registers one after the other.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeAlias, cast

from cuvis_ai_core._redact import without_credentials
from cuvis_ai_core.errors import DependencyConflictError, PluginLoadError
from cuvis_ai_core.plugins.apart import IMPOSSIBLE, Announcing
from cuvis_ai_core.plugins.cache.sources import Source, project_folder
from cuvis_ai_core.plugins.cache.store import Store
from cuvis_ai_core.plugins.cache.target import Target
from cuvis_ai_core.plugins.children import publish
from cuvis_ai_core.plugins.code import import_node, open_code
from cuvis_ai_core.plugins.dependencies import leases
from cuvis_ai_core.plugins.discovery import load_entry_point, node_path
from cuvis_ai_core.plugins.installing.installed import Installed
from cuvis_ai_core.plugins.installing.request import InstallRequest
from cuvis_ai_core.plugins.isolation.finder import install_finder
from cuvis_ai_core.plugins.isolation.private_names import TORCH_LIBRARY
from cuvis_ai_core.plugins.isolation.scope import Scope
from cuvis_ai_core.plugins.load_errors import REGISTERING, Announce, Enter, failing
from cuvis_ai_core.plugins.loaded import LoadedPlugin, PluginInfo, ProcessPlugin, ScopedPlugin
from cuvis_ai_core.plugins.manager import PluginState, contribution
from cuvis_ai_core.plugins.manifest import GitPlugin, LocalPlugin

if TYPE_CHECKING:
    from cuvis_ai_core.plugins.cache.environment import Environment
    from cuvis_ai_core.plugins.worker.opening import Opened

Admit: TypeAlias = Callable[[LoadedPlugin], None]


def load(
    request: InstallRequest,
    wanted: Iterable[str],
    prepared: Mapping[str, Installed | PluginLoadError],
    admit: Admit,
) -> dict[str, PluginLoadError]:
    """Import and register plugins, one after the other, and return why those failed that did; each fails for itself.

    Those that get a process of their own are fetched and installed before, several at once.

    Args:
        request: Plugins that are to be there together.
        wanted: Names of those that are to be loaded; the others are loaded already.
        prepared: What became of each, or why it failed; those that are not in it get a process of their own.
        admit: Registers a loaded plugin.
    """
    names = list(wanted)
    with _opened_apart({name: None for name in names if name not in prepared}, request) as opened:
        return {name: error for name in names if (error := _load(name, request, prepared, opened, admit))}


def _load(
    name: str,
    request: InstallRequest,
    prepared: Mapping[str, Installed | PluginLoadError],
    opened: "dict[str, Opened | PluginLoadError]",
    admit: Admit,
) -> PluginLoadError | None:
    if name in opened:
        return _take_over(name, request, opened, admit)
    error = _load_here(name, request, prepared, admit)
    if error is None or request.plugins[name].isolation != "auto":
        return error
    if isinstance(error.__cause__, IMPOSSIBLE):
        with _opened_apart({name: error.__cause__}, request) as found:
            return _take_over(name, request, found, admit)
    cast("Announcing", request.announce).fail(name)
    return error


def _load_here(
    name: str, request: InstallRequest, prepared: Mapping[str, Installed | PluginLoadError], admit: Admit
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
                from cuvis_ai_core.plugins.installing.conflicts import with_all_demands

                targets = {each: found.target for each, found in prepared.items() if isinstance(found, Installed)}
                raise with_all_demands(error, targets) from error
            _register(plugin, enter, admit)
    except PluginLoadError as error:
        return error
    _announce_active(plugin, announce)
    return None


@contextmanager
def _opened_apart(
    reasons: Mapping[str, BaseException | None], request: InstallRequest
) -> "Iterator[dict[str, Opened | PluginLoadError]]":
    """Have plugins ready in processes of their own, by name; what nobody took over in the end is closed."""
    if not reasons:
        yield {}
        return
    from cuvis_ai_core.plugins.worker.opening import Opened, open_plugins

    opened = open_plugins(reasons, request, cast("Announcing", request.announce).finally_of)
    try:
        yield opened
    finally:
        for left in opened.values():
            if isinstance(left, Opened):
                left.worker.close()


def _take_over(
    name: str, request: InstallRequest, opened: "dict[str, Opened | PluginLoadError]", admit: Admit
) -> PluginLoadError | None:
    plugin, declared = opened[name], request.plugins[name]
    if isinstance(plugin, PluginLoadError):
        return plugin
    try:
        with failing(name, partial(request.announce, name), REGISTERING) as enter:
            uses = request.store.hand_over(plugin.source.folder, plugin.environment.folder)
            info = _info(name, declared, plugin.source, plugin.classes, plugin.environment)
            del opened[name]
            project = project_folder(declared, plugin.source)
            loaded = ProcessPlugin(declared, info, plugin.worker, plugin.classes, project, plugin.config_dirs, uses)
            _register(loaded, enter, admit)
    except PluginLoadError as error:
        return error
    _announce_active(loaded, partial(request.announce, name))
    return None


def _register(plugin: LoadedPlugin, enter: Enter, admit: Admit) -> None:
    enter(REGISTERING, None)
    try:
        admit(plugin)
    except BaseException:
        plugin.release()
        raise


def _announce_active(plugin: LoadedPlugin, announce: Announce) -> None:
    announce(PluginState.REGISTERED, f"{plugin.info.distribution} {plugin.info.version}")
    announce(PluginState.ACTIVE, ", ".join(path.rpartition(".")[2] for path in plugin.classes))


def _open(name: str, declared: GitPlugin | LocalPlugin, ready: Installed, store: Store) -> ScopedPlugin:
    source, target = ready
    with ExitStack() as undo:
        lease = leases.acquire(target.plugin, target.needed, target.folder)
        undo.callback(lease.release)
        install_finder()
        scope = open_code(target, lease.private)
        undo.callback(scope.abandon)
        provided = {path: import_node(name, scope, path) for path in declared.provides}
        named, hooks = _entry_points(name, scope, target)
        if TORCH_LIBRARY in sys.modules:
            from cuvis_ai_core.plugins.isolation.operators import refuse_taken_operators

            refuse_taken_operators(scope)
        classes = provided | {path: found for path, found in named.items() if found not in provided.values()}
        info = _info(name, declared, source, classes, target)
        uses = store.hand_over(source.folder, target.folder)
        loaded = ScopedPlugin(declared, info, scope, lease, classes, project_folder(declared, source), hooks, uses)
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
    name: str,
    declared: GitPlugin | LocalPlugin,
    source: Source,
    classes: Mapping[str, type],
    installed: "Target | Environment",
) -> PluginInfo:
    git = isinstance(declared, GitPlugin)
    if isinstance(installed, Target):
        distribution, version = installed.plugin.name, installed.plugin.version
    else:
        distribution, version = installed.distribution, installed.version
    return PluginInfo(
        name=name,
        kind="git" if git else "local",
        source=without_credentials(declared.repo) if isinstance(declared, GitPlugin) else str(source.folder),
        tag=declared.tag if isinstance(declared, GitPlugin) else None,
        commit=source.commit,
        distribution=distribution,
        version=version,
        target=installed.folder,
        nodes=tuple(classes),
    )
