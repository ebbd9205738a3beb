"""The driver schedules the cubes: it plans, hands out, listens, notes what fails, and never computes.

What is done is seen from the results themselves (`cube_records`), so the same call goes on where another stopped,
however that ended. Each cube is in one worker's hands; a worker that dies costs the cube that it had a try, of two.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from typing import Any, Final

from cuvis_ai_core.batch.cube_records import Outcome, Records
from cuvis_ai_core.batch.engine import FULL, Crew, Engine, Event, Setup
from cuvis_ai_core.batch.failure_limits import Limits
from cuvis_ai_core.batch.folder_ownership import STATE, alone_in, check_nodes, claim, is_new, leave, refuse_linked_cubes
from cuvis_ai_core.batch.job import Job, fingerprint
from cuvis_ai_core.batch.job_cubes import Unit, part_of, without_results
from cuvis_ai_core.batch.job_report import Report
from cuvis_ai_core.batch.report_files import write_metrics, write_page, write_summary
from cuvis_ai_core.batch.worker_memory import Room
from cuvis_ai_core.errors import BatchError, CuvisError, OutputError
from cuvis_ai_core.pipeline.tiling.memory_limit import default_memory

_TRIES: Final = 2
"""How often a cube is begun whose worker dies."""

_SETUP: Final = 300.0
"""Seconds that setting up a worker may take at least, where there is a time limit."""

_PATIENCE: Final = 30.0
"""Seconds without any worker after which that is said."""

_TICK: Final = 0.2
_PAGE_EVERY: Final = 5.0


@dataclass(slots=True)
class _Flight:
    """A cube in the hands of a worker."""

    unit: Unit
    tries: int
    begun: float = field(default_factory=time.monotonic)


class Driver:
    """One run of a job.

    Args:
        job: What is done to each cube.
        units: All cubes, those of other shards too.
        output: The folder of the results.
        engine: Where workers run.
        limits: When a cube, or the whole, is given up.
        observe: Told how it stands.
        about: What the summary says of the job besides.
        metrics: A file for Prometheus, if one is wanted.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the parts of a run
        self,
        job: Job,
        units: Sequence[Unit],
        output: Path,
        engine: Engine,
        limits: Limits,
        observe: Callable[[Report], None] = lambda _: None,
        about: dict[str, Any] | None = None,
        metrics: Path | None = None,
    ) -> None:
        self._output = output.absolute()
        self._engine = engine
        self._limits = limits
        self._observe = observe
        self._metrics = metrics
        self._all = without_results(units, self._output)
        self._units = part_of(self._all, limits.shard)
        memory = job.memory
        if memory is None and engine.shares_memory and engine.workers > 1:
            memory = default_memory() // engine.workers
        self._contents = job.contents()
        self._fingerprint = fingerprint(self._contents)
        self._setup = Setup(replace(job, memory=memory), self._output, self._fingerprint)
        self._about = {"job": self._contents, **(about or {})}
        self._records = Records(self._output, self._fingerprint)
        self._report = Report(self._output, total=len(self._units))
        self._pending: deque[_Flight] = deque()
        self._flights: dict[int, _Flight] = {}
        self._idle: list[int] = []
        self._deaths = 0
        self._room = Room(engine)
        self._begun = False
        self._page_at = 0.0
        self._heard = 0.0
        self._patience = _PATIENCE

    def run(self) -> Report:
        """Do what is to do, and return how it ended."""
        new = is_new(self._output)
        with self._told(), alone_in(self._output, self._limits.shard) as remark:
            self._report.remarks += [remark] if remark else []
            claim(self._output, self._contents)
            refuse_linked_cubes(self._output, (unit.name for unit in self._units))
            self._look_back()
            try:
                if self._pending:
                    crew = self._engine.crew(self._setup)
                    try:
                        self._work(crew)
                    finally:
                        crew.close()
                self._report.ended = self._report.left == 0
            except BaseException:
                with suppress(OSError):  # of a full disk, which is what is told
                    self._summarize()
                if new:
                    leave(self._output)
                raise
            self._summarize()
        return self._report

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Have what ends the run say what is kept, and whether any cube was begun."""
        try:
            yield
        except KeyboardInterrupt as error:
            error.add_note(
                f"{self._report.done + self._report.skipped} of {self._report.total} cubes are done and kept "
                f"in '{self._output}'; the same command goes on."
            )
            raise
        except CuvisError as error:
            error.begun = self._begun
            raise
        except OSError as error:
            raise self._unwritable(error.errno, str(error.strerror or error)) from error

    def _unwritable(self, number: int | None, text: str) -> OutputError:
        """Return the error about a disk that takes nothing more, perhaps another than that of the results."""
        what = (
            f"A disk is full, perhaps that of '{self._output}'"
            if number in FULL
            else f"'{self._output}' cannot be written"
        )
        hint = "Make room" if number in FULL else "See to it"
        return OutputError(
            f"{what}: {text}", hint=f"{hint}; the same command goes on where it stopped.", begun=self._begun
        )

    # Before the work.

    def _look_back(self) -> None:
        """See what is done, and what failed before; say what is done once more."""
        again = 0
        aside: list[str] = []
        for unit, known in self._records.known(self._units):
            if known is None or (known.error is not None and self._limits.retry_failed):
                self._pending.append(_Flight(unit, 1))
                if self._records.had(unit):
                    again += 1
                    aside += (f"{unit.name}/{name}" for name in self._records.make_way(unit))
            elif known.error is not None:
                self._report.add(known)
            else:
                self._report.skipped += 1
        if again:
            self._report.remarks.append(
                f"Done again, for they changed since or some of their results are gone or changed: {again}."
            )
        if aside:
            more = f" and {len(aside) - 1} more" if len(aside) > 1 else ""
            self._report.remarks.append(f"What was changed is kept beside the new results: '{aside[0]}'{more}.")

    # The work.

    def _work(self, crew: Crew) -> None:
        self._heard = time.monotonic()
        self._start(crew, 0)  # the first one installs what the others find installed
        while self._pending or self._flights:
            event = crew.next(_TICK)
            if event is not None:
                self._heard = time.monotonic()
                self._take(crew, event)
            self._say_waiting()
            self._end_late(crew)
            self._hand_out(crew)
            self._tell()
            if not self._flights and self._is_given_up():
                self._report.remarks.append(f"Given up after {self._report.failed} failures.")
                return

    def _start(self, crew: Crew, worker: int) -> None:
        crew.start(worker)
        self._report.workers = max(self._report.workers, worker + 1)

    def _take(self, crew: Crew, event: Event) -> None:
        match event.kind:
            case "ready":
                check_nodes(self._output, event.data["nodes"])
                self._deaths = 0
                self._idle.append(event.worker)
                if event.worker == 0 and self._report.workers == 1:
                    self._start_others(crew, event.data.get("peak", 0))
            case "broken":
                raise BatchError(f"The pipeline cannot be set up: {event.data['error']}", **_kind(event.data))
            case "done" if event.data.get("full"):
                raise self._unwritable(event.data["full"], event.data["error"].splitlines()[0])
            case "done":
                self._note(self._flights.pop(event.worker), event)
                self._room.lower(event.data.get("peak", 0))
                if event.worker < self._room.allowed:
                    self._idle.append(event.worker)
                else:
                    crew.end(event.worker)
            case "died":
                self._bury(crew, event)

    def _start_others(self, crew: Crew, size: int) -> None:
        """Start the other workers, no more than there are cubes, and than the memory holds."""
        wanted = min(self._engine.workers, len(self._pending) + len(self._flights))
        for worker in range(1, self._room.begin(wanted, size)):
            self._start(crew, worker)

    def _hand_out(self, crew: Crew) -> None:
        while self._idle and self._pending and not self._is_given_up():
            worker, flight = self._idle.pop(), self._pending.popleft()
            flight.begun = time.monotonic()
            self._begun = True
            self._flights[worker] = flight
            crew.give(worker, flight.unit, flight.tries)

    def _note(self, flight: _Flight, event: Event) -> None:
        data = event.data
        outcome = Outcome(
            flight.unit,
            error=data.get("error"),
            kind=data.get("kind"),
            node=data.get("node"),
            seconds=data.get("seconds", 0.0),
            worker=str(event.worker),
            tries=flight.tries,
        )
        self._close(outcome)

    def _close(self, outcome: Outcome) -> None:
        if outcome.error is not None:
            self._records.fail(outcome)
        elif self._limits.retry_failed:
            self._records.forget_failure(outcome.unit)
        self._report.add(outcome)

    def _bury(self, crew: Crew, event: Event) -> None:
        """A worker died: its cube gets another try, and there is another worker."""
        flight = self._flights.pop(event.worker, None)
        if event.worker in self._idle:
            self._idle.remove(event.worker)
        crew.end(event.worker)
        if flight is None:
            self._deaths += 1
            if self._deaths > _TRIES:
                raise BatchError(f"Workers die before they have a cube. {event.data['error']}")
        elif flight.tries < _TRIES:
            self._pending.append(_Flight(flight.unit, flight.tries + 1))
        else:
            seconds = time.monotonic() - flight.begun
            error, kind = event.data["error"], event.data.get("kind")
            self._close(
                Outcome(flight.unit, error, kind, seconds=seconds, worker=str(event.worker), tries=flight.tries)
            )
        if event.worker < self._room.allowed and (self._pending or self._flights):
            self._start(crew, event.worker)

    def _say_waiting(self) -> None:
        """Say that there is no worker, once each time: a cluster may have lost its last machine."""
        if self._idle or self._flights:
            self._patience = _PATIENCE
        elif time.monotonic() - self._heard > self._patience:
            self._report.remarks.append(
                f"No worker is ready since {self._patience:g} s; the run waits for one. What they do stands in "
                f"'{self._output / STATE / 'logs'}'; with Ray, a machine must have room: ray status"
            )
            self._patience = inf

    def _end_late(self, crew: Crew) -> None:
        limit = self._limits.timeout
        if limit is None:
            return
        most = max(limit, _SETUP)
        if not self._idle and not self._flights and time.monotonic() - self._heard > most:
            raise BatchError(
                f"No worker was ready after {most:g} s (--timeout).",
                hint="Look at what its log says, in "
                f"'{self._output / STATE / 'logs'}': a plugin may wait while it is imported. With Ray, see that a "
                "machine has room for a worker.",
            )
        for worker, flight in list(self._flights.items()):
            seconds = time.monotonic() - flight.begun
            if seconds > limit:
                del self._flights[worker]
                crew.end(worker)
                error = f"It took longer than {limit:g} s (--timeout)."
                self._close(
                    Outcome(flight.unit, error, "timeout", seconds=seconds, worker=str(worker), tries=flight.tries)
                )
                if self._pending and worker < self._room.allowed:
                    self._start(crew, worker)

    def _is_given_up(self) -> bool:
        most = self._limits.max_failures
        return most is not None and self._report.failed >= most

    # What is said.

    def _tell(self) -> None:
        self._report.remarks += self._room.remarks
        self._room.remarks.clear()
        self._observe(self._report)
        now = time.monotonic()
        if now - self._page_at > _PAGE_EVERY:
            self._page_at = now
            write_page(self._report, self._about)
            if self._metrics is not None:
                write_metrics(self._report, self._metrics)

    def _summarize(self) -> None:
        outcomes = (known for _, known in self._records.known(self._all) if known is not None)
        write_summary(self._report, self._about, outcomes)
        if self._metrics is not None:
            write_metrics(self._report, self._metrics)
        self._observe(self._report)


def _kind(data: dict[str, Any]) -> dict[str, Any]:
    return {"kind": data.get("kind"), "node": data.get("node")}
