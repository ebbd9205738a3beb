"""One plugin, from its manifest entry to node classes: all of it, or nothing.

This is where a plugin becomes classes: `load` is the list of steps.
"""

import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from cuvis_ai_core._redact import without_credentials
from cuvis_ai_core.errors import InvalidNodeError, PluginError, PluginLoadError
from cuvis_ai_core.node.base import is_node_class
from cuvis_ai_core.plugins import dependencies
from cuvis_ai_core.plugins.discovery import load_entry_point, node_path
from cuvis_ai_core.plugins.finder import install_finder
from cuvis_ai_core.plugins.manager import NodePlugin, PluginState
from cuvis_ai_core.plugins.manifest import GitPlugin, LocalPlugin
from cuvis_ai_core.plugins.public_names import withdraw_unused
from cuvis_ai_core.plugins.scope import PREFIX, Scope, open_scope
from cuvis_ai_core.plugins.sources import Source, content_of, git_source, local_source
from cuvis_ai_core.plugins.store import Store, short_hash
from cuvis_ai_core.plugins.target import Target, target_for_this_host

Announce = Callable[[PluginState, str], None]
"""Tells observers that a plugin entered a state, with a detail to show."""


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
    """

    declared: GitPlugin | LocalPlugin
    info: PluginInfo
    scope: Scope
    lease: dependencies.Lease
    classes: Mapping[str, type]
    hooks: Mapping[str, object]

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
        return _import_node(self.info.name, self.scope, path)

    def release(self) -> None:
        """Let go of the modules and the dependencies."""
        self.scope.release()
        withdraw_unused()
        self.lease.release()


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
        source = _source(name, declared, store, enter)
        enter(PluginState.INSTALLING, None)
        target = _target(name, declared, source, store, enter)
        enter(PluginState.IMPORTING, target.plugin.name)
        lease = dependencies.acquire(target.plugin, target.needed, target.folder)
        undo.callback(lease.release)
        install_finder()
        undo.callback(withdraw_unused)
        scope = _scope(name, declared, source, target)
        undo.callback(scope.abandon)
        provided = {path: _import_node(name, scope, path) for path in declared.provides}
        named, hooks = _entry_points(name, scope, target)
        classes = provided | {path: found for path, found in named.items() if found not in provided.values()}
        loaded = LoadedPlugin(declared, _info(name, declared, source, target, classes), scope, lease, classes, hooks)
        undo.pop_all()
    return loaded


@contextmanager
def failing(name: str, announce: Announce) -> Iterator[Callable[[PluginState, str | None], None]]:
    """Turn whatever goes wrong into the error of a plugin that failed, with the state that it was in.

    Raises:
        PluginLoadError: Something went wrong.
    """
    step = PluginState.DOWNLOADING

    def enter(state: PluginState, detail: str | None) -> None:
        nonlocal step
        step = state
        if detail is not None:
            announce(state, detail)

    try:
        yield enter
    except (Exception, SystemExit) as error:
        announce(PluginState.FAILED, str(step))
        # People know public names; the private parent package is ours.
        message = re.sub(rf"{PREFIX}\w+\.", "", getattr(error, "message", f"{type(error).__name__}: {error}"))
        raise PluginLoadError(
            f"Failed to load plugin '{name}' ({step}): {message}", hint=_next_step(error), plugin=name, step=str(step)
        ) from error


def _next_step(error: BaseException) -> str | None:
    if isinstance(error, ModuleNotFoundError) and not isinstance(error, PluginError):
        return "If that is a package of its own, add it to the dependencies in the plugin's pyproject.toml."
    return getattr(error, "hint", None)


def _refuse_process(declared: GitPlugin | LocalPlugin) -> None:
    if declared.isolation == "process":
        raise PluginError(
            "isolation: process is not available in this version of cuvis-ai-core.",
            hint="Use isolation: scoped (the default).",
        )


def _source(name: str, declared: GitPlugin | LocalPlugin, store: Store, enter: Announce) -> Source:
    if isinstance(declared, LocalPlugin):
        return local_source(declared.path)

    def downloading(detail: str) -> None:
        enter(PluginState.DOWNLOADING, detail)
        # While git waits for the network, there is time to import what building needs.
        threading.Thread(target=import_module, args=("cuvis_ai_core.plugins.installer",), daemon=True).start()

    return git_source(name, declared.repo, declared.tag, store, downloading)


def _target(name: str, declared: GitPlugin | LocalPlugin, source: Source, store: Store, announce: Announce) -> Target:
    place = store.targets(name, content_of(declared, source))
    found = target_for_this_host(place)
    if found is not None:
        return found
    # What building needs is imported when something has to be built.
    from cuvis_ai_core.plugins.installer import Installation

    return Installation(name, declared, source, store, announce).run(place)


def _scope(name: str, declared: GitPlugin | LocalPlugin, source: Source, target: Target) -> Scope:
    """Open the scope of this content: for a local plugin, the code as it is on disk now."""
    if isinstance(declared, GitPlugin):
        key, title = str(target.folder), f"{name}_{declared.tag}"
    else:
        key, title = f"{target.folder} {_code_state(target)}", f"{name}_{short_hash(str(source.folder))}"
    return open_scope(key, title, target.search_path, frozenset(target.code), editable=source.commit is None)


def _code_state(target: Target) -> str:
    """Return a hash of names, sizes and times of a local plugin's files."""
    files: list[str] = []
    for top, place in target.code.items():
        folder = os.path.join(place or target.folder, top)  # noqa: PTH118 - walks every file of a plugin at every load
        if os.path.isdir(folder):  # noqa: PTH112
            files += _files_below(folder)
        else:
            files += [_file_state(f"{folder}.py")]
    return short_hash(*sorted(files))


def _files_below(folder: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                if entry.name != "__pycache__":
                    yield from _files_below(entry.path)
            else:
                yield _file_state(entry.path)


def _file_state(path: str) -> str:
    try:
        state = os.stat(path)  # noqa: PTH116
    except OSError:
        return f"{path} is gone"
    return f"{path} {state.st_mtime_ns} {state.st_size}"


def _entry_points(name: str, scope: Scope, target: Target) -> tuple[dict[str, type], dict[str, object]]:
    classes: dict[str, type] = {}
    hooks: dict[str, object] = {}
    for point, value in target.entry_points.items():
        path = node_path(point, value)
        if path is None:
            hooks[point] = load_entry_point(value, scope.import_module)
        else:
            classes[path] = _import_node(name, scope, path)
    return classes, hooks


def _import_node(name: str, scope: Scope, path: str) -> type:
    module_name, _, class_name = path.rpartition(".")
    module = scope.import_module(module_name)
    found = getattr(module, class_name, None)
    if is_node_class(found):
        assert isinstance(found, type)
        return found
    if found is None:
        from difflib import get_close_matches

        near = get_close_matches(class_name, vars(module), 1)
        what, hint = f"module '{module_name}' has no '{class_name}'", "Correct 'provides' in the manifest."
        hint = f"Did you mean '{module_name}.{near[0]}'? {hint}" if near else hint
    else:
        what = f"'{path}' is no node class: it lacks INPUT_SPECS, OUTPUT_SPECS or forward"
        hint = "Derive the class from cuvis_ai_core.node.ArrayNode and declare its ports."
    raise InvalidNodeError(f"Plugin '{name}': {what}.", hint=hint, node=path, plugin=name)


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
