"""The node registry: built-in nodes for everybody, plugins for one registry each."""

from __future__ import annotations

import threading
import weakref
from contextlib import nullcontext, suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, SupportsIndex

from cuvis_ai_core.errors import PluginError, PluginNotLoadedError
from cuvis_ai_core.plugins.builtin_nodes import BuiltinNodes
from cuvis_ai_core.plugins.cache.cache_dir import chosen_root, default_root
from cuvis_ai_core.plugins.cache.store import Store
from cuvis_ai_core.plugins.hooks.discovery import is_path
from cuvis_ai_core.plugins.isolation.private_names import class_path
from cuvis_ai_core.plugins.loading.published_registry import PublishedRegistry
from cuvis_ai_core.plugins.loading.registered_plugins import Members
from cuvis_ai_core.plugins.loading.warm_or_cold_load import import_what_is_needed, load_together
from cuvis_ai_core.plugins.node_lookup import NodeEntry, checked_name, host_class
from cuvis_ai_core.plugins.plugin_info import PluginState

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path
    from types import TracebackType

    from cuvis_ai_core.data.readers import Reader
    from cuvis_ai_core.node.base import NodeMixin
    from cuvis_ai_core.plugins.cache.prefetch import EarlyFetch
    from cuvis_ai_core.plugins.configs_folder import Defaults
    from cuvis_ai_core.plugins.hooks.discovery import DiscoveredPlugin
    from cuvis_ai_core.plugins.hooks.manager import HookManager
    from cuvis_ai_core.plugins.loading.load_record import Recall
    from cuvis_ai_core.plugins.loading.plugin_data_modules import DataModule
    from cuvis_ai_core.plugins.loading.scoped_plugin import LoadedPlugin
    from cuvis_ai_core.plugins.loading.warm_or_cold_load import ParsedPlugins
    from cuvis_ai_core.plugins.manifest.manifest_schema import GitPlugin, LocalPlugin
    from cuvis_ai_core.plugins.plugin_info import PluginInfo


class _Getter(Protocol):
    def __call__(self, name: str, /, *, instance: NodeRegistry | None = None) -> type[NodeMixin]:
        """Return the class of that name."""
        ...


class _Get:
    """`get` on the class asks the built-ins, on an instance its plugins first; an explicit `instance=` wins.

    Args:
        importing: Whether modules of installed distributions are imported for a class in them.
    """

    def __init__(self, *, importing: bool = True) -> None:
        self._importing = importing

    def __get__(self, bound: NodeRegistry | None, owner: type[NodeRegistry]) -> _Getter:
        def get(class_identifier: str, *, instance: NodeRegistry | None = None) -> type[NodeMixin]:  # a published name
            registry = bound if instance is None else instance
            if registry is None:
                return owner._get_builtin(class_identifier, importing=self._importing)  # noqa: SLF001
            return registry._get_node(class_identifier, importing=self._importing)  # noqa: SLF001

        return get


