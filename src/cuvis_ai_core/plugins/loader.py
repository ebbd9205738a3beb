"""Plugins, from their manifest entries to node classes: each of them wholly, or not at all.

This is where plugins become classes, top to bottom: `load` has them installed, and then each is imported here, or
taken over from a process of its own, and registered.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeAlias

from cuvis_ai_core._redact import without_credentials
from cuvis_ai_core.errors import DependencyConflictError, PluginError, PluginLoadError
from cuvis_ai_core.plugins.announcing import Announce, Announcing
from cuvis_ai_core.plugins.cache.sources import Source, project_folder
from cuvis_ai_core.plugins.cache.store import Store
from cuvis_ai_core.plugins.cache.target import Target
from cuvis_ai_core.plugins.children import publish
from cuvis_ai_core.plugins.code import import_node, open_code
from cuvis_ai_core.plugins.dependencies import leases
from cuvis_ai_core.plugins.discovery import load_entry_point, node_path
from cuvis_ai_core.plugins.installing.installed import (
    NEED_PROCESS,
    Installed,
    Place,
    find_installed,
    first_step,
    with_processes,
)
from cuvis_ai_core.plugins.installing.request import InstallRequest
from cuvis_ai_core.plugins.isolation.finder import install_finder
from cuvis_ai_core.plugins.isolation.private_names import TORCH_LIBRARY
from cuvis_ai_core.plugins.isolation.scope import Scope
from cuvis_ai_core.plugins.load_errors import REGISTERING, Enter, failing
from cuvis_ai_core.plugins.loaded import LoadedPlugin, PluginInfo, ProcessPlugin, ScopedPlugin
from cuvis_ai_core.plugins.manager import PluginState, contribution
from cuvis_ai_core.plugins.manifest import GitPlugin, LocalPlugin

if TYPE_CHECKING:
    from cuvis_ai_core.plugins.worker.opening import Opened

Admit: TypeAlias = Callable[[LoadedPlugin], None]
_Installed: TypeAlias = Mapping[str, Installed | PluginLoadError]


def load(request: InstallRequest, wanted: Sequence[str], admit: Admit) -> dict[str, PluginLoadError]:
    """Install plugins, import and register them, and return why those failed that did; each fails for itself.

    Args:
        request: Plugins that are to be there together.
        wanted: Names of those that are to be loaded; the others are loaded already.
        admit: Registers a loaded plugin.
    """
    announcing = Announcing(request.announce, request.plugins, wanted)
    request = with_processes(request._replace(announce=announcing), wanted)
    announcing.decide(request.processes)
    installed = _install(request)
    failed: dict[str, PluginLoadError] = {}
    with _opened({name: installed[name] for name in request.processes}, {}, request) as opened:
        for name in wanted:
            if name in request.processes:
                error = _take_over(name, request, opened, admit)
            else:
                error = _load_here(name, request, installed, admit)
                if error is not None and request.plugins[name].isolation == "auto":
                    error = _load_in_process_instead(name, error, request, announcing, admit)
            if error is not None:
                failed[name] = error
    return failed


def _install(request: InstallRequest) -> _Installed:
    """Return where each plugin is installed, or why it is not."""
    refused = _refused(request)
    request = request._replace(plugins={name: each for name, each in request.plugins.items() if name not in refused})
    installed: _Installed = find_installed(request)
    if not installed and request.plugins:
        # What fetching and building need is imported when there is something to do.
        from cuvis_ai_core.plugins.installing.installer import Installer

        installed = Installer(request).run()
    return {**refused, **installed}


def _refused(request: InstallRequest) -> dict[str, PluginLoadError]:
    """Return the errors of those plugins that cannot have a process of their own on this system."""
    refused: dict[str, PluginLoadError] = {}
    for name in request.processes if request.processes and find_spec("fcntl") is None else ():
        try:
            with failing(name, partial(request.announce, name), first_step(request.plugins[name])):
                raise PluginError(
                    f"Plugin '{name}' asks for a process of its own, which is available on Linux and macOS only.",
                    hint="Use isolation: scoped (the default).",
                    plugin=name,
                )
        except PluginLoadError as error:
            refused[name] = error
    return refused


def _load_here(name: str, request: InstallRequest, installed: _Installed, admit: Admit) -> PluginLoadError | None:
    """Import and register a plugin in this process."""
    announce = partial(request.announce, name)
    found = installed[name]
    if isinstance(found, PluginLoadError):
        return found
    try:
        with failing(name, announce, PluginState.IMPORTING) as enter:
            target = _target(found)
            enter(PluginState.IMPORTING, target.plugin.name)
            try:
                plugin = _import(name, request.plugins[name], found.source, target, request.store)
            except DependencyConflictError as error:
                from cuvis_ai_core.plugins.installing.conflicts import with_all_demands

                raise with_all_demands(error, _targets(installed)) from error
            _register(plugin, enter, admit)
    except PluginLoadError as error:
        return error
    _announce_active(plugin, announce)
    return None


def _load_in_process_instead(
    name: str, error: PluginLoadError, request: InstallRequest, announcing: Announcing, admit: Admit
) -> PluginLoadError | None:
    """Load a plugin with `isolation: auto` in a process of its own, if that is what it could not do without."""
    why = error.__cause__
    if not isinstance(why, NEED_PROCESS):
        announcing.fail(name)
        return error
    announcing.decide({name})
    request = request._replace(plugins={name: request.plugins[name]}, processes=frozenset({name}))
    with _opened(_install(request), {name: why}, request) as opened:
        return _take_over(name, request, opened, admit)


@contextmanager
def _opened(
    installed: _Installed, reasons: Mapping[str, BaseException], request: InstallRequest
) -> "Iterator[dict[str, Opened | PluginLoadError]]":
    """Have plugins ready in processes of their own, by name; what nobody took over in the end is closed."""
    if not installed:
        yield {}
        return
    from cuvis_ai_core.plugins.worker.opening import Opened, open_plugins

    opened = open_plugins(installed, reasons, request)
    try:
        yield opened
    finally:
        for left in opened.values():
            if isinstance(left, Opened):
                left.worker.close()


def _take_over(
    name: str, request: InstallRequest, opened: "dict[str, Opened | PluginLoadError]", admit: Admit
) -> PluginLoadError | None:
    """Register a plugin that is ready in a process of its own."""
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


def _import(name: str, declared: GitPlugin | LocalPlugin, source: Source, target: Target, store: Store) -> ScopedPlugin:
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


def _target(installed: Installed) -> Target:
    assert isinstance(installed.place, Target)
    return installed.place


def _targets(installed: _Installed) -> dict[str, Target]:
    """Return the target directories of all plugins that have one."""
    places = {name: each.place for name, each in installed.items() if isinstance(each, Installed)}
    return {name: place for name, place in places.items() if isinstance(place, Target)}


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
    installed: Place,
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
