"""What the driver does with workers that are ready, done, late, or dead; no worker is needed to see it."""

import csv
import errno
import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cuvis_ai_core.batch import scheduler
from cuvis_ai_core.batch.cube_records import Outcome
from cuvis_ai_core.batch.engine import Event, Setup
from cuvis_ai_core.batch.failure_limits import Limits
from cuvis_ai_core.batch.job import Job
from cuvis_ai_core.batch.job_cubes import Unit
from cuvis_ai_core.batch.job_report import Report
from cuvis_ai_core.batch.scheduler import Driver
from cuvis_ai_core.errors import BatchError, OutputError

Behave = Callable[[str, int], Iterable[Event | BaseException | None]]
"""What a worker says when it was given a cube (its name, and how often it was begun); `None`: nothing, for a moment."""

IDLE = 0.005
PATIENCE = 10.0


def done(_: str, __: int) -> Iterator[Event]:
    """Do every cube."""
    yield Event(0, "done")


def failing(_: str, __: int) -> Iterator[Event]:
    """Fail with every cube."""
    yield Event(0, "done", {"error": "it is bad", "kind": "ValueError"})


class Script:
    """An engine and its crew, which say what they are told to say.

    Args:
        behave: What is said of a cube.
        starts: What workers say when they start, one after the other; then they are ready.
        workers: How many there are.
        shares_memory: Whether they take from the memory of this machine.
        peak: How many bytes one takes.
    """

    def __init__(
        self,
        behave: Behave = done,
        starts: Iterable[Event | None] = (),
        *,
        workers: int = 1,
        shares_memory: bool = False,
        peak: int = 0,
    ) -> None:
        self.workers = workers
        self.shares_memory = shares_memory
        self.given: list[tuple[str, int]] = []
        self.setup: Setup | None = None
        self._behave = behave
        self._starts = deque(starts)
        self._peak = peak
        self._events: deque[Event | BaseException | None] = deque()
        self._ready: set[int] = set()
        self._running: set[int] = set()
        self._idle_since: float | None = None

    def crew(self, setup: Setup) -> "Script":
        """Return the workers for a job."""
        self.setup = setup
        return self

    def start(self, worker: int) -> None:
        """Say what is to be said, or that the worker is ready; none is begun while it runs."""
        assert worker not in self._running
        self._running.add(worker)
        while self._starts:
            first = self._starts.popleft()
            self._events.append(first)
            if first is not None:
                return
        self._events.append(Event(worker, "ready", {"nodes": [], "peak": self._peak}))

    def give(self, worker: int, unit: Unit, tries: int) -> None:
        """Have a worker say what is to be said of a cube."""
        assert worker in self._ready
        self.given.append((unit.name, tries))
        for each in self._behave(unit.name, tries):
            self._events.append(Event(worker, each.kind, each.data) if isinstance(each, Event) else each)

    def next(self, seconds: float) -> Event | None:
        """Return what is said next; nobody waits for ever for nothing."""
        if not self._events:
            self._idle_since = self._idle_since or time.monotonic()
            assert time.monotonic() - self._idle_since < PATIENCE
            time.sleep(min(seconds, IDLE))
            return None
        self._idle_since = None
        event = self._events.popleft()
        if isinstance(event, BaseException):
            raise event
        if event is None:
            time.sleep(IDLE)
        elif event.kind == "ready":
            self._ready.add(event.worker)
        return event

    def end(self, worker: int) -> None:
        """End a worker: it is ready no more, and nothing more is heard of it."""
        self._ready.discard(worker)
        self._running.discard(worker)
        self._events = deque(each for each in self._events if not isinstance(each, Event) or each.worker != worker)

    def close(self) -> None:
        """End all of them."""
        self._ready.clear()
        self._running.clear()

    def has_ended(self) -> bool:
        """Tell whether no worker runs any more."""
        return not self._running


Run = Callable[..., Report]


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """Return the folder of the results."""
    return tmp_path / "results"


