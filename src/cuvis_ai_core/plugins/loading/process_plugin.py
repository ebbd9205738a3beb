"""A declared plugin in a process of its own: what stands for it here."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import cuvis_ai_hookspecs

from cuvis_ai_core.errors import WorkerError
from cuvis_ai_core.plugins.cache.entries_in_use import Uses
from cuvis_ai_core.plugins.cache.environment_entry import packages_of
from cuvis_ai_core.plugins.configs_folder import config_folders
from cuvis_ai_core.plugins.hooks.manager import NodePlugin
from cuvis_ai_core.plugins.missing_plugin_classes import no_node
from cuvis_ai_core.plugins.plugin_info import PluginInfo

if TYPE_CHECKING:
    from cuvis_ai_core.plugins.manifest.manifest_schema import GitPlugin, LocalPlugin
    from cuvis_ai_core.plugins.worker.worker_process import Worker


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

    @property
    def ready(self) -> None:
        """Nothing: a process is started anew each time."""

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
        return config_folders(self.classes, [packages_of(self.info.target)], self.project)

    def release(self) -> None:
        """End the process."""
        self.worker.close()
        self.uses.release()

    def edited(self) -> bool | None:
        """Return that nobody here knows whether its files were changed: they are another process's."""
        return None

    def owns(self, top: str) -> bool:
        """Tell whether a top-level module is the plugin's."""
        return any(path.partition(".")[0] == top for path in self.classes)

    def made(self, node_class: type) -> bool:
        """Tell whether a class is the plugin's."""
        return any(node_class is each for each in self.classes.values())


class _ConfigDirs:
    """Hands on the folders that a plugin in another process named."""

    def __init__(self, folders: tuple[Path, ...]) -> None:
        self._folders = folders

    @cuvis_ai_hookspecs.hookimpl
    def cuvis_ai_config_dirs(self) -> list[Any]:
        """Return the folders."""
        return list(self._folders)
