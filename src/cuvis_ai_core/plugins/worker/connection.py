"""One worker process, as its host sees it: requests and answers, shared memory, and its end."""

import logging
import os
import re
import signal
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Final

from cuvis_ai_core._background_program import Service
from cuvis_ai_core._environment_variables import worker_variables
from cuvis_ai_core._process_group import how_it_ended
from cuvis_ai_core.errors import WorkerCrashError, WorkerEndedError, WorkerError, WorkerTimeoutError
from cuvis_ai_core.plugins.worker.crash_logs import keep_words
from cuvis_ai_core.plugins.worker.message_framing import Channel, Message
from cuvis_ai_core.plugins.worker.remote_errors import remote_error
from cuvis_ai_core.plugins.worker.shared_memory import HostMemory
from cuvis_ai_core.plugins.worker.value_encoding import Reader, Writer

TIMEOUT_VARIABLE: Final = "CUVIS_WORKER_TIMEOUT"

_PROGRAM: Final = "cuvis_ai_core.plugins.worker.serve"

_FIRST_HANDLE: Final = 64
"""Shells open and close the first handles as they need them."""

_LONGEST: Final = 1e6
"""Seconds that the system can count."""

_LAST_WORDS: Final = 1.0
"""Seconds that a worker has to say where it was, when its time is up."""


def call_limit() -> float:
    """Return how many seconds a worker may take for one call: `CUVIS_WORKER_TIMEOUT`, else 600.

    Raises:
        WorkerError: That is no number of seconds.
    """
    chosen = os.environ.get(TIMEOUT_VARIABLE, "").strip()
    if not chosen:
        return 600.0
    if not re.fullmatch(r"\d+(\.\d+)?", chosen) or not float(chosen):
        raise WorkerError(
            f"The environment variable {TIMEOUT_VARIABLE} is '{chosen}'; it has to be a number of seconds above 0.",
            hint="Set it to a number such as 600 or 0.5, or unset it.",
        )
    # `poll` takes milliseconds as a C int: some 2.1 million seconds overflow it.
    return min(float(chosen), _LONGEST)


_TELLS_NOTHING: Final = re.compile(r'^Extension modules: |^  File "[^"]*([\\/]worker[\\/]serve\.py|<frozen runpy>)"')
"""Lines of a report of the interpreter that are the same for all crashes."""

logger = logging.getLogger(__name__)