@pytest.fixture
def run(tmp_path: Path, output: Path) -> Run:
    """Return a function that runs a job on cubes of some names."""
    (tmp_path / "pipeline.yaml").write_text("nodes: []\n")

    def call(script: Script, names: str = "a b c", job: Job | None = None, **limits: Any) -> Report:
        units = []
        for name in names.split():
            cube = tmp_path / "cubes" / f"{name}.npy"
            cube.parent.mkdir(parents=True, exist_ok=True)
            if not cube.exists():
                cube.write_bytes(b"x")
            units.append(Unit(str(cube), name))
        job = job or Job(str(tmp_path / "pipeline.yaml"))
        try:
            return Driver(job, units, output, script, Limits(**limits)).run()
        finally:
            assert script.has_ended()

    return call


def test_a_cube_whose_worker_dies_is_begun_twice(run: Run) -> None:
    """Then it has failed; the others are done, by workers that come after those that died."""

    def behave(name: str, _: int) -> Iterator[Event]:
        yield Event(0, "died", {"error": "it was killed", "kind": "SIGKILL"}) if name == "b" else Event(0, "done")

    script = Script(behave)
    report = run(script)
    assert sorted(script.given) == [("a", 1), ("b", 1), ("b", 2), ("c", 1)]
    assert (report.done, report.failed, report.ended) == (2, 1, True)
    assert [(each.unit.name, each.tries, each.kind) for each in report.failures] == [("b", 2, "SIGKILL")]


DEATHS = [Event(0, "died", {"error": "it was killed"})] * 2


def test_workers_that_die_before_they_have_a_cube_end_the_run(run: Run, output: Path) -> None:
    """Not before the third in a row; nothing of it stays, and nothing was begun."""
    script = Script(starts=DEATHS * 2)
    with pytest.raises(BatchError, match="die before they have a cube") as caught:
        run(script)
    assert caught.value.begun is False
    assert script.given == []
    assert not output.exists()


def test_a_worker_that_is_ready_makes_up_for_those_that_died(run: Run) -> None:
    """Only in a row they count."""

    def behave(name: str, tries: int) -> Iterator[Event]:
        yield Event(0, "died", {"error": "it was killed"}) if (name, tries) == ("a", 1) else Event(0, "done")

    ready = Event(0, "ready", {"nodes": [], "peak": 0})
    assert run(Script(behave, [*DEATHS, ready, *DEATHS, ready])).done == 3


def test_a_worker_that_dies_while_it_waits_gets_no_cube(run: Run) -> None:
    """The cube of another one that dies is for whoever is ready."""

    def behave(name: str, tries: int) -> Iterator[Event]:
        if name == "b" and tries == 1:
            yield Event(0, "died", {"error": "it was killed"})
            return
        yield Event(0, "done")
        if name == "a":
            yield Event(0, "died", {"error": "it was killed"})

    assert run(Script(behave, workers=2), "a b").done == 2


def test_a_run_is_given_up_with_the_failures_that_it_may_have(run: Run) -> None:
    """Not with one more; a run that was given up has not ended."""
    script = Script(failing)
    report = run(script, "a b c d", max_failures=2)
    assert len(script.given) == report.failed == 2
    assert not report.ended
    assert "Given up after 2 failures." in report.remarks


def test_a_cube_that_failed_is_tried_again_where_that_is_asked_for(run: Run, tmp_path: Path) -> None:
    """What became of it last is what is known; one that was changed is another one."""
    run(Script(failing), "a")
    script = Script()
    assert (run(script, "a").failed, script.given) == (1, [])
    assert run(Script(), "a", retry_failed=True).done == 1
    assert run(Script(failing), "a").failed == 1
    (tmp_path / "cubes/a.npy").write_bytes(b"xx")
    script = Script()
    assert run(script, "a").done == 1


def test_a_cube_that_takes_too_long_is_ended_alone(run: Run) -> None:
    """The others go on, in another worker."""

    def behave(name: str, _: int) -> Iterator[Event]:
        if name != "a":
            yield Event(0, "done")

    report = run(Script(behave), timeout=0.05)
    assert (report.done, report.failed) == (2, 1)
    assert [(each.unit.name, each.kind) for each in report.failures] == [("a", "timeout")]


def test_a_worker_may_take_longer_to_be_ready_than_a_cube(run: Run) -> None:
    """It has plugins to install."""
    assert run(Script(starts=[None] * 20), timeout=0.02).done == 3


