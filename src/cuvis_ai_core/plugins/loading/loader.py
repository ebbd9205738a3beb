"""Plugins, from their manifest entries to node classes: each of them wholly, or not at all.

This is where plugins become classes, top to bottom: `load` has them installed, and then each is imported here, or
taken over from a process of its own, and registered. What did not change since its last load takes a shorter way (see
`load_record`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeAlias

from cuvis_ai_core._redact import without_credentials
from cuvis_ai_core.errors import PluginError, PluginLoadError
from cuvis_ai_core.plugins.cache import policy_checks
from cuvis_ai_core.plugins.cache.sources import Source, project_folder
from cuvis_ai_core.plugins.cache.target_entry import Target
from cuvis_ai_core.plugins.hooks.load_events import Announcement, Announcing
from cuvis_ai_core.plugins.installing.already_installed import (
    NEED_PROCESS,
    Installed,
    Place,
    find_installed,
    first_step,
    with_processes,
)
from cuvis_ai_core.plugins.installing.install_request import InstallRequest
from cuvis_ai_core.plugins.load_failure_messages import REGISTERING, failing
from cuvis_ai_core.plugins.manifest.manifest_schema import GitPlugin, LocalPlugin

if TYPE_CHECKING:
    from cuvis_ai_core.plugins.loading.scoped_plugin import Admit
    from cuvis_ai_core.plugins.plugin_info import PluginInfo
    from cuvis_ai_core.plugins.worker.worker_setup import Opened

_Installed: TypeAlias = Mapping[str, Installed | PluginLoadError]


def load(request: InstallRequest, wanted: Sequence[str], admit: "Admit") -> dict[str, PluginLoadError]:
    """Install plugins, import and register them, and return why those failed that did; each fails for itself.

    Args:
        request: Plugins that are to be there together.
        wanted: Names of those that are to be loaded; the others are loaded already.
        admit: Registers a loaded plugin.
    """
    announcing = Announcing(request.announce, request.plugins, wanted)
    # Decided before anything is installed: the two kinds of places need different versions.
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
    refused = _refused(_refuse_process, {name: request.plugins[name] for name in request.processes}, request.announce)
    request = request._replace(plugins={name: each for name, each in request.plugins.items() if name not in refused})
    installed: _Installed = find_installed(request)
    if not installed and request.plugins:
        # What fetching and building need is imported when there is something to do.
        from cuvis_ai_core.plugins.installing.installer import Installer

        installed = Installer(request).run()
    return {**refused, **installed}


def refused_unlocked(
    plugins: Mapping[str, GitPlugin | LocalPlugin], announce: Announcement
) -> dict[str, PluginLoadError]:
    """Return the errors of plugins without a lock file, where the policy asks for one."""
    return _refused(policy_checks.refuse_unlocked, plugins, announce)


def _refused(
    check: Callable[[str], None], plugins: Mapping[str, GitPlugin | LocalPlugin], announce: Announcement
) -> dict[str, PluginLoadError]:
    """Return the errors of those plugins that a check refuses by their names."""
    refused: dict[str, PluginLoadError] = {}
    for name, declared in plugins.items():
        try:
            with failing(name, partial(announce, name), first_step(declared)):
                check(name)
        except PluginLoadError as error:
            refused[name] = error
    return refused


def _refuse_process(name: str) -> None:
    # Windows: sockets that carry handles, and sealed memory, are POSIX.
    if find_spec("fcntl") is None:
        raise PluginError(
            f"Plugin '{name}' asks for a process of its own, which is available on Linux and macOS only.",
            hint="Use isolation: scoped (the default).",
            plugin=name,
        )


def _load_here(name: str, request: InstallRequest, installed: _Installed, admit: "Admit") -> PluginLoadError | None:
    """Import and register a plugin in this process."""
    from cuvis_ai_core.plugins.loading.scoped_plugin import Ready, load_here

    found = installed[name]
    if isinstance(found, PluginLoadError):
        return found
    try:
        targets = _targets(installed)
        declared, source, target = request.plugins[name], found.source, targets[name]
        info = _info(name, declared, source, declared.provides, target)
        ready = Ready(info, source.folder, project_folder(declared, source), target, lambda: declared)
        load_here(ready, request.store, partial(request.announce, name), admit, targets)
    except PluginLoadError as error:
        return error
    return None


def _load_in_process_instead(
    name: str, error: PluginLoadError, request: InstallRequest, announcing: Announcing, admit: "Admit"
) -> PluginLoadError | None:
    """Load a plugin with `isolation: auto` in a process of its own, if that is what it could not do without."""
    why = error.__cause__
    # A bug in the plugin would be the same in a process, and be told later.
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
    from cuvis_ai_core.plugins.worker.worker_setup import Opened, open_plugins

    opened = open_plugins(installed, reasons, request)
    try:
        yield opened
    finally:
        for left in opened.values():
            if isinstance(left, Opened):
                left.worker.close()


def _take_over(
    name: str, request: InstallRequest, opened: "dict[str, Opened | PluginLoadError]", admit: "Admit"
) -> PluginLoadError | None:
    """Register a plugin that is ready in a process of its own."""
    from cuvis_ai_core.plugins.loading.scoped_plugin import announce_active, register

    plugin, declared = opened[name], request.plugins[name]
    if isinstance(plugin, PluginLoadError):
        return plugin
    try:
        with failing(name, partial(request.announce, name), REGISTERING) as enter:
            uses = request.store.hand_over(plugin.source.folder, plugin.environment.folder)
            info = _info(name, declared, plugin.source, plugin.classes, plugin.environment)
            # Taken over: what is left in the mapping is closed at the end.
            del opened[name]
            project = project_folder(declared, plugin.source)
            from cuvis_ai_core.plugins.loading.process_plugin import ProcessPlugin

            loaded = ProcessPlugin(declared, info, plugin.worker, plugin.classes, project, plugin.config_dirs, uses)
            register(loaded, enter, admit)
    except PluginLoadError as error:
        return error
    announce_active(loaded, partial(request.announce, name))
    return None


def _targets(installed: _Installed) -> dict[str, Target]:
    """Return the target directories of all plugins that have one."""
    places = {name: each.place for name, each in installed.items() if isinstance(each, Installed)}
    return {name: place for name, place in places.items() if isinstance(place, Target)}


def _info(
    name: str,
    declared: GitPlugin | LocalPlugin,
    source: Source,
    nodes: Iterable[str],
    installed: Place,
) -> "PluginInfo":
    from cuvis_ai_core.plugins.plugin_info import PluginInfo

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
