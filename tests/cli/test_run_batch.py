"""`restore-pipeline` on many cubes: what is handed to the driver, and what is said of what it reports."""

import json
import re
import sys
from collections.abc import Callable
from contextlib import nullcontext
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuvis_ai_core.batch import Limits, Local, Ray, Report, scheduler
from cuvis_ai_core.batch.cube_records import Outcome
from cuvis_ai_core.batch.job_cubes import Unit
from cuvis_ai_core.cli.restore import run_batch

Run = Callable[..., Any]


class Handed:
    """What the driver was handed, and what it tells of."""

    def __init__(self) -> None:
        self.job: Any = None
        self.rest: list[tuple[Any, ...]] = []
        self.told: list[dict[str, Any]] = [{}]


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch, shell: Run, write_yaml: Run) -> Handed:
    """Return what the driver is handed, in a folder with a pipeline and two cubes; it reports what it is told to."""
    found = Handed()

    class Driver:
        """A driver that runs nothing."""

        def __init__(self, job: Any, units: Any, output: Path, *rest: Any) -> None:
            found.job = job
            engine, limits, self._tell, about, metrics = rest
            found.rest.append(([unit.name for unit in units], output, engine, limits, about, metrics))
            self._report = Report(output, total=3)

        def run(self) -> Report:
            """Tell of each report, and return the last."""
            for values in found.told:
                for key, value in values.items():
                    setattr(self._report, key, value)
                self._tell(self._report)
            return self._report

    monkeypatch.setattr(scheduler, "Driver", Driver)
    write_yaml("rx.yaml", {"nodes": [{"name": "rx", "class_name": "RXDetector"}]})
    Path("cubes").mkdir()
    for name in "ab":
        np.save(f"cubes/{name}.npy", np.zeros((2, 2, 3), np.float32))
    monkeypatch.setattr(sys, "argv", ["/somewhere/restore-pipeline", "--cube-path", "my cubes"])
    return found


def _run(shell: Run, *options: str) -> tuple[int, list[str], list[str]]:
    result = shell("restore-pipeline", "--pipeline-path", "rx.yaml", "--cube-path", "cubes/*.npy", *options)
    said, printed = (
        [re.sub("[─ ]+", " ", line).strip() for line in text.replace(str(Path.cwd()), "HERE").splitlines()]
        for text in (result.stderr, result.stdout)
    )
    return result.exit_code, said, printed


END = "a folder for each cube; cubes.csv, report.html; run.json says what ran."
ABOUT = {"pipeline_name": "rx", "command": "restore-pipeline --cube-path 'my cubes'"}


def test_a_run_on_many_cubes_is_handed_on(shell: Run, handed: Handed, tmp_path: Path) -> None:
    """With what was asked for, or with what holds where nothing was."""
    Path("w.npz").touch()
    handed.told = [{"done": 3}]
    assert _run(shell)[:2] == (0, [])
    assert _run(
        shell,
        *("--workers", "4", "--timeout", "2.5", "--max-failures", "7", "--retry-failed", "--shard", " 1/3 "),
        *("--metrics-file", "m.prom", "--output-dir", "out", "--keep", "rx.scores", "--format", "envi"),
        *("--weights-path", "w.npz", "--override", "metadata.name=x", "--memory", "2 GiB", "--measurement", "5"),
        *("--processing-mode", "Raw", "--allow-untrained"),
    )[:2] == (0, [])
    _run(shell, "--engine", "ray")
    _run(shell, "--engine", "ray", "--workers", "5", "--ray-address", "there:1", "--bundle", "b.zip")
    names = ["a", "b"]
    assert handed.rest == [
        (names, Path("rx-output"), Local(1), Limits(), ABOUT, None),
        (names, Path("out"), Local(4), Limits(2.5, 7, True, (1, 3)), ABOUT, Path("m.prom")),
        (names, Path("rx-output"), Ray(None, workers=2), Limits(), ABOUT, None),
        (names, Path("rx-output"), Ray("there:1", workers=5, bundle=Path("b.zip")), Limits(), ABOUT, None),
    ]


