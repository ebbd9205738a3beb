"""A declared plugin in this process: from what was installed for it to what is registered, and back."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from cuvis_ai_core.errors import DependencyConflictError
from cuvis_ai_core.plugins.cache.entries_in_use import Uses
from cuvis_ai_core.plugins.cache.store import Store
from cuvis_ai_core.plugins.cache.target_entry import Target
from cuvis_ai_core.plugins.dependencies import live_versions
from cuvis_ai_core.plugins.hooks.discovery import load_entry_point, node_path
from cuvis_ai_core.plugins.hooks.manager import NodePlugin, contribution
from cuvis_ai_core.plugins.isolation.finder import install_finder
from cuvis_ai_core.plugins.isolation.private_names import TORCH_LIBRARY, private_package
from cuvis_ai_core.plugins.isolation.scope import Scope
from cuvis_ai_core.plugins.load_failure_messages import REGISTERING, Enter, failing
from cuvis_ai_core.plugins.plugin_info import PluginInfo, PluginState
from cuvis_ai_core.plugins.private_code import import_node, is_edited, open_code, publish
from cuvis_ai_core.plugins.sys_modules_owners import unloaded

if TYPE_CHECKING:
    from cuvis_ai_core.plugins.hooks.load_events import Announce
    from cuvis_ai_core.plugins.loading.process_plugin import ProcessPlugin
    from cuvis_ai_core.plugins.manifest.manifest_schema import GitPlugin, LocalPlugin


class Ready(NamedTuple):
    """A plugin that is fetched and installed: all that is known before its code is imported.

    Attributes:
        info: What is loaded, and from where; of its nodes those that its manifest entry names.
        source: The folder of its code: its checkout, or the local path.
        project: The folder of its project: the same, or a folder in it.
        target: Its target directory.
        declared: Returns its manifest entry.
    """

    info: PluginInfo
    source: Path
    project: Path
    target: Target
    declared: "Callable[[], GitPlugin | LocalPlugin]"


class ScopedPlugin(NamedTuple):
    """A declared plugin in this process.

    Attributes:
        ready: What was known of it before.
        info: What was loaded, and from where.
        scope: Its private modules.
        lease: The dependencies that it keeps alive.
        classes: Its node classes, by the path under which they were declared.
        hooks: Its modules and objects with hook implementations, by entry-point name.
        uses: Its checkout and target directory, which count as in use in the plugin cache.
    """

    ready: Ready
    info: PluginInfo
    scope: Scope
    lease: live_versions.Lease
    classes: Mapping[str, type]
    hooks: Mapping[str, object]
    uses: Uses

    @property
    def declared(self) -> "GitPlugin | LocalPlugin":
        """Its manifest entry."""
        return self.ready.declared()

    def plugin_objects(self) -> Iterator[tuple[str, object]]:
        """Return what is registered in a manager, with the names to do it under."""
        # Asked at each call: what a hook answers belongs to who asks, and may be changed.
        yield self.info.name, NodePlugin(lambda: list(self.classes.values()))
        for name, plugin in self.hooks.items():
            yield f"{self.info.name}:{name}", plugin

    def import_node(self, path: str) -> type:
        """Import one of the plugin's classes by its public path.

        Raises:
            InvalidNodeError: There is no such class, or it is no node.
        """
        return import_node(self.info.name, self.scope, path)

    def config_folders(self) -> list[Path]:
        """Return the folders with configurations in its packages."""
        from cuvis_ai_core.plugins.configs_folder import config_folders

        return config_folders(self.classes, self.scope.package.__path__, self.ready.project)

    def release(self) -> None:
        """Let go of the modules and the dependencies."""
        # Modules first: while they stand in `sys.modules`, their dependencies count as imported.
        self.scope.release()
        unloaded()
        self.lease.release()
        self.uses.release()
        publish()

    def import_module(self, name: str) -> ModuleType:
        """Import one of the plugin's modules by its public name."""
        return self.scope.import_module(name)

    def edited(self) -> bool:
        """Tell whether its files, if it is a local one, were changed since it was loaded."""
        return is_edited(self.ready.target, self.scope)

    def owns(self, top: str) -> bool:
        """Tell whether a top-level module is the plugin's."""
        return self.scope.owns(top)

    def made(self, node_class: type) -> bool:
        """Tell whether a class is the plugin's."""
        return self.scope.name == private_package(node_class.__module__)


LoadedPlugin: TypeAlias = "ScopedPlugin | ProcessPlugin"
Admit: TypeAlias = Callable[[LoadedPlugin], None]


def load_here(
    ready: Ready,
    store: Store,
    announce: "Announce",
    admit: Admit,
    targets: Mapping[str, Target],
) -> None:
    """Import a plugin into private modules of this process, and register it.

    Args:
        ready: What is known of it.
        store: The plugin cache.
        announce: Told of the states that it enters.
        admit: Registers a loaded plugin.
        targets: The target directories of all plugins that are loaded together, by their names.

    Raises:
        PluginLoadError: It failed; everything is as it was before.
    """
    with failing(ready.info.name, announce, PluginState.IMPORTING) as enter:
        enter(PluginState.IMPORTING, ready.info.distribution)
        try:
            plugin = _opened(ready, store)
        except DependencyConflictError as error:
            from cuvis_ai_core.plugins.installing.conflicts import with_all_demands

            raise with_all_demands(error, targets) from error
        register(plugin, enter, admit)
    announce_active(plugin, announce)


def register(plugin: LoadedPlugin, enter: Enter, admit: Admit) -> None:
    """Register a loaded plugin, or let go of it."""
    enter(REGISTERING, None)
    try:
        admit(plugin)
    except BaseException:
        plugin.release()
        raise


def announce_active(plugin: LoadedPlugin, announce: "Announce") -> None:
    """Tell observers that a plugin is there."""
    announce(PluginState.REGISTERED, f"{plugin.info.distribution} {plugin.info.version}")
    announce(PluginState.ACTIVE, ", ".join(path.rpartition(".")[2] for path in plugin.classes))


def _opened(ready: Ready, store: Store) -> ScopedPlugin:
    name, target = ready.info.name, ready.target
    with ExitStack() as undo:
        lease = live_versions.acquire(target.plugin, target.needed, target.folder)
        undo.callback(lease.release)
        install_finder()
        scope = open_code(target, lease.private)
        # Not `release`: modules that ran in part must not be found by the next load.
        undo.callback(scope.abandon)
        try:
            provided = {path: import_node(name, scope, path) for path in ready.info.nodes}
            named, hooks = _entry_points(name, scope, target)
        except Exception as error:
            if lease.private:
                from cuvis_ai_core.plugins.installing.conflicts import refuse_own_copy

                refuse_own_copy(error, scope.name, lease.private, lease.reasons)
            raise
        if TORCH_LIBRARY in sys.modules:
            from cuvis_ai_core.plugins.isolation.torch_operators import refuse_taken_operators

            # After the import, whose code may have caught the refusal and gone on.
            refuse_taken_operators(scope)
        classes = provided | {path: found for path, found in named.items() if found not in provided.values()}
        info = ready.info._replace(nodes=tuple(classes))
        uses = store.hand_over(ready.source, target.folder)
        loaded = ScopedPlugin(ready, info, scope, lease, classes, hooks, uses)
        # From here on the plugin owns them.
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
