"""The node registry: built-in nodes for everybody, plugins for one registry each."""

import os
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Self

from cuvis_ai_core.builtin import BUILTIN_NODES
from cuvis_ai_core.errors import (
    DuplicateNodeError,
    PluginConflictError,
    PluginLoadError,
    PluginNotLoadedError,
    PluginsLoadError,
)
from cuvis_ai_core.node.base import is_node_class
from cuvis_ai_core.plugins import contributions
from cuvis_ai_core.plugins.catalogue import NodeEntry, checked_name, host_class, not_found
from cuvis_ai_core.plugins.discovery import DiscoveredPlugin, is_path
from cuvis_ai_core.plugins.manager import PluginState, class_path, no_node
from cuvis_ai_core.plugins.members import Members
from cuvis_ai_core.plugins.node_view import PluginNodes
from cuvis_ai_core.plugins.private_names import PREFIX, private_package
from cuvis_ai_core.plugins.store import Store, chosen_root, default_root

if TYPE_CHECKING:
    from cuvis_ai_core.data import Cube
    from cuvis_ai_core.plugins.loader import LoadedPlugin, PluginInfo
    from cuvis_ai_core.plugins.manifest import GitPlugin, LocalPlugin


class _Get:
    """`get` on the class asks the built-ins, on an instance its plugins first; an explicit `instance=` wins."""

    def __get__(self, bound: "NodeRegistry | None", owner: type["NodeRegistry"]) -> Callable[..., type]:
        def get(name: str, *, instance: "NodeRegistry | None" = None) -> type:
            registry = bound if instance is None else instance
            return owner._get_builtin(name) if registry is None else registry._get_node(name)  # noqa: SLF001

        return get


