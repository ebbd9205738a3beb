"""Declared plugins that are loaded: into private modules of this process, or into a process of their own."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import cuvis_ai_hookspecs

from cuvis_ai_core.errors import WorkerError
from cuvis_ai_core.plugins.cache.uses import Uses
from cuvis_ai_core.plugins.children import publish
from cuvis_ai_core.plugins.code import import_node
from cuvis_ai_core.plugins.dependencies import leases
from cuvis_ai_core.plugins.isolation.private_names import private_package
from cuvis_ai_core.plugins.isolation.scope import Scope
from cuvis_ai_core.plugins.manager import NodePlugin, no_node
from cuvis_ai_core.plugins.owned_names import unloaded

if TYPE_CHECKING:
    from cuvis_ai_core.plugins.manifest import GitPlugin, LocalPlugin
    from cuvis_ai_core.plugins.worker.worker import Worker


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
        target: The target directory; of a plugin in a process of its own its environment.
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


class ScopedPlugin(NamedTuple):
    """A declared plugin in this process.

    Attributes:
        declared: Its manifest entry.
        info: What was loaded, and from where.
        scope: Its private modules.
        lease: The dependencies that it keeps alive.
        classes: Its node classes, by the path under which they were declared.
        project: The folder of its project: in its checkout, or the local path.
        hooks: Its modules and objects with hook implementations, by entry-point name.
        uses: Its checkout and target directory, which count as in use in the plugin cache.
    """

    declared: "GitPlugin | LocalPlugin"
    info: PluginInfo
    scope: Scope
    lease: leases.Lease
    classes: Mapping[str, type]
    project: Path
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

    def config_folders(self) -> list[Path]:
        """Return the folders with configurations in its packages."""
        return _config_folders(self.classes, self.scope.package.__path__, self.project)

    def release(self) -> None:
        """Let go of the modules and the dependencies."""
        self.scope.release()
        unloaded()
        self.lease.release()
        self.uses.release()
        publish()

    def import_module(self, name: str) -> ModuleType:
        """Import one of the plugin's modules by its public name."""
        return self.scope.import_module(name)

    def owns(self, top: str) -> bool:
        """Tell whether a top-level module is the plugin's."""
        return self.scope.owns(top)

    def made(self, node_class: type) -> bool:
        """Tell whether a class is the plugin's."""
        return self.scope.name == private_package(node_class.__module__)


class ProcessPlugin(NamedTuple):
    """A declared plugin in a process of its own.

    Attributes:
        declared: Its manifest entry.
        info: What was loaded, and from where.
        worker: Its process.
        classes: Classes that stand for its node classes, by the path under which they were declared.
        project: The folder of its project: in its checkout, or the local path.
        config_dirs: Folders in which it keeps pipeline files.
        uses: Its checkout and its environment, which count as in use in the plugin cache.
    """

    declared: "GitPlugin | LocalPlugin"
    info: PluginInfo
    worker: "Worker"
    classes: Mapping[str, type]
    project: Path
    config_dirs: tuple[Path, ...]
    uses: Uses

    def plugin_objects(self) -> Iterator[tuple[str, object]]:
        """Return what is registered in a manager, with the names to do it under."""
        yield self.info.name, NodePlugin(lambda: list(self.classes.values()))
        if self.config_dirs:
            yield f"{self.info.name}:config_dirs", _ConfigDirs(self.config_dirs)

    def import_node(self, path: str) -> type:
        """Return the class that stands for one of the plugin's.

        Raises:
            InvalidNodeError: The plugin provides no such class.
        """
        if path not in self.classes:
            raise no_node(path, self.info.name)
        return self.classes[path]

    def import_module(self, name: str) -> ModuleType:
        """Refuse: the plugin's modules are in its own process.

        Raises:
            WorkerError: Always.
        """
        raise WorkerError(f"Module '{name}' of plugin '{self.info.name}' is in another process.", plugin=self.info.name)

    def config_folders(self) -> list[Path]:
        """Return the folders with configurations in its packages."""
        from cuvis_ai_core.plugins.cache.environment import packages_of

        return _config_folders(self.classes, [packages_of(self.info.target)], self.project)

    def release(self) -> None:
        """End the process."""
        self.worker.close()
        self.uses.release()

    def owns(self, top: str) -> bool:
        """Tell whether a top-level module is the plugin's."""
        return any(path.partition(".")[0] == top for path in self.classes)

    def made(self, node_class: type) -> bool:
        """Tell whether a class is the plugin's."""
        return any(node_class is each for each in self.classes.values())


LoadedPlugin: TypeAlias = ScopedPlugin | ProcessPlugin


def _config_folders(paths: Iterable[str], installed: Iterable[str | Path], project: Path) -> list[Path]:
    """Return the folders with configurations; what a build left out of a wheel is found in the project."""
    from cuvis_ai_core.plugins.configurations import folders_of

    roots = [*map(Path, installed), project, project / "src"]
    return folders_of(paths, lambda top: [root / top for root in roots])


class _ConfigDirs:
    """Hands on the folders that a plugin in another process named."""

    def __init__(self, folders: tuple[Path, ...]) -> None:
        self._folders = folders

    @cuvis_ai_hookspecs.hookimpl
    def cuvis_ai_config_dirs(self) -> list[Any]:
        """Return the folders."""
        return list(self._folders)