def test_the_job_is_what_was_asked_for(shell: Run, handed: Handed) -> None:
    """Each option in its place."""
    Path("w.npz").touch()
    options = ("--keep", "rx.scores", "--format", "envi", "--weights-path", "w.npz", "--override", "metadata.name=x")
    more = ("--memory", "2GiB", "--measurement", "5", "--processing-mode", "Raw", "--allow-untrained")
    _run(shell, "--workers", "2", *options, *more)
    job = handed.job
    assert (job.keep, job.format, job.overrides, job.device) == (("rx.scores",), "envi", ("metadata.name=x",), "cpu")
    assert (job.memory, job.measurement, job.processing_mode, job.allow_untrained) == (2**31, 5, "Raw", True)
    assert (Path(job.pipeline).name, Path(job.weights).name, job.manifest) == ("rx.yaml", "w.npz", None)


def test_what_a_run_reports_is_printed(shell: Run, handed: Handed) -> None:
    """Its remarks as they come, then what failed, in a table or for programs; its status says whether all is done."""
    failures = [
        Outcome(Unit("cubes/a.npy", "a"), "it is bad\nindeed", node="rx"),
        Outcome(Unit("cubes/b.npy", "b"), "it is worse"),
    ]
    handed.told = [{"remarks": ["first"]}, {"remarks": ["first", "second"], "done": 1, "failed": 2, "skipped": 0}]
    handed.told[-1]["failures"] = failures
    failed = ["Failed", "", "cube node error", "", "a rx it is bad", "b - it is worse", ""]
    counted = ["1 of 3 cubes are done, 2 failed.", f"Written to rx-output: {END}"]
    assert _run(shell) == (1, ["first", "second"], [*failed, *counted])
    status, _, printed = _run(shell, "--json")
    found = json.loads(" ".join(printed))
    assert (status, found["output"], found["total"], found["done"]) == (1, "rx-output", 3, 1)
    assert [each["error"] for each in found["failures"]] == ["it is bad\nindeed", "it is worse"]
    handed.told = [{"done": 1, "skipped": 2}]
    counted = ["3 of 3 cubes are done (2 of them before), 0 failed.", f"Written to rx-output: {END}"]
    assert _run(shell) == (0, [], counted)
    handed.told = [{"done": 1, "skipped": 1}]
    assert _run(shell)[0] == 1


@pytest.mark.parametrize("live", [False, True])
def test_how_a_run_stands_is_shown(shell: Run, handed: Handed, monkeypatch: pytest.MonkeyPatch, *, live: bool) -> None:
    """On a terminal all the time, elsewhere every ten seconds, and not at all where nobody wants it."""
    shown: list[str] = []
    monkeypatch.setattr(run_batch, "status_line", lambda: nullcontext(shown.append if live else None))
    times = chain([100.0, 105.0, 110.0, 111.0, 111.0, 115.0, 121.5, 121.5, 121.6], count(1000, 100))
    monkeypatch.setattr(run_batch, "time", type("Clock", (), {"monotonic": staticmethod(lambda: next(times))}))
    monkeypatch.setattr(Report, "line", lambda report: f"{report.done} done")
    handed.told = [{"done": number} for number in range(6)]
    _, said, _ = _run(shell)
    assert (shown, said) == (([f"{n} done" for n in range(6)], []) if live else ([], ["2 done", "4 done"]))
    if not live:
        assert _run(shell, "--quiet")[1] == []


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--shard", "4/4"), "'4/4' is no part, such as 0/4 to 3/4."),
        (("--shard", "1"), "'1' is no part, such as 0/4 to 3/4."),
        (("--shard", "1/2/3"), "'1/2/3' is no part, such as 0/4 to 3/4."),
        (("--shard", "-1/2"), "'-1/2' is no part, such as 0/4 to 3/4."),
        (("--workers", "1", "--ray-address", "x"), "--ray-address and --bundle go with --engine ray."),
        (("--engine", "local", "--bundle", "x"), "--ray-address and --bundle go with --engine ray."),
        (("--workers", "0"), "0 is not in the range x>=1"),
        (("--timeout", "0"), "0 is not in the range x>0"),
        (("--max-failures", "0"), "0 is not in the range x>=1"),
        (("--metrics-file", "."), "'.' is a directory"),
    ],
)
def test_what_is_not_asked_for_so_is_refused(
    shell: Run, handed: Handed, options: tuple[str, ...], problem: str
) -> None:
    """With what would be right."""
    status, said, _ = _run(shell, *options)
    assert (status, handed.rest) == (2, [])
    assert problem in " ".join(said)