class Connection:
    """One process of a worker, which does one thing after the other.

    Args:
        plugin: Name of the plugin.
        python: The worker's Python.
        paths: Where modules lie that are not installed.
        logs: Folder in which its last words are kept.

    Raises:
        WorkerCrashError: It cannot be started.
    """

    def __init__(self, plugin: str, python: Path, paths: tuple[str, ...], logs: Path) -> None:
        self._plugin = plugin
        self._logs = logs
        self._busy = threading.Lock()
        # Reentrant: a batch of one node's stream may be computed by another node's stream in this thread.
        self._streaming = threading.RLock()
        self._forgotten: list[int] = []
        self._why: str | None = None
        self._dead = threading.Event()
        self._seconds = 0.0
        self._awaited = False
        self._asked = False
        self._answered = False
        self._lent: list[str] = []
        self._memory = HostMemory(self._tidy)
        # A pair without a name: nobody else can connect, and nothing is left in a folder.
        own, theirs = socket.socketpair()
        self._channel = Channel(own)
        import fcntl  # which Windows does not have, where no worker is started

        # `os.dup` gives the lowest free number, which the shell before the program may use for itself.
        handle = fcntl.fcntl(theirs, fcntl.F_DUPFD_CLOEXEC, _FIRST_HANDLE)
        theirs.close()
        # -I: neither PYTHONPATH nor the working folder decides what a worker imports. -u: its last words are not in a
        # buffer.
        command = [str(python), "-I", "-u", "-X", "faulthandler", "-m", _PROGRAM, str(handle), *paths]
        try:
            heard = partial(logger.info, "plugin '%s': %s", plugin) if logger.isEnabledFor(logging.INFO) else None
            self._service = Service(command, env=worker_variables(), handles=[handle], heard=heard)
        except OSError as error:
            self._channel.dispose()
            raise WorkerCrashError(
                f"The worker process of plugin '{plugin}' cannot be started: {error}.",
                hint=f'Install it anew: NodeRegistry.clear_plugin_cache("{plugin}").',
                plugin=plugin,
            ) from error
        finally:
            os.close(handle)
        self._service.watch(self._on_end)

    @property
    def alive(self) -> bool:
        """Whether the process is there."""
        return not self._dead.is_set()

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._service.pid

    def request(
        self, do: str, given: object, *, node: int = 0, name: str | None = None, stream: Iterable[Any] | None = None
    ) -> Any:
        """Have the worker do something, and return its answer.

        Args:
            do: What it is to do.
            given: What it needs for that.
            node: Number of the node that is asked.
            name: Its name, for errors.
            stream: Batches that it asks for meanwhile.

        Raises:
            RemoteError: It raised an exception.
            WorkerEndedError: It had ended before.
            WorkerCrashError: It ended.
            WorkerTimeoutError: It took too long, and was ended.
            WorkerError: A value cannot cross.
        """
        batches = iter(stream or ())
        # The worker asks for a batch of the stream that it was given last: streams are not to cross.
        # In this order everywhere: a stream gives `_busy` away while its batches are made.
        with nullcontext() if stream is None else self._streaming, self._busy:
            asked, self._asked = self._asked, True
            if not self.alive:
                # One that cannot even start would be started again and again by those who are told that it ended.
                if not asked and self._why is None:
                    raise self._crash(name, EOFError())
                raise WorkerEndedError(f"{self._whose(name)} {self._why or 'ended'}.", plugin=self._plugin, node=name)
            self._seconds = call_limit()
            try:
                answer = self._exchange({"do": do, "node": node}, given, name, batches)
            except BaseException as error:
                # An answer that is still to come would be taken for that of the next call.
                # A worker cannot be told to stop: Python hears no signal while C code computes.
                if self._awaited or isinstance(error, KeyboardInterrupt | SystemExit):
                    self.end("was cancelled")
                    self._dead.set()
                raise
        self._tidy()
        return answer

    def _exchange(self, request: dict[str, Any], given: object, name: str | None, batches: Iterator[Any]) -> Any:
        self._send(request, "given", given)
        while True:
            message = self._receive(name)
            if "want" not in message.header:
                self._answered = True
                return self._result(message, name)
            self._settle(message, name)
            self._send_batch(batches)

    def forget(self, node: int) -> None:
        """Have the worker let go of a node, with the next request."""
        self._forgotten.append(node)

    def end(self, why: str) -> None:
        """End the process."""
        if not self._dead.is_set():
            self._why = self._why or why
            self._service.end()

    def forsake(self) -> None:
        """Leave the process to whom it belongs."""
        self._dead.set()
        self._channel.dispose()
        self._service.forsake()

    def _send(self, request: dict[str, Any], key: str, value: object) -> None:
        self._memory.begin()
        writer = Writer(self._memory.room)
        try:
            request[key] = writer.write(value)
        except BaseException as error:
            self._memory.settle((), (), ())
            if isinstance(error, OSError | MemoryError):
                raise WorkerError(
                    f"There is no room for what is to cross to the worker process of plugin '{self._plugin}': {error}",
                    hint="Hold fewer arrays at a time, or raise the limits of memory and open files (ulimit -n).",
                    plugin=self._plugin,
                ) from error
            raise
        self._lent = self._memory.lend()
        self._transmit({**request, "lend": self._lent}, writer)

    def _transmit(self, request: dict[str, Any], writer: Writer) -> None:
        new = self._memory.pool.take_new()
        forgotten, self._forgotten = self._forgotten, []
        header = {**request, "new": [(name, size) for name, size, _ in new], "forget": forgotten}
        self._awaited = "drop" not in request
        try:
            self._channel.send(header, writer.data, [handle for _, _, handle in new], self._seconds)
        # Not raised here: the answer's end says how the process ended, which a broken pipe does not.
        except OSError:  # it ended, or takes nothing; whoever waits for the answer says so
            return
        finally:
            for _, _, handle in new:
                os.close(handle)

    def _send_batch(self, batches: Iterator[Any]) -> None:
        try:
            batch = self._next(batches)
            if batch is not None:
                self._send({}, "batch", dict(batch))
                return
        except BaseException:
            if self.alive:
                self._send({"stop": "failed"}, "given", None)
                self._settle(self._receive(None), None)
            raise
        self._send({"stop": "ended"}, "given", None)

    def _next(self, batches: Iterator[Any]) -> Any:
        """Return the next batch; to compute it other nodes of this worker may be asked, by this thread."""
        # Else a stream through two nodes of one worker would wait for itself.
        self._busy.release()
        try:
            return next(batches, None)
        finally:
            self._busy.acquire()

    def _receive(self, name: str | None) -> Message:
        try:
            message = self._channel.receive(self._seconds)
        except TimeoutError as error:
            raise self._late(name) from error
        # A message with a wrong length may ask for more memory than there is.
        except (EOFError, OSError, ValueError, MemoryError) as error:
            raise self._crash(name, error) from error
        self._awaited = False
        return message

    def _result(self, message: Message, name: str | None) -> Any:
        self._settle(message, name)
        self._drop()
        if "error" in message.header:
            raise remote_error(message.header["error"], self._plugin, name)
        try:
            return Reader(message.data, self._lease).read(message.header["answer"])
        except (ValueError, KeyError) as error:
            raise self._crash(name, error) from error

    def _settle(self, message: Message, name: str | None) -> None:
        header, memory = message.header, self._memory
        try:
            memory.pool.learn(header["new"], message.handles)
            memory.released(header["released"])
            # What the worker made for an answer that then could not be given.
            # Its segments are known to both sides now: without this they would be held to the end of the connection.
            memory.released(name for name, _ in header["new"] if name not in header["used"])
            memory.settle(self._lent, header["used"], header["held"])
        except (KeyError, TypeError, ValueError) as error:
            raise self._crash(name, error) from error

    def _lease(self, name: str, size: int) -> Any:
        return self._memory.pool.lease(name, size, self._memory.ended)

    def _tidy(self) -> None:
        """Give up memory that nobody needs; what comes while a call is on is given up after it."""
        # Never waits: the collector calls this in whatever thread it runs, which may hold the lock itself.
        while self._memory.waiting and self.alive and self._busy.acquire(blocking=False):
            try:
                self._memory.begin()
                self._drop()
            finally:
                self._busy.release()

    def _drop(self) -> None:
        surplus = self._memory.surplus()
        if surplus:
            self._transmit({"drop": surplus}, Writer(self._memory.room))

    def _on_end(self) -> None:
        self._dead.set()
        self._channel.close()
        with self._busy:  # whoever waits for an answer was told just now
            self._channel.dispose()
            self._memory.close()

    def _late(self, name: str | None) -> WorkerTimeoutError:
        # faulthandler prints where each thread is when this arrives; SIGTERM would be silent.
        self._service.interrupt(signal.SIGABRT)  # it says where it was
        self._service.wait(_LAST_WORDS)
        self.end("took too long")
        self._dead.set()
        log, words = self._kept()
        return WorkerTimeoutError(
            f"{self._whose(name)} took longer than {self._seconds:g} s for one call and was ended.{words}",
            hint=f"Raise the limit with the environment variable {TIMEOUT_VARIABLE} (seconds), if it needs that long.",
            plugin=self._plugin,
            node=name,
            log=log,
            seconds=self._seconds,
        )

    def _crash(self, name: str | None, error: Exception) -> WorkerCrashError:
        if not isinstance(error, EOFError | OSError):
            self.end(f"sent what is no message ({error})")
        status = self._service.wait(_LAST_WORDS)
        if status is None:
            self.end("closed its connection")
            status = self._service.wait(_LAST_WORDS)
        self._dead.set()
        log, words = self._kept()
        how = self._why or ("does not answer" if status is None else how_it_ended(status))
        return WorkerCrashError(
            f"{self._whose(name)} {how}.{words}",
            hint="The next call starts another one. A node that was not yet saved gets the state that it had last."
            if self._answered
            else f'If it does so again, install it anew: NodeRegistry.clear_plugin_cache("{self._plugin}").',
            plugin=self._plugin,
            node=name,
            log=log,
            status=status,
        )

    def _whose(self, name: str | None) -> str:
        asked = f"Node '{name}': the" if name else "The"
        return f"{asked} worker process of plugin '{self._plugin}'"

    def _kept(self) -> tuple[Any, str]:
        output = self._service.output()
        log = keep_words(self._logs, self._plugin, self._service.pid, output)
        # faulthandler names all extension modules, in one long line that says nothing of the crash.
        lines = [line for line in output.splitlines() if line.strip() and not _TELLS_NOTHING.search(line)][-10:]
        words = "".join(f"\n  {line[:300]}" for line in lines)
        said = f" Its last words:{words}" if lines else " It said nothing."
        return log, f"{said}\nAll that it said is in {log}." if log else said