class NodeRegistry:
    """Node classes by name: the built-in ones, and those of the plugins of this instance.

    `NodeRegistry.get(name)` and `registry.get(name)` take a short name or a full path and raise `NodeNotFoundError`
    or `AmbiguousNodeError`. An instance asks its plugins, then the built-in nodes, then the import system.

    An instance is a context manager that unloads its plugins in the end. Two instances share nothing but the
    built-in nodes, and may hold two versions of one plugin.

    Args:
        discover: Whether pip-installed plugins (entry points of group `cuvis_ai.nodes`) take part.
        block: Name or names of entry points or distributions that do not.
    """

    _builtin_registry: ClassVar[dict[str, type | str]] = dict(BUILTIN_NODES)
    _cache_dir: ClassVar[Path | None] = None

    get = _Get()

    def __init__(self, *, discover: bool = True, block: Iterable[str] = ()) -> None:
        self._loading = threading.RLock()
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

    # Built-in nodes and the cache: shared by all instances.

    @classmethod
    def register(cls, node_class: type) -> type:
        """Register a class as a built-in node (a decorator).

        A class of a declared plugin is returned as it is: what is built in is there for every registry, and such a
        class only where its plugin is loaded. The plugin's `provides`, or its hooks, contribute it.

        Raises:
            DuplicateNodeError: There is another built-in node of that name.
            InvalidNodeError: The class is no node.
        """
        if not is_node_class(node_class):
            raise no_node(getattr(node_class, "__qualname__", repr(node_class)), None)
        if node_class.__module__.startswith(PREFIX):
            return node_class
        name, path = node_class.__name__, class_path(node_class)
        known = cls._builtin_registry.get(name)
        if known not in (None, node_class, path):
            raise DuplicateNodeError(
                f"A built-in node '{name}' is registered already: {known!r}; {path} cannot take its name.",
                hint="Rename the class, or contribute it by a plugin.",
                node=name,
            )
        cls._builtin_registry[name] = node_class
        return node_class

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
        from cuvis_ai_core.plugins.housekeeping import clear

        clear(cls._store(), name)

    @classmethod
    def _store(cls) -> Store:
        return Store(cls.get_cache_dir())

    @classmethod
    def _get_builtin(cls, name: str) -> type:
        found = cls._builtin(checked_name(name)) or host_class(name)
        if found is None:
            raise not_found(name, cls._builtin_registry, cls._builtin_registry)
        return found

    @classmethod
    def _builtin(cls, name: str) -> type | None:
        known = cls._builtin_registry.get(name)
        if isinstance(known, str):
            known = cls._builtin_registry[name] = host_class(known) or known
        return known if isinstance(known, type) else None

    # Plugins of this instance.

    def load_plugin(self, name: str, config: "Mapping[str, Any] | GitPlugin | LocalPlugin") -> None:
        """Load one declared plugin; loading the same configuration again does nothing.

        Args:
            name: Name of the plugin, a Python identifier.
            config: As in a manifest: `repo` and `tag`, or `path` (relative to the working directory), and `provides`.

        Raises:
            ManifestError: The configuration breaks a rule.
            PluginConflictError: The name is loaded with another configuration.
            PluginLoadError: A step failed; everything is as it was before.
        """
        from cuvis_ai_core.plugins.manifest import parse_plugin

        self._load(name, parse_plugin(name, config, base=Path.cwd()))

    def load_plugins(self, path: str | os.PathLike[str]) -> int:
        """Load all plugins of a manifest and return how many are loaded.

        Raises:
            ManifestError: The manifest cannot be read; nothing was loaded.
            PluginsLoadError: Some plugins failed; the others stay loaded.
        """
        from cuvis_ai_core.plugins.manifest import read_manifest

        manifest = read_manifest(Path(path))
        failed: dict[str, Exception] = {}
        for name, declared in manifest.plugins.items():
            try:
                self._load(name, declared)
            except (PluginLoadError, PluginConflictError) as error:
                failed[name] = self._members.failed[name] = error
        if failed:
            texts = "\n".join(str(error) for error in failed.values())
            raise PluginsLoadError(
                f"{len(failed)} of {len(manifest.plugins)} plugins in {path} failed to load.\n{texts}",
                loaded=tuple(name for name in manifest.plugins if name not in failed),
                failed=failed,
            )
        return len(manifest.plugins)

    def unload_plugin(self, name: str) -> None:
        """Unload a declared plugin; nodes that live on keep working.

        Raises:
            PluginNotLoadedError: No declared plugin of that name is loaded.
        """
        with self._loading:
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
        """Return the names of the declared plugins that are loaded, in the order of loading."""
        return list(self._members.declared)

    def plugin_info(self, name: str) -> "PluginInfo":
        """Return what was loaded under a name, and from where.

        Raises:
            PluginNotLoadedError: No declared plugin of that name is loaded.
        """
        info = self._declared(name).info
        nodes = tuple(entry.path for entry in self._members.catalogue().entries() if entry.plugin == name)
        return info._replace(nodes=nodes)

    def plugin_of(self, node_class: type) -> "PluginInfo | None":
        """Return the declared plugin that a node class comes from; None for all other classes."""
        private = private_package(node_class.__module__)
        found = (name for name, each in self._members.declared.items() if each.scope.name == private)
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

    @property
    def plugin_registry(self) -> Mapping[str, type]:
        """Node classes of plugins, discovered and declared, by short name; full paths are understood too.

        It shows the plugins of the moment, whenever it was asked for.
        """
        self._members.complete()
        return PluginNodes(self._members)

    def nodes(self) -> list[NodeEntry]:
        """Return all nodes that are known without importing plugin code, built-in ones first."""
        builtin = [
            NodeEntry(name, known if isinstance(known, str) else class_path(known), None)
            for name, known in sorted(self._builtin_registry.items())
        ]
        return builtin + self._members.catalogue().entries()

    def public_path(self, node_class: type) -> str:
        """Return the full path of a class as people know it and as pipeline files name it."""
        declared = self._members.catalogue().path_of(node_class)
        return declared or class_path(node_class)

    def config_dirs(self) -> list[Path]:
        """Return the directories in which plugins keep pipeline files.

        Raises:
            HookError: A plugin answered something else.
        """
        return contributions.config_dirs(self._members)

    def cube_readers(self) -> "dict[str, Callable[[Path], Cube]]":
        """Return the cube readers by file suffix (lower case, with its dot); a plugin's beats a built-in one.

        Raises:
            HookError: A plugin answered something else.
        """
        return contributions.cube_readers(self._members)

    def register_hooks(self, plugin: object, name: str | None = None) -> None:
        """Register an object with hook implementations, such as an observer, in this registry.

        Raises:
            HookError: An implementation does not fit its hook.
        """
        self._members.add(plugin, name or f"{type(plugin).__name__}-{id(plugin):x}")

    def _get_node(self, name: str) -> type:
        self._members.complete()
        nodes = self._members.catalogue()
        entry = nodes.find(checked_name(name))
        if entry is not None:
            return nodes.load(entry)
        found = self._builtin(name) or host_class(name)
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
        if not is_path(name) or any(each.scope.owns(top) for each in list(self._members.declared.values())):
            return True
        try:
            return importlib.util.find_spec(top) is not None
        except (ImportError, ValueError, AttributeError):
            # A module without a spec, such as `__main__`, is there all the same.
            return top in sys.modules

    def _load(self, name: str, declared: "GitPlugin | LocalPlugin") -> None:
        with self._loading:
            self._load_alone(name, declared)

    def _load_alone(self, name: str, declared: "GitPlugin | LocalPlugin") -> None:
        from cuvis_ai_core.plugins.failing import failing
        from cuvis_ai_core.plugins.loader import load

        known = self._members.declared.get(name)
        if known is not None:
            if known.declared == declared:
                return
            raise PluginConflictError(
                f"Plugin '{name}' is loaded already, with another configuration.",
                hint=f'Unload it first: registry.unload_plugin("{name}")',
                plugin=name,
            )
        announce = partial(self._members.announce, name)
        try:
            plugin = load(name, declared, self._store(), announce)
            with failing(name, announce) as enter:
                enter(PluginState.REGISTERING, plugin.info.distribution)
                try:
                    self._members.admit(plugin)
                except BaseException:
                    plugin.release()
                    raise
        except PluginLoadError as error:
            self._members.failed[name] = error
            raise
        self._members.failed.pop(name, None)
        announce(PluginState.LOADED, ", ".join(path.rpartition(".")[2] for path in plugin.classes))

    def _declared(self, name: str) -> "LoadedPlugin":
        declared = self._members.declared
        if name not in declared:
            raise PluginNotLoadedError(
                f"No plugin '{name}' is loaded. Loaded plugins: {', '.join(declared) or 'none'}.", plugin=name
            )
        return declared[name]


def _release_all(loaded: "dict[str, LoadedPlugin]") -> None:
    while loaded:
        loaded.popitem()[1].release()
