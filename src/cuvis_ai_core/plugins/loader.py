"""Plugins, from their manifest entries to node classes: each of them wholly, or not at all.

This is where plugins become classes: `preparation` has them fetched, resolved together and installed, unless they are
`ready`, and `load` imports and registers one after the other (see `loaded`). What did not change since the last load
takes a shorter way (see `recall`).
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, cast

from cuvis_ai_core._redact import without_credentials
from cuvis_ai_core.errors import DependencyConflictError, PluginLoadError
from cuvis_ai_core.plugins.apart import IMPOSSIBLE, Announcing
from cuvis_ai_core.plugins.cache.sources import Source, project_folder
from cuvis_ai_core.plugins.cache.target import Target
from cuvis_ai_core.plugins.installing.installed import Installed
from cuvis_ai_core.plugins.installing.request import InstallRequest
from cuvis_ai_core.plugins.load_errors import REGISTERING, failing
from cuvis_ai_core.plugins.loaded import Admit, PluginInfo, Ready, announce_active, load_here, register
from cuvis_ai_core.plugins.manifest import GitPlugin, LocalPlugin

if TYPE_CHECKING:
    from cuvis_ai_core.plugins.cache.environment import Environment
    from cuvis_ai_core.plugins.worker.opening import Opened


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
    installed = prepared[name]
    if isinstance(installed, PluginLoadError):
        return installed

    def explained(error: DependencyConflictError) -> DependencyConflictError:
        from cuvis_ai_core.plugins.installing.conflicts import with_all_demands

        targets = {each: found.target for each, found in prepared.items() if isinstance(found, Installed)}
        return with_all_demands(error, targets)

    try:
        ready = _ready(name, request.plugins[name], installed)
        load_here(ready, request.store, partial(request.announce, name), admit, explained)
    except PluginLoadError as error:
        return error
    return None


def _ready(name: str, declared: GitPlugin | LocalPlugin, installed: Installed) -> Ready:
    source, target = installed
    info = _info(name, declared, source, declared.provides, target)
    return Ready(info, source.folder, project_folder(declared, source), target, lambda: declared)


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
            from cuvis_ai_core.plugins.process_plugin import ProcessPlugin

            info = _info(name, declared, plugin.source, plugin.classes, plugin.environment)
            del opened[name]
            project = project_folder(declared, plugin.source)
            loaded = ProcessPlugin(declared, info, plugin.worker, plugin.classes, project, plugin.config_dirs, uses)
            register(loaded, enter, admit)
    except PluginLoadError as error:
        return error
    announce_active(loaded, partial(request.announce, name))
    return None


def _info(
    name: str,
    declared: GitPlugin | LocalPlugin,
    source: Source,
    nodes: Iterable[str],
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
        nodes=tuple(nodes),
    )
