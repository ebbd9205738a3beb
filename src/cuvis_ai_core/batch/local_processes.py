"""Workers that are processes of this machine, each with a cube in flight.

They are programs of their own and no children of `multiprocessing`: a script needs no `if __name__ == "__main__"`.
"""

import json
import os
import queue
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from cuvis_ai_core._process_group import end_group, how_it_ended, signal_name
from cuvis_ai_core.batch.engine import Event, Setup
from cuvis_ai_core.batch.folder_ownership import STATE
from cuvis_ai_core.batch.job import job_data
from cuvis_ai_core.batch.job_cubes import Unit
from cuvis_ai_core.plugins.isolation.private_names import LIVE_PLUGINS

_THREADS: Final = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_LAST_WORDS: Final = 2000
"""Bytes at the end of a worker's log that are shown when it died."""


@dataclass(frozen=True, slots=True)
class Local:
    """Processes of this machine.

    Attributes:
        workers: How many.
        threads: Threads that each computes with; None shares the cores out.
        memory: Bytes that each may take; a cube that takes more fails. None: as much as the machine has.
    """

    workers: int = 1
    threads: int | None = None
    memory: int | None = None
    shares_memory = True

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ValueError(f"{self.workers} workers do nothing; there must be one at least.")

    def crew(self, setup: Setup) -> "LocalCrew":
        """Return the workers for a job, none of them started."""
        return LocalCrew(setup, self.threads or max(1, _cores() // self.workers), self.memory)


class LocalCrew:
    """Processes that run cubes.

    Args:
        setup: What they are told.
        threads: With how many threads each computes.
        memory: Bytes that each may take.
    """

    def __init__(self, setup: Setup, threads: int, memory: int | None) -> None:
        self._memory = memory
        self._setup = setup
        self._threads = threads
        self._logs = setup.output / STATE / "logs"
        self._logs.mkdir(parents=True, exist_ok=True)
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._events: queue.SimpleQueue[tuple[subprocess.Popen[bytes], Event]] = queue.SimpleQueue()

    def start(self, worker: int) -> None:
        """Start a worker; it will be ready, or broken."""
        # By it a child takes over this process's plugins; a worker loads its own, by the manifest
        environment = {key: value for key, value in os.environ.items() if key != LIVE_PLUGINS}
        for name in _THREADS:
            # Libraries of C read these once when they load, so they must be there before the process starts
            environment.setdefault(name, str(self._threads))
        # A file and no pipe: a node that prints much would fill a pipe that nobody reads, and stand still
        with self._log(worker).open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "cuvis_ai_core.batch.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                start_new_session=True,  # Ctrl-C is for the driver, which ends them in order
            )
        self._processes[worker] = process
        setup = {
            "job": job_data(self._setup.job),
            "output": str(self._setup.output),
            "fingerprint": self._setup.fingerprint,
            "name": f"local-{worker}",
            "memory": self._memory,
        }
        # A thread for each: Windows has no select for pipes
        threading.Thread(target=self._listen, args=(worker, process), daemon=True).start()
        self._tell(process, setup)

    def give(self, worker: int, unit: Unit, tries: int) -> None:
        """Have a worker that is ready run a cube."""
        self._tell(self._processes[worker], {"cube": unit.cube, "name": unit.name, "tries": tries})

    def next(self, seconds: float) -> Event | None:
        """Return what a worker says next, None if nobody says anything in so many seconds."""
        try:
            process, event = self._events.get(timeout=seconds)
        except queue.Empty:
            return None
        # By the process and not the number: what one that was ended still said must not count for its successor
        return event if self._processes.get(event.worker) is process else None

    def end(self, worker: int) -> None:
        """End a worker at once, whatever it does; nothing more is heard of it."""
        # Taken away before it is killed: its "died", which comes for sure, is then heard by nobody
        process = self._processes.pop(worker, None)
        if process is None:
            return
        # The group: processes that a node's code started would outlive it
        end_group(process)
        process.wait()
        with suppress(OSError):
            assert process.stdin is not None
            process.stdin.close()

    def close(self) -> None:
        """End all of them."""
        for worker in list(self._processes):
            self.end(worker)

    def _listen(self, worker: int, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdout is not None
        with process.stdout as answers:
            for line in answers:
                with suppress(ValueError):
                    data: dict[str, Any] = json.loads(line)
                    self._events.put((process, Event(worker, data.pop("event"), data)))
        # After the last line was read: what it said before it died comes before its death
        status = process.wait()
        words = _last_words(self._log(worker))
        error = f"Its worker {how_it_ended(status)}." + (f" The last lines of its log:\n{words}" if words else "")
        kind = f"status {status}" if status >= 0 else signal_name(-status)
        kind = f"signal {kind}" if kind.isdecimal() else kind  # one of real time, which has no name
        self._events.put((process, Event(worker, "died", {"error": error, "kind": kind})))

    @staticmethod
    def _tell(process: "subprocess.Popen[bytes]", data: dict[str, Any]) -> None:
        stream: BinaryIO | Any = process.stdin
        with suppress(OSError):  # it died: that is heard from the other side
            stream.write(json.dumps(data).encode() + b"\n")
            stream.flush()

    def _log(self, worker: int) -> Path:
        return self._logs / f"local-{worker}.log"


def _last_words(log: Path) -> str:
    try:
        with log.open("rb") as file:
            # Only the end is read: what nodes print has no limit
            file.seek(max(0, log.stat().st_size - _LAST_WORDS))
            return file.read().decode(errors="replace").strip()
    except OSError:
        return ""


def _cores() -> int:
    # A batch system or container gives some cores only, which `cpu_count` does not know; macOS and Windows cannot tell
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
