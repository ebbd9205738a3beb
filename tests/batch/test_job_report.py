"""How a job stands, as programs and people read it."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest

from cuvis_ai_core.batch.cube_records import Outcome
from cuvis_ai_core.batch.job_cubes import Unit
from cuvis_ai_core.batch.job_report import Report
from cuvis_ai_core.batch.report_files import write_metrics, write_page, write_summary


def test_the_file_for_prometheus_has_a_line_for_each_state(tmp_path: Path) -> None:
    """How many cubes are done, failed, done before and left, and since when the run goes on."""
    file = tmp_path / "cuvis.prom"
    write_metrics(Report(tmp_path, total=9, done=4, failed=2, skipped=1), file)
    values = dict(line.rsplit(" ", 1) for line in file.read_text().splitlines() if not line.startswith("#"))
    assert re.fullmatch(r"\d+\.\d{3}", values.pop("cuvis_batch_seconds"))
    assert values == {
        f'cuvis_batch_cubes{{state="{state}"}}': count
        for state, count in (("done", "4"), ("failed", "2"), ("skipped", "1"), ("left", "2"))
    }


def outcome(name: str, seconds: float = 0.0, **more: Any) -> Outcome:
    """Return what became of a cube."""
    return Outcome(Unit(f"/cubes/{name}.npy", name), seconds=seconds, **more)


def reported(output: Path, *outcomes: Outcome, **more: Any) -> Report:
    """Return a report of some cubes of which each was just done or failed."""
    report = Report(output, **more)
    for each in outcomes:
        report.add(each)
    return report


def test_the_slowest_are_ten_and_the_failures_five_hundred(tmp_path: Path) -> None:
    """However many cubes there are: all are counted, and the slowest comes first."""
    done = [outcome(f"c{number}", float(number % 30)) for number in range(30)]
    failed = [outcome(f"f{number}", error="bad", node="n") for number in range(502)]
    report = reported(tmp_path, *done, *failed, total=600, skipped=3)
    assert (report.done, report.failed, report.left) == (30, 502, 65)
    assert report.slowest == [(float(number), f"c{number}") for number in range(29, 19, -1)]
    told = report.to_dict()
    assert [each["cube"] for each in told["failures"]] == [f"f{number}" for number in range(500)]
    assert told["failures"][0] == {"cube": "f0", "file": "/cubes/f0.npy", "node": "n", "error": "bad"}
    assert told["slowest"][0] == {"cube": "c29", "seconds": 29.0}


@pytest.mark.parametrize(
    ("counts", "line", "left"),
    [
        ({"total": 7, "done": 2, "skipped": 1}, "3 done, 0 failed, 4 left, 0.5 cubes/s, 8 s to go", 8.0),
        ({"total": 3, "done": 2, "failed": 1}, "2 done, 1 failed, 0 left, 0.5 cubes/s", 0.0),
        ({"total": 3, "skipped": 1}, "1 done, 0 failed, 2 left", None),
    ],
)
def test_how_it_stands_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counts: dict[str, int], line: str, left: float | None
) -> None:
    """With the rate of this run alone, and the time that the rest takes at it."""
    monkeypatch.setattr(Report, "seconds", 4.0)
    report = Report(tmp_path, **counts)  # type: ignore[arg-type]
    assert (report.line(), report.seconds_left) == (line, left)
    assert report.to_dict()["cubes_per_second"] == (0.5 if counts.get("done") else 0.0)


def test_the_slowest_of_all_is_named_in_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And rates have four digits for programs."""
    monkeypatch.setattr(Report, "seconds", 3.0)
    report = reported(tmp_path, outcome("a", 1.5), outcome("b", 12.3456), outcome("c", 2.0), outcome("d", 3), total=4)
    assert report.line().endswith("slowest b (12.3 s)")
    assert report.to_dict()["cubes_per_second"] == 1.3333


@pytest.mark.parametrize(
    ("counts", "state", "refreshes"),
    [({"total": 2}, "under way", True), ({"total": 0}, "ending", True), ({"total": 2, "ended": True}, "ended", False)],
)
def test_the_page_is_read_again_until_the_run_has_ended(
    tmp_path: Path, counts: dict[str, Any], state: str, *, refreshes: bool
) -> None:
    """It says how far the run is, and where nothing was done, nothing of the time that is left."""
    write_page(reported(tmp_path, **counts), {"pipeline_name": "p", "command": "again & again"})
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert ('http-equiv="refresh"' in text) is refreshes
    assert f"{state}; 0 done" in text
    assert f'max="{max(counts["total"], 1)}"' in text
    assert re.search(r"time left</td><td[^>]*>-<", text)
    assert "again &amp; again" in text
    assert not re.search("Failed<|Slowest<|Remarks<", text)


def test_the_page_names_five_hundred_failures_and_counts_the_others(tmp_path: Path) -> None:
    """Cubes that were done before count as finished."""
    failed = [outcome(f"f{number}", error="bad\nand more") for number in range(500)]
    done, page = outcome("slow", 1.23456), tmp_path / "report.html"
    write_page(reported(tmp_path, *failed, done, total=600, skipped=9), {})
    text = page.read_text(encoding="utf-8")
    assert "have them all" not in text
    assert "cubes.csv has them all" not in text
    assert 'value="510"' in text
    assert "1.235" in text
    assert ">bad<" in text
    assert "and more" not in text
    write_page(reported(tmp_path, *failed, *failed[:2], total=600), {})
    assert "and 2 more: cubes.csv has them all" in page.read_text(encoding="utf-8")


def test_the_table_has_a_row_for_each_cube_and_a_column_for_each_end(tmp_path: Path) -> None:
    """Outputs that only some cubes have are empty elsewhere; nothing is computed by a spreadsheet."""
    outcomes = [
        outcome("a", values={"n.x": (1, 2.5)}),
        outcome("=b", values={"n.x": (None, None), "@n.y": (0, 3)}),
        outcome("c", error="", tries=2, worker="w"),
        outcome("d\udcff", error="bad\nand more", values={}),
    ]
    write_summary(reported(tmp_path, *outcomes, total=4, ended=True), {"command": "c"}, outcomes)
    with (tmp_path / "cubes.csv").open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header[:7] == ["cube", "file", "state", "seconds", "worker", "tries", "error"]
    assert header[7:] == ["n.x min", "n.x max", "'@n.y min", "'@n.y max"]
    assert [(row[0], row[2], row[6], row[7:]) for row in rows] == [
        ("a", "done", "", ["1", "2.5"]),
        ("'=b", "done", "", ["", "", "0", "3"]),
        ("c", "failed", "", ["", "", "", ""]),
        ("d\\udcff", "failed", "bad", ["", "", "", ""]),
    ]
    assert json.loads((tmp_path / "run.json").read_bytes())["total"] == 4