class NodeRegistry(PublishedRegistry, BuiltinNodes):
    """Node classes by name: the built-in ones, and those of the plugins of this instance.

    `NodeRegistry.get(name)` and `registry.get(name)` take a short name or a full path and raise `NodeNotFoundError`
    or `AmbiguousNodeError`. An instance asks its plugins, then the built-in nodes, then installed distributions.
    `known` does the same for a pipeline that is only looked at: it imports nothing of these.

    An instance is a context manager that unloads its plugins in the end. Two instances share nothing but the
    built-in nodes, and may hold two versions of one plugin.

    Args:
        discover: Whether pip-installed plugins (entry points of group `cuvis_ai.nodes`) take part.
        block: Name or names of entry points or distributions that do not.
        offline: Whether loading may open no connection; `CUVIS_OFFLINE=1` says so for all registries.
    """

    _cache_dir: ClassVar[Path | None] = None

    get = _Get()
    known = _Get(importing=False)

    def __init__(self, *, discover: bool = True, block: Iterable[str] = (), offline: bool = False) -> None:
        self._loading = threading.RLock()
        self._offline = offline
        super().__init__()
        blocked = frozenset([block] if isinstance(block, str) else block)
        self._members = Members(self._builtin_registry, blocked, discovering=discover)
        # A registry that is dropped without being closed lets go of its plugins too.
        weakref.finalize(self, _release_all, self._members.declared).atexit = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        raise PluginError(
            "A NodeRegistry cannot be copied or pickled: its plugins are loaded in this process.",
            hint="Make one where it is used: NodeRegistry(), and load_plugins('plugins.yaml').",
        )

    # The plugin cache: one for all instances.

    @classmethod
    def set_cache_dir(cls, path: str | os.PathLike[str]) -> None:
        """Choose the folder of the plugin cache for this process.

        Raises:
            StoreError: The path is empty, or names the home of a user that there is not.
        """
        cls._cache_dir = chosen_root(path)

    @classmethod
    def get_cache_dir(cls) -> Path:
        """Return the folder of the plugin cache: the one set here, `CUVIS_PLUGINS_DIR`, or `~/.cuvis_plugins`."""
        return cls._cache_dir or default_root()

    @classmethod
    def clear_plugin_cache(cls, name: str | None = None) -> None:
        """Remove from the cache what belongs to one plugin, or everything; what is not there is fine.

        What a process uses, this one included, is kept, with a logged warning that names the process.

        Raises:
            StoreError: Something cannot be removed.
        """
        from cuvis_ai_core.plugins.cache.housekeeping import clear

        clear(cls._store(), name)

    @classmethod
    def _store(cls) -> Store:
        return Store(cls.get_cache_dir())

    # Plugins of this instance.

    def load_plugin(self, name: str, config: Mapping[str, Any] | GitPlugin | LocalPlugin) -> None:
        """Load one declared plugin; loading the same configuration again does nothing.

        Args:
            name: Name of the plugin, a Python identifier.
            config: As in a manifest: `repo` and `tag`, or `path` (relative to the working directory), and `provides`.

        Raises:
            ManifestError: The configuration breaks a rule.
            PluginConflictError: The name is loaded with another configuration.
            PluginLoadError: A step failed; everything is as it was before.
        """

        def parsed() -> ParsedPlugins:
            from pathlib import Path

            from cuvis_ai_core.plugins.cache.policy_checks import under_policy
            from cuvis_ai_core.plugins.manifest.manifest_schema import parse_plugin

            return under_policy({name: parse_plugin(name, config, base=Path())}), None

        def early() -> AbstractContextManager[EarlyFetch | None]:
            from cuvis_ai_core.plugins.cache.prefetch import fetching_early

            return fetching_early(name, config, store, import_what_is_needed)

        def recalled() -> Recall:
            from cuvis_ai_core.plugins.loading.load_record import of_entry

            return of_entry(name, config, store)

        store = self._store()
        has_to_fetch = store.lacks(name, config) and not (self._offline or name in self._members.declared)
        _, failed = self._load(recalled, store, parsed, early if has_to_fetch else nullcontext)
        if failed:
            raise failed[name]

    def load_plugins(self, path: str | os.PathLike[str], *, only: Iterable[str] | None = None) -> int:
        """Load the plugins of a manifest and return how many are loaded.

        With a lock file beside the manifest, exactly what is locked is loaded.

        Args:
            path: The manifest.
            only: Names of the plugins to load; without them, all.

        Raises:
            ManifestError: The manifest cannot be read, or has no plugin of that name; nothing was loaded.
            LockError: The lock file cannot be read, or differs from the manifest; nothing was loaded.
            PluginsLoadError: Some plugins failed; the others stay loaded.
        """
        names = None if only is None else list(only)

        def recalled() -> Recall:
            from cuvis_ai_core.plugins.loading.load_record import of_manifest

            return of_manifest(path, names, store)

        def parsed() -> ParsedPlugins:
            from cuvis_ai_core.plugins.cache.policy_checks import under_policy
            from cuvis_ai_core.plugins.lock.locked_versions import versions_for
            from cuvis_ai_core.plugins.manifest.manifest_schema import manifest_path, read_manifest

            manifest = read_manifest(manifest_path(path))
            plugins = under_policy(manifest.plugins if names is None else manifest.named(names))
            return plugins, versions_for(manifest_path(path), under_policy(manifest.plugins))

        store = self._store()
        loaded, failed = self._load(recalled, store, parsed)
        if failed:
            from cuvis_ai_core.plugins.load_failure_messages import not_loaded
            from cuvis_ai_core.plugins.manifest.manifest_schema import manifest_path

            raise not_loaded(manifest_path(path), loaded, failed)
        return len(loaded)

    def unload_plugin(self, name: str) -> None:
        """Unload a declared plugin; nodes that live on keep working, but for those in a process of its own, which ends.

        Of one that `register_plugin` found installed, only its short names go.

        Raises:
            PluginNotLoadedError: No plugin of that name is loaded.
        """
        with self._loading:
            if self._forget_installed(name):
                return
            plugin = self._declared(name)
            self._members.dismiss(plugin)
            plugin.release()
        self._members.announce(name, PluginState.UNLOADED, "")

    def clear_plugins(self) -> None:
        """Unload all declared plugins."""
        for name in self.list_plugins():
            with suppress(PluginNotLoadedError):  # Somebody else may be unloading too.
                self.unload_plugin(name)

    def close(self) -> None:
        """Unload all declared plugins; the registry stays usable."""
        self.clear_plugins()

    def list_plugins(self) -> list[str]:
        """Return the names of the declared plugins that are loaded, then of those that are registered as installed."""
        return [*self._members.declared, *self._installed]

    def plugin_info(self, name: str) -> PluginInfo:
        """Return what was loaded under a name, and from where.

        Raises:
            PluginNotLoadedError: No declared plugin of that name is loaded.
        """
        if name in self._installed:
            return self._installed[name].info
        info = self._declared(name).info
        nodes = tuple(entry.path for entry in self._members.catalogue().entries() if entry.plugin == name)
        return info._replace(nodes=nodes)

    def edited(self, name: str) -> bool | None:
        """Tell whether the files of a local plugin were changed since it was loaded; what runs is the code as it was.

        Returns:
            None for a plugin in a process of its own: nobody here knows.

        Raises:
            PluginNotLoadedError: No declared plugin of that name is loaded.
        """
        return self._declared(name).edited()

    def plugin_of(self, node_class: type) -> PluginInfo | None:
        """Return the declared plugin that a node class comes from; None for all other classes."""
        found = (name for name, each in list(self._members.declared.items()) if each.made(node_class))
        return next(map(self.plugin_info, found), None)

    @property
    def discovered_plugins(self) -> Mapping[str, DiscoveredPlugin]:
        """The pip-installed plugins that take part, by entry-point name; none is imported for this."""
        return MappingProxyType(self._members.discovered)

    @property
    def failed_plugins(self) -> Mapping[str, Exception]:
        """The plugins that could not be loaded, with the reason; a later success removes the entry."""
        return MappingProxyType(dict(self._members.failed))

    # What plugins contribute.

    def nodes(self) -> list[NodeEntry]:
        """Return all nodes that are known without importing plugin code, built-in ones first."""
        builtin = [
            NodeEntry(name, known if isinstance(known, str) else class_path(known), None)
            for name, known in sorted(self._builtin_registry.items())
        ]
        return builtin + self._members.catalogue().entries()

    def _repr_html_(self) -> str:
        """Show this in a notebook: the nodes that are known without importing plugin code, and what failed."""
        from cuvis_ai_core.pages.html import element, table

        rows = [(each.name, each.plugin or "built in", each.path) for each in self.nodes()]
        failed = [element("p", f"{name} failed: {error}") for name, error in self.failed_plugins.items()]
        return element("div", element("strong", "Nodes"), table(("name", "plugin", "path"), rows), *failed)

    def public_path(self, node_class: type) -> str:
        """Return the full path of a class as people know it and as pipeline files name it."""
        declared = self._members.catalogue().path_of(node_class)
        return declared or class_path(node_class)

    def config_dirs(self) -> list[Path]:
        """Return the directories in which plugins keep pipeline files.

        Raises:
            HookError: A plugin answered something else.
        """
        return list(self.config_owners())

    def config_owners(self) -> Mapping[Path, str]:
        """Return these directories, each with the name of the plugin; of a discovered one, of its distribution.

        Raises:
            HookError: A plugin answered something else.
        """
        from cuvis_ai_core.plugins.loading.configs_and_readers import config_owners

        return config_owners(self._members)

    def node_defaults(self, name: str) -> Defaults | None:
        """Return the parameters that the plugin of a node gives to it in its `default.yaml`, if it does.

        Args:
            name: Short name or full path of the node.

        Raises:
            AmbiguousNodeError: Several plugins provide it.
            HookError: A plugin answered something else.
            PipelineError: The file is broken.
        """
        from cuvis_ai_core.plugins.loading.configs_and_readers import node_defaults

        return node_defaults(self._members, checked_name(name))

    def cube_readers(self) -> dict[str, Reader]:
        """Return the cube readers by file suffix (lower case, with its dot); a plugin's beats a built-in one.

        Raises:
            HookError: A plugin answered something else.
        """
        from cuvis_ai_core.plugins.loading.configs_and_readers import cube_readers

        return cube_readers(self._members)

    def cube_reader_names(self) -> list[tuple[str, str, str]]:
        """Return suffix, plugin and reader of each format that is read, none imported; a plugin's beats a built-in one.

        Raises:
            HookError: A plugin answered something else.
        """
        from cuvis_ai_core.plugins.loading.configs_and_readers import reader_names

        return reader_names(self._members)

    def data_module(self, name: str) -> DataModule | None:
        """Return a data module of a declared plugin that is loaded, not yet imported; None where no plugin has it.

        Args:
            name: Its name in the manifest, or the full path of its class.

        Raises:
            PluginConflictError: Several plugins have it.
        """
        from cuvis_ai_core.plugins.loading.plugin_data_modules import data_module

        return data_module(self._members, name)

    @property
    def hooks(self) -> HookManager:
        """The pluggy manager of this registry: pipelines tell its observers what happens."""
        return self._members.hooks()

    def register_hooks(self, plugin: object, name: str | None = None) -> None:
        """Register an object with hook implementations, such as an observer, in this registry.

        Raises:
            HookError: An implementation does not fit its hook.
        """
        self._members.add(plugin, name or f"{type(plugin).__name__}-{id(plugin):x}")

    def unregister_hooks(self, plugin: object) -> None:
        """Take an object out that `register_hooks` put in; from now on it is told of nothing.

        Raises:
            HookError: It is not registered here.
        """
        self._members.take_out(plugin)

    def _get_node(self, name: str, *, importing: bool) -> type:
        self._members.complete()
        nodes = self._members.catalogue()
        entry = nodes.find(checked_name(name))
        if entry is not None:
            return nodes.load(entry)
        found = self._builtin(name) or host_class(name, importing=importing)
        if found is not None:
            return found
        last_resort = None if self._has_package(name) else nodes.by_last_component(name)
        if last_resort is not None:
            return nodes.load(last_resort)
        raise self._members.not_found(name, {*self._builtin_registry, *nodes.names()})

    def _has_package(self, name: str) -> bool:
        """Tell whether a name is no dotted path, or the package that it starts with exists somewhere."""
        import importlib.util
        import sys

        top = name.partition(".")[0]
        if not is_path(name) or any(each.owns(top) for each in list(self._members.declared.values())):
            return True
        try:
            return importlib.util.find_spec(top) is not None
        except (ImportError, ValueError, AttributeError):
            # A module without a spec, such as `__main__`, is there all the same.
            return top in sys.modules

    def _load(
        self,
        recalled: Callable[[], Recall],
        store: Store,
        parsed: Callable[[], ParsedPlugins],
        early: Callable[[], AbstractContextManager[EarlyFetch | None]] = nullcontext,
    ) -> tuple[list[str], dict[str, Exception]]:
        """Load plugins together, one such call at a time."""
        with self._loading:
            return load_together(self._members, recalled, store, parsed, early, offline=self._offline)

    def _declared(self, name: str) -> LoadedPlugin:
        declared = self._members.declared
        if name not in declared:
            from cuvis_ai_core._nearest import did_you_mean

            raise PluginNotLoadedError(
                f"No plugin '{name}' is loaded. Loaded plugins: {', '.join(declared) or 'none'}."
                + did_you_mean(name, declared),
                plugin=name,
            )
        return declared[name]


def _release_all(loaded: dict[str, LoadedPlugin]) -> None:
    while loaded:
        loaded.popitem()[1].release()
