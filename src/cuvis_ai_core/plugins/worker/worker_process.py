"""The worker process of one plugin and registry: started when it is first needed, and anew after it ended."""

import threading
from pathlib import Path
from weakref import WeakSet

from cuvis_ai_core._after_fork import in_children
from cuvis_ai_core.errors import WorkerError
from cuvis_ai_core.plugins.worker.connection import Connection


class Worker:
    """Has a worker process, which is started when it is first needed.

    Args:
        plugin: Name of the plugin.
        python: The worker's Python.
        paths: Where modules lie that are not installed.
        logs: Folder in which the last words of a worker that crashed are kept.
    """

    def __init__(self, plugin: str, python: Path, paths: tuple[str, ...], logs: Path) -> None:
        self.plugin = plugin
        self._program = (python, paths)
        self._logs = logs
        self._starting = threading.Lock()
        self._connection: Connection | None = None
        self._closed = False
        _workers.add(self)

    def connection(self) -> Connection:
        """Return a connection to a process that is there.

        Raises:
            WorkerError: The plugin is unloaded.
            WorkerCrashError: The process cannot be started.
        """
        with self._starting:
            if self._closed:
                raise WorkerError(
                    f"Plugin '{self.plugin}' is unloaded: its worker process has ended, and its nodes with it.",
                    hint="Load the plugin again, and build the pipeline anew.",
                    plugin=self.plugin,
                )
            if self._connection is None or not self._connection.alive:
                self._connection = Connection(self.plugin, *self._program, self._logs)
            return self._connection

    @property
    def pid(self) -> int | None:
        """Number of the process; None where there is none."""
        connection = self._connection
        return connection.pid if connection is not None and connection.alive else None

    def cancel(self) -> None:
        """End the process, and the call that it is busy with; the next call starts another one."""
        connection = self._connection
        if connection is not None:
            connection.end("was cancelled")

    def close(self) -> None:
        """End the process, for good."""
        with self._starting:
            self._closed = True
            connection = self._connection
        if connection is not None:
            connection.end("ended, because its plugin was unloaded")

    def forsake(self) -> None:
        """Leave the process to whom it belongs: this one was forked off its host, and has none yet."""
        # A new one: another thread of the parent may have held the old one at the fork, and is not here to let go.
        self._starting = threading.Lock()
        if self._connection is not None:
            self._connection.forsake()
            self._connection = None


_workers: "WeakSet[Worker]" = WeakSet()


def _forsake_all() -> None:
    # From a list: a WeakSet shrinks while it is walked through.
    for worker in list(_workers):
        worker.forsake()


in_children(_forsake_all)
