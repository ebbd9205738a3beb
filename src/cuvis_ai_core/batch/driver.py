"""The driver: plans, hands out, listens, notes what fails; it never computes.

What is done is seen from the results themselves (`records`), so the same call goes on where another stopped, however
that ended. Each cube is in one worker's hands; a worker that dies costs the cube that it had a try, of two.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from filelock import FileLock, Timeout

from cuvis_ai_core._files import read_json, write_json
from cuvis_ai_core.batch.engine import Crew, Engine, Event, Setup
from cuvis_ai_core.batch.job import STATE, Job, claim, fingerprint
from cuvis_ai_core.batch.local import Local
from cuvis_ai_core.batch.records import Outcome, Records
from cuvis_ai_core.batch.report import Report, write_metrics, write_page, write_summary
from cuvis_ai_core.batch.units import Unit, find_units, part_of, without_results
from cuvis_ai_core.errors import BatchError, OutputError
from cuvis_ai_core.pipeline.find import find_pipeline_file
from cuvis_ai_core.pipeline.tiling.memory import default_memory, free_memory
from cuvis_ai_core.pipeline.weights import find_weights
from cuvis_ai_core.registry import NodeRegistry

_TRIES: Final = 2
"""How often a cube is begun whose worker dies."""

_SETUP: Final = 300.0
"""Seconds that setting up a worker may take at least, where there is a time limit."""

_TICK: Final = 0.2
_PAGE_EVERY: Final = 5.0
_NODES: Final = "nodes.json"


@dataclass(frozen=True, slots=True)
class Limits:
    """When a cube, or the whole, is given up.

    Attributes:
        timeout: Seconds that a cube may take; also setting up the workers, which has five minutes at least.
        max_failures: With how many failed cubes no further one is begun.
        retry_failed: Whether cubes that failed before are tried again.
        shard: Number of this run, from 0, and how many share the cubes.
    """

    timeout: float | None = None
    max_failures: int | None = None
    retry_failed: bool = False
    shard: tuple[int, int] = (0, 1)

    def __post_init__(self) -> None:
        number, count = self.shard
        if not 0 <= number < count:
            raise ValueError(f"shard {number}/{count}: the number counts from 0, and is less than {count}")
        if self.timeout is not None and not self.timeout > 0:
            raise ValueError(f"timeout {self.timeout}: no cube is done in that time; it is a number of seconds above 0")


def run_cubes(
    pipeline: str | Path,
    cubes: str | Path | Iterable[str | Path],
    output: str | Path,
    *,
    plugins: str | Path | None = None,
    engine: Engine | None = None,
    limits: Limits | None = None,
    observe: Callable[[Report], None] = lambda _: None,
    **options: Any,
) -> Report:
    """Run a pipeline on many cubes; the results of each go to a folder of its own.

    The same call goes on where it stopped: a cube is done if its folder has the results of this job for the cube as it
    is. A cube that fails is noted, and the others go on.

    Args:
        pipeline: The pipeline file, or the name of one that a plugin brings along.
        cubes: Files, folders, patterns.
        output: The folder of the results.
        plugins: The manifest of plugins.
        engine: Where workers run; one process of this machine by default.
        limits: When a cube, or the whole, is given up.
        observe: Told how it stands, some times a second.
        options: Further attributes of `Job`: `keep`, `weights`, `overrides`, ...

    Raises:
        BatchError: No worker can be set up, or another run works in this folder.
        OutputError: The folder belongs to another job, two cubes would share a folder, or the disk is full.
        CubeError: There are no cubes.
        OSError: The disk is full.
    """
    with NodeRegistry() as registry:
        if plugins is not None:
            registry.load_plugins(plugins)
        job = make_job(registry, pipeline, plugins, options)
        units = find_units(cubes, list(registry.cube_readers()))
    return Driver(job, units, Path(output), engine or Local(), limits or Limits(), observe).run()


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
        self._allowed = engine.workers
        self._free = free_memory()
        self._told = 0.0
        self._heard = 0.0

    def run(self) -> Report:
        """Do what is to do, and return how it ended."""
        with self._alone():
            claim(self._output, self._contents)
            self._look_back()
            try:
                if self._pending:
                    crew = self._engine.crew(self._setup)
                    try:
                        self._work(crew)
                    finally:
                        crew.close()
                self._report.ended = self._report.left == 0
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    error.add_note(
                        f"{self._report.done + self._report.skipped} of {self._report.total} cubes are done and kept "
                        f"in '{self._output}'; the same command goes on."
                    )
                with suppress(OSError):  # of a full disk, which is what is told
                    self._summarize()
                raise
            self._summarize()
        return self._report

    # Before the work.

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Work in the folder with no other run that has the same cubes."""
        state = self._output / STATE
        try:
            state.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"'{self._output}' cannot be written: {error.strerror or error}.",
                hint="Choose another folder with --output-dir.",
            ) from error
        number, count = self._limits.shard
        mine = state / f"run-{number}-of-{count}.lock"
        with FileLock(state / "begin.lock"):
            others = [other for other in state.glob("run-*.lock") if not other.stem.endswith(f"-of-{count}")]
            if any(_is_held(other) for other in [mine, *others]):
                raise BatchError(
                    f"Another run works in '{self._output}'.",
                    hint="Wait for its end, or share the cubes out: --shard 0/2 here and --shard 1/2 there.",
                )
            lock = FileLock(mine)
            lock.acquire(timeout=0)
        try:
            yield
        finally:
            lock.release()

    def _look_back(self) -> None:
        """See what is done, and what failed before."""
        for unit, known in self._records.known(self._units):
            if known is None or (known.error is not None and self._limits.retry_failed):
                self._pending.append(_Flight(unit, 1))
            elif known.error is not None:
                self._report.add(known)
            else:
                self._report.skipped += 1

    # The work.

    def _work(self, crew: Crew) -> None:
        self._heard = time.monotonic()
        self._start(crew, 0)  # the first one installs what the others find installed
        while self._pending or self._flights:
            event = crew.next(_TICK)
            if event is not None:
                self._heard = time.monotonic()
                self._take(crew, event)
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
                self._check_nodes(event.data["nodes"])
                self._deaths = 0
                self._idle.append(event.worker)
                if event.worker == 0 and self._report.workers == 1:
                    self._start_others(crew, event.data.get("peak", 0))
            case "broken":
                raise BatchError(f"The pipeline cannot be set up: {event.data['error']}", **_kind(event.data))
            case "done" if event.data.get("full"):
                raise OutputError(
                    f"A disk is full, perhaps that of '{self._output}': {event.data['error']}",
                    hint="Make room; the same command goes on where it stopped.",
                )
            case "done":
                self._note(self._flights.pop(event.worker), event)
                self._lower(event.data.get("peak", 0))
                if event.worker < self._allowed:
                    self._idle.append(event.worker)
                else:
                    crew.end(event.worker)
            case "died":
                self._bury(crew, event)

    def _start_others(self, crew: Crew, size: int) -> None:
        """Start the other workers, no more than there are cubes, and than the memory holds."""
        wanted = min(self._engine.workers, len(self._pending) + len(self._flights))
        if self._engine.shares_memory and size:
            fitting = max(1, 1 + int(self._free // max(size, 1)))
            if fitting < wanted:
                self._say_fewer(fitting, wanted, size)
                wanted = fitting
        self._allowed = wanted
        for worker in range(1, wanted):
            self._start(crew, worker)

    def _lower(self, peak: int) -> None:
        """Go on with fewer workers where a cube took more memory than they all can have."""
        if not self._engine.shares_memory or not peak or self._allowed == 1:
            return
        fitting = max(1, int(self._free // peak))
        if fitting < self._allowed:
            self._say_fewer(fitting, self._allowed, peak)
            self._allowed = fitting

    def _say_fewer(self, fitting: int, wanted: int, size: int) -> None:
        self._report.remarks.append(
            f"{fitting} instead of {wanted} workers: one takes {size / 2**20:.0f} MiB, "
            f"and {self._free / 2**20:.0f} MiB were free."
        )

    def _hand_out(self, crew: Crew) -> None:
        while self._idle and self._pending and not self._is_given_up():
            worker, flight = self._idle.pop(), self._pending.popleft()
            flight.begun = time.monotonic()
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
        if event.worker < self._allowed and (self._pending or self._flights):
            self._start(crew, event.worker)

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
                if self._pending and worker < self._allowed:
                    self._start(crew, worker)

    def _is_given_up(self) -> bool:
        most = self._limits.max_failures
        return most is not None and self._report.failed >= most

    def _check_nodes(self, nodes: list[dict[str, Any]]) -> None:
        """See that the code is that of the results that are there."""
        file = self._output / STATE / _NODES
        before = read_json(file)
        if before is None:
            write_json(file, {"nodes": nodes})
        elif before.get("nodes") != nodes:
            old = {each["name"]: each for each in before.get("nodes", [])}
            differing = [each["name"] for each in nodes if old.get(each["name"]) != each]
            raise OutputError(
                f"'{self._output}' holds results of other code: node {', '.join(differing)} comes from elsewhere now.",
                hint="Choose another folder with --output-dir, or lock the plugins: cuvis-ai plugins lock",
            )

    # What is said.

    def _tell(self) -> None:
        self._observe(self._report)
        now = time.monotonic()
        if now - self._told > _PAGE_EVERY:
            self._told = now
            write_page(self._report, self._about)
            if self._metrics is not None:
                write_metrics(self._report, self._metrics)

    def _summarize(self) -> None:
        outcomes = (known for _, known in self._records.known(self._all) if known is not None)
        write_summary(self._report, self._about, outcomes)
        if self._metrics is not None:
            write_metrics(self._report, self._metrics)
        self._observe(self._report)


def make_job(
    registry: NodeRegistry, pipeline: str | Path, manifest: str | Path | None, options: Mapping[str, Any]
) -> Job:
    """Return a job whose files are all named: the pipeline by its path, the weights that lie beside it.

    Args:
        registry: In which the plugins are loaded.
        pipeline: The pipeline file, or the name of one that a plugin brings along.
        manifest: The manifest of the plugins.
        options: Further attributes of `Job`.

    Raises:
        PipelineError: There is no such pipeline.
    """
    file = find_pipeline_file(Path(pipeline), registry.config_owners())
    given: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else str(value) if isinstance(value, Path) else value
        for key, value in options.items()
    }
    weights = given.pop("weights", None) or find_weights(file)
    return Job(
        str(file.absolute()),
        str(Path(manifest).absolute()) if manifest is not None else None,
        str(Path(weights).absolute()) if weights is not None else None,
        **given,
    )


def _is_held(file: Path) -> bool:
    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def _kind(data: dict[str, Any]) -> dict[str, Any]:
    return {"kind": data.get("kind"), "node": data.get("node")}
