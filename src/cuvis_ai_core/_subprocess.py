"""The one way in which this package runs other programs (git and uv).

Each is run to its end, in a process group of its own (see `_process_group`), and within a limit of time.
"""

import contextlib
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cuvis_ai_core._pipe_reader import PipeReader
from cuvis_ai_core._process_group import GRACE, WATCHED, end_group, end_running, how_it_ended
from cuvis_ai_core._redact import redact
from cuvis_ai_core.errors import TimeLimitError, ToolNotFoundError

TIMEOUT_VARIABLE: Final = "CUVIS_INSTALL_TIMEOUT"


_TELLING: Final = ("/bin/sh", "-c", '"$@"; status=$?; echo $status >/dev/fd/"$0"; exit $status')
"""Runs the program and writes its exit status to an open file, by number."""


_MOST_OUTPUT: Final = 2**26
"""Bytes that a program may write: what a host has it say may have no end."""

_MOST_WORDS: Final = 2**22
"""Bytes of its messages that are kept, the last ones."""

_BOUNDED: Final = ("/bin/sh", "-c", 'ulimit -d "$0" 2>/dev/null; exec "$@"')
"""Runs the program with a limit on the memory that it writes to, in KiB; what it maps of files does not count."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Finished:
    """What a program left behind: exit status and texts, without credentials and control characters."""

    returncode: int
    stdout: str
    stderr: str


class Programs:
    """The programs that several threads run for one purpose, so that whoever wanted them can end them all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._ended = threading.Event()

    @staticmethod
    @contextlib.contextmanager
    def together() -> "Iterator[Programs]":
        """Collect the programs that are run in this context, and in copies of it; the outermost collection counts."""
        programs = _programs.get() or Programs()
        token = _programs.set(programs)
        try:
            yield programs
        finally:
            _programs.reset(token)

    def end(self) -> None:
        """End all that run, their children included, and whatever is started from now on."""
        with self._lock:
            self._ended.set()
            for process in self._running:
                end_running(process)

    def wait(self, seconds: float) -> None:
        """Wait so long, or until they are ended."""
        self._ended.wait(seconds)

    @contextlib.contextmanager
    def including(self, process: "subprocess.Popen[bytes]") -> Iterator[None]:
        """Count a program as running."""
        with self._lock:
            self._running.add(process)
            if self._ended.is_set():
                end_running(process)
        try:
            yield
        finally:
            with self._lock:
                self._running.discard(process)


_programs: ContextVar[Programs | None] = ContextVar("_programs", default=None)


def run(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    handles: Sequence[int] = (),
    meanwhile: Callable[[], object] | None = None,
    memory: int = 0,
) -> Finished:
    """Run a program to its end, without a terminal, in a process group that ends with it and with this process.

    One that writes more than 64 MiB is ended.

    Args:
        command: The program and its arguments.
        cwd: Folder to run it in.
        env: Its environment.
        handles: Open files that it gets beside the usual three, under the same numbers.
        meanwhile: What to do in this thread while the program runs, such as importing what is needed afterwards.
        memory: Bytes that it, and each program that it starts, may have (Linux); 0 means as many as there are.

    Raises:
        ToolNotFoundError: There is no such program.
        TimeLimitError: It took longer than `time_limit`; its whole process group was ended.
    """
    logger.debug("running %s", redact(" ".join(command)))
    program = shutil.which(command[0], path=(os.environ if env is None else env).get("PATH"))
    if program is None:
        raise ToolNotFoundError(
            f"The program '{command[0]}' was not found.", hint="Install it and try again.", tool=command[0]
        )
    with _lifeline() as stdin, _status() as (told, read):
        telling = (*_TELLING, str(told)) if told else ()
        bounded = (*_BOUNDED, str(memory // 2**10)) if memory and sys.platform == "linux" else ()
        process = subprocess.Popen(
            [*WATCHED, *telling, *bounded, program, *command[1:]],
            cwd=cwd,
            env=env,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=sys.platform != "win32",
            pass_fds=(*handles, *([told] if told else [])),
        )
        with (_programs.get() or Programs()).including(process):
            return _finish(process, command, meanwhile, read)


def pause(seconds: float) -> None:
    """Wait before a program is run again, but no longer than until whoever wanted it ends them all."""
    (_programs.get() or Programs()).wait(seconds)


def time_limit() -> float:
    """Return how many seconds a program may take: `CUVIS_INSTALL_TIMEOUT`, else 300."""
    chosen = os.environ.get(TIMEOUT_VARIABLE, "")
    return float(chosen) if re.fullmatch(r"\d+(\.\d+)?", chosen) and float(chosen) else 300.0


@contextlib.contextmanager
def _lifeline() -> Iterator[int]:
    """Have the end of a pipe to hand to a program, whose other end is open only while this process lives."""
    if sys.platform == "win32":
        yield subprocess.DEVNULL
        return
    watched, held = os.pipe()
    try:
        yield watched
    finally:
        os.close(watched)
        os.close(held)


@contextlib.contextmanager
def _status() -> Iterator[tuple[int, Callable[[], int | None]]]:
    """Have an open file that the exit status is written to, and what reads it; 0 and None where the system tells it.

    A process that was told to ignore the end of its children (SIGCHLD), by a supervisor or to have no zombies, is not
    told how they ended: each would have ended well.
    """
    if sys.platform == "win32" or signal.getsignal(signal.SIGCHLD) is not signal.SIG_IGN:
        yield 0, lambda: None
        return
    told, writing = os.pipe()
    os.set_blocking(told, False)

    def read() -> int:
        with contextlib.suppress(BlockingIOError):
            return int(os.read(told, 9) or -signal.SIGKILL)
        return -signal.SIGKILL  # ended before it could say so

    try:
        yield writing, read
    finally:
        os.close(told)
        os.close(writing)


def _finish(
    process: "subprocess.Popen[bytes]",
    command: Sequence[str],
    meanwhile: Callable[[], object] | None,
    told: Callable[[], int | None],
) -> Finished:
    seconds = time_limit()
    assert process.stdout is not None
    assert process.stderr is not None
    output = PipeReader(process.stdout, limit=_MOST_OUTPUT, beyond=lambda: end_running(process))
    errors = PipeReader(process.stderr, most=_MOST_WORDS)
    # Waiting for a thread, unlike `Popen.wait(timeout)`, does not look again and again.
    waiter = threading.Thread(target=process.wait, daemon=True)
    waiter.start()
    until = time.monotonic() + seconds
    try:
        if meanwhile is not None:
            meanwhile()
        waiter.join(max(0.0, until - time.monotonic()))
        late = waiter.is_alive()
    finally:
        end_group(process)
        waiter.join()
    if late:
        shown = redact(" ".join(command))
        raise TimeLimitError(
            f"'{shown}' took longer than {seconds:g} s and was stopped.",
            hint=f"Raise the limit with the environment variable {TIMEOUT_VARIABLE} (seconds), and try again.",
            command=shown,
            seconds=seconds,
        )
    until = time.monotonic() + GRACE
    stdout, stderr = output.read(until), errors.read(until)
    status = told()
    status = process.returncode if status is None else status
    if output.is_full:
        status = status or -1  # it may have ended in this moment
        stderr += f"\n{command[0]} was ended: it wrote more than {_MOST_OUTPUT // 2**20} MiB"
    elif status < 0:
        stderr += f"\n{command[0]} {how_it_ended(status)}"
    return Finished(status, redact(stdout), redact(stderr))
