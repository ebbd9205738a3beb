"""Workers of this machine, in the place of which stands a program that answers what it was told."""

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from cuvis_ai_core.batch.engine import Event, Setup
from cuvis_ai_core.batch.job import Job
from cuvis_ai_core.batch.job_cubes import Unit
from cuvis_ai_core.batch.local_processes import Local, LocalCrew
from cuvis_ai_core.plugins.isolation.private_names import LIVE_PLUGINS

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the program is one of a shell")

PROGRAM = f"""#!/bin/sh
read -r setup
echo "this is no answer"
printf '{{"event": "ready", "told": %s, "with": "%s"}}\\n' "$setup" \
    "$* $OMP_NUM_THREADS $MKL_NUM_THREADS $OPENBLAS_NUM_THREADS ${{{LIVE_PLUGINS}-none}}"
while read -r line; do
    case "$line" in
        *ends*) printf "%02000d\\nlast\\377\\n" 7 >&2; exit 3;;
        *sleeps*) sleep 600;;
        *silent*) kill -KILL $$;;
        *) printf '{{"event": "done", "told": %s}}\\n' "$line";;
    esac
done
"""

Crew = Callable[..., LocalCrew]


@pytest.fixture
def crew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Crew]:
    """Return a function that gives workers for a job, which are ended in the end."""
    program = tmp_path / "program"
    program.write_text(PROGRAM, encoding="utf-8")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(6), raising=False)
    made = []

    def make(**options: Any) -> LocalCrew:
        made.append(Local(**options).crew(Setup(Job("p.yaml", keep=("a.b",)), tmp_path / "out", "print")))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_a_worker_is_told_the_job_and_then_cubes(crew: Crew, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And what it says is heard, but for lines that are no answers; it knows no plugins of this process."""
    monkeypatch.setenv(LIVE_PLUGINS, "some")
    monkeypatch.setenv("MKL_NUM_THREADS", "9")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    workers = crew(workers=2, memory=2**30)
    workers.start(3)
    job = {**asdict(Job("p.yaml")), "overrides": [], "keep": ["a.b"], "code": []}
    told = {"job": job, "output": str(tmp_path / "out"), "fingerprint": "print", "name": "local-3", "memory": 2**30}
    about = "-m cuvis_ai_core.batch.worker 3 9 3 none"
    assert workers.next(60) == Event(3, "ready", {"told": told, "with": about})
    workers.give(3, Unit("cubes/a.npy", "a"), 2)
    assert workers.next(60) == Event(3, "done", {"told": {"cube": "cubes/a.npy", "name": "a", "tries": 2}})
    assert workers.next(0) is None


@pytest.mark.parametrize(
    ("options", "threads"), [({}, 6), ({"workers": 4}, 1), ({"workers": 9}, 1), ({"threads": 5}, 5)]
)
def test_workers_share_the_cores(crew: Crew, options: dict[str, int], threads: int) -> None:
    """One at least is for each, and the number that is given counts."""
    workers = crew(**options)
    workers.start(0)
    event = workers.next(60)
    assert event is not None
    assert event.data["with"].split()[-2] == os.environ.get("OPENBLAS_NUM_THREADS", str(threads))


def test_the_death_of_a_worker_is_heard_after_what_it_said(crew: Crew) -> None:
    """With the end of its log; where it said nothing, with what ended it alone."""
    workers = crew()
    for cube, kind, error in (
        ("ends", "status 3", f"ended by itself with status 3. The last lines of its log:\n{'0' * 1992}7\nlast\ufffd"),
        ("silent", "SIGKILL", "was ended by signal SIGKILL, which is also what the system does when memory runs out."),
    ):
        workers.start(0)
        workers.give(0, Unit(cube, cube), 1)
        ready, died = workers.next(60), workers.next(60)
        assert ready is not None
        assert ready.kind == "ready"
        assert died == Event(0, "died", {"error": f"Its worker {error}", "kind": kind})
        workers.end(0)


def test_of_a_worker_that_was_ended_nothing_more_is_heard(crew: Crew, strays: Callable[[], list[str]]) -> None:
    """Neither of it nor of what it had started; another gets its number."""
    workers = crew()
    workers.start(0)
    assert workers.next(60) is not None
    workers.give(0, Unit("sleeps", "a"), 1)
    workers.end(0)
    workers.end(0)
    assert strays() == []
    workers.start(0)
    heard = [workers.next(60) for _ in range(2)]  # the first is the death of the other
    assert heard[0] is None
    assert heard[1] is not None
    assert heard[1].kind == "ready"


def test_no_workers_do_nothing() -> None:
    """Which is said at once."""
    with pytest.raises(ValueError, match="0 workers do nothing; there must be one at least"):
        Local(workers=0)