def test_a_full_disk_ends_the_run(run: Run) -> None:
    """It is no fault of the cube that met it."""
    data = {"full": errno.ENOSPC, "error": "No space left on device\nmore"}
    with pytest.raises(OutputError, match=r"A disk is full, perhaps that of .*No space left") as caught:
        run(Script(lambda _, __: [Event(0, "done", data)]))
    assert caught.value.begun is True


def test_a_run_that_is_interrupted_says_what_is_kept(run: Run, output: Path) -> None:
    """To the person, and in its record."""

    def behave(name: str, _: int) -> Iterator[Event | BaseException]:
        yield KeyboardInterrupt() if name == "b" else Event(0, "done")

    with pytest.raises(KeyboardInterrupt) as caught:
        run(Script(behave))
    assert "1 of 3 cubes are done and kept" in caught.value.__notes__[0]
    assert json.loads((output / "run.json").read_text())["ended"] is False


def test_the_table_has_what_all_parts_of_a_run_did(run: Run, output: Path) -> None:
    """Each has some of the cubes; the last one tells of all."""
    names = "a b c d e f"
    counts = [run(Script(failing), names, shard=(number, 2)).failed for number in range(2)]
    assert sum(counts) == 6
    assert all(counts)
    with (output / "cubes.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 6


def test_what_was_decided_about_memory_is_said_once(run: Run) -> None:
    """As many workers are started as it holds."""
    report = run(Script(workers=3, shares_memory=True, peak=2**60), "a b c d e")
    assert report.workers == 1
    assert len([each for each in report.remarks if "instead of" in each]) == 1


@pytest.mark.parametrize(("workers", "shares", "divided"), [(1, True, False), (2, True, True), (2, False, False)])
def test_workers_of_one_machine_share_its_memory(run: Run, *, workers: int, shares: bool, divided: bool) -> None:
    """Each gets a part for its tiles, unless somebody said how much."""
    script = Script(workers=workers, shares_memory=shares)
    run(script)
    assert script.setup is not None
    assert (script.setup.job.memory is not None) == divided


@pytest.mark.parametrize("link", ["a", "sub"])
def test_a_cube_has_no_results_behind_a_link(run: Run, output: Path, tmp_path: Path, link: str) -> None:
    """No run made it; whoever did may have it lead anywhere."""
    output.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (output / link).symlink_to(tmp_path / "elsewhere")
    script = Script()
    with pytest.raises(OutputError, match="has a link"):
        run(script, "a sub/b")
    assert script.given == []


class Clock:
    """A clock that goes on by some seconds each time the driver tells how it stands."""

    def __init__(self, seconds: float) -> None:
        self.now = 0.0
        self._seconds = seconds

    def monotonic(self) -> float:
        """Return the time."""
        return self.now

    def tick(self, _: Report) -> None:
        """Go on."""
        self.now += self._seconds


@pytest.fixture
def timed(tmp_path: Path, output: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Report]:
    """Return a function that runs a job on one cube, or several, by a clock of its own."""
    (tmp_path / "pipeline.yaml").write_text("nodes: []\n")

    def call(script: Script, seconds: float, names: str = "a", metrics: Path | None = None, **limits: Any) -> Report:
        clock = Clock(seconds)
        monkeypatch.setattr(scheduler, "time", clock)
        for name in names.split():
            (tmp_path / f"{name}.npy").write_bytes(b"x")
        units = [Unit(str(tmp_path / f"{name}.npy"), name) for name in names.split()]
        job = Job(str(tmp_path / "pipeline.yaml"))
        return Driver(job, units, output, script, Limits(**limits), clock.tick, None, metrics).run()

    return call


@pytest.mark.parametrize(("moments", "is_said"), [(4, False), (5, True), (12, True)])
def test_a_run_without_workers_says_so_once(timed: Run, output: Path, moments: int, *, is_said: bool) -> None:
    """After thirty seconds, and goes on waiting."""
    report = timed(Script(starts=[None] * moments), 10)
    logs = output / ".cuvis-batch" / "logs"
    said = (
        f"No worker is ready since 30 s; the run waits for one. What they do stands in '{logs}'; with Ray, a machine "
        "must have room: ray status"
    )
    assert (report.remarks, report.done) == ([said] * is_said, 1)


@pytest.mark.parametrize(("timeout", "moments", "most"), [(5.0, 5, 300), (400.0, 6, 400)])
def test_no_worker_is_waited_for_for_ever_where_time_is_limited(
    timed: Run, output: Path, timeout: float, moments: int, most: int
) -> None:
    """Five minutes at least, for there are plugins to install."""
    assert timed(Script(starts=[None] * (moments - 1)), 100, timeout=timeout).done == 1
    with pytest.raises(BatchError) as caught:
        timed(Script(starts=[None] * moments), 100, "b", timeout=timeout)
    assert caught.value.message == f"No worker was ready after {most} s (--timeout)."
    assert f"'{output / '.cuvis-batch' / 'logs'}': a plugin may wait while it is imported." in str(caught.value.hint)


@pytest.mark.parametrize(("timeout", "is_late"), [(10.0, False), (9.5, True)])
def test_a_cube_has_as_long_as_it_may_take(timed: Run, timeout: float, *, is_late: bool) -> None:
    """And not a moment longer; who has it then is another one, which does the rest."""

    def behave(name: str, _: int) -> Iterator[Event | None]:
        if name == "a":
            yield None
        yield Event(0, "done")

    script = Script(behave)
    report = timed(script, 10, "a b", timeout=timeout)
    assert (report.done, report.failed) == ((1, 1) if is_late else (2, 0))
    for each in report.failures:
        error = "It took longer than 9.5 s (--timeout)."
        assert each == Outcome(each.unit, error, "timeout", seconds=10.0, worker="0", tries=1)


def test_what_becomes_of_a_cube_is_noted_as_it_was_told(timed: Run) -> None:
    """With the worker, its tries, and the time that a worker had which died with it."""
    data = {"error": "it is bad", "kind": "ValueError", "node": "rx", "seconds": 1.5}

    def behave(name: str, _: int) -> Iterator[Event | None]:
        yield Event(0, "done", data) if name == "a" else None
        if name == "b":
            yield Event(0, "died", {"error": "it was killed", "kind": "SIGKILL"})

    first, second = timed(Script(behave), 10, "a b").failures
    assert first == Outcome(first.unit, "it is bad", "ValueError", "rx", 1.5, "0", 1)
    assert second == Outcome(second.unit, "it was killed", "SIGKILL", None, 20.0, "0", 2)


def test_a_pipeline_that_cannot_be_set_up_ends_the_run(run: Run) -> None:
    """With the node and the kind of what is wrong."""
    data = {"error": "there is no such node", "kind": "NodeNotFoundError", "node": "rx"}
    with pytest.raises(BatchError) as caught:
        run(Script(starts=[Event(0, "broken", data)]))
    error = caught.value
    assert error.message == "The pipeline cannot be set up: there is no such node"
    assert (error.kind, error.node, error.begun) == ("NodeNotFoundError", "rx", False)


def test_a_page_tells_how_it_stands_every_five_seconds(
    timed: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And numbers for programs, where they are asked for, as often and in the end."""
    written: list[tuple[str, float]] = []
    for name in ("write_page", "write_metrics"):
        monkeypatch.setattr(scheduler, name, lambda *_, name=name: written.append((name, vars(scheduler)["time"].now)))
    timed(Script(starts=[None] * 6), 2, metrics=tmp_path / "m.prom")
    both = [("write_page", 6.0), ("write_metrics", 6.0), ("write_page", 12.0), ("write_metrics", 12.0)]
    assert written == [*both, ("write_metrics", 16.0)]


def test_a_worker_ends_where_a_cube_took_more_than_all_can_have(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others go on, and take what is left."""
    monkeypatch.setattr("cuvis_ai_core.batch.worker_memory.free_memory", lambda: 100)
    ended: list[int] = []

    class Noting(Script):
        """A crew that notes whom it ends."""

        def end(self, worker: int) -> None:
            """Note it."""
            ended.append(worker)
            super().end(worker)

    report = run(Noting(lambda *_: [Event(0, "done", {"peak": 60})], workers=2, shares_memory=True), "a b c d e")
    assert (report.done, report.workers, ended) == (5, 2, [1])
