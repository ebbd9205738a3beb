"""The files that say how a job stands or ended: `run.json`, `cubes.csv`, `report.html`, a file for Prometheus."""

import csv
import io
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cuvis_ai_core._atomic_writes import write_atomic, write_json
from cuvis_ai_core._printable_text import duration, in_cell
from cuvis_ai_core.batch.cube_records import Outcome
from cuvis_ai_core.batch.job_report import Report
from cuvis_ai_core.errors import OutputError
from cuvis_ai_core.pages.html import element, lines, page, section, table
from cuvis_ai_core.results.run_record import RECORD, for_results

TABLE: Final = "cubes.csv"
PAGE: Final = "report.html"
_REFRESH: Final = 5
"""Seconds between two states of a page while the job runs."""


def write_summary(report: Report, about: dict[str, Any], outcomes: Iterable[Outcome]) -> None:
    """Write what says in the end what was done.

    Args:
        report: How it ended.
        about: The job.
        outcomes: Of every cube that is done or failed, in the order of the table.

    Raises:
        OSError: The disk is full.
    """
    written = _csv(outcomes).encode(errors="backslashreplace")  # names of files need not be UTF-8
    write_atomic(report.output / TABLE, written)
    record = for_results({**about, "date": datetime.now(UTC).isoformat(timespec="seconds"), **report.to_dict()})
    write_json(report.output / RECORD, record)
    write_page(report, about)


def write_page(report: Report, about: dict[str, Any]) -> None:
    """Write the page as it stands; a browser reads it again by itself while the job runs."""
    finished = report.total - report.left
    state = "ended" if report.ended else "under way" if report.left else "ending"
    bar = element("progress", f"{finished} of {report.total}", value=finished, max=max(report.total, 1))
    figures = [
        ("as of", datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")),
        ("done by this run", report.done),
        ("done before", report.skipped),
        ("failed", report.failed),
        ("left", report.left),
        ("cubes per second", round(report.rate, 3)),
        ("workers", report.workers),
        ("time so far", duration(report.seconds)),
        ("time left", "-" if report.seconds_left is None else duration(report.seconds_left)),
    ]
    parts = [bar, section("How it stands", table(("what", "value"), figures))]
    if report.remarks:
        parts.append(section("Remarks", *(element("p", each) for each in report.remarks)))
    if report.failures:
        rows = [(each.unit.name, each.node or "-", each.kind or "-", _first(each.error)) for each in report.failures]
        more = report.failed - len(rows)
        note = element("p", f"and {more} more: {TABLE} has them all") if more > 0 else ""
        parts.append(section("Failed", table(("cube", "node", "kind", "error"), rows), note))
    if report.slowest:
        rows_slow = [(name, round(seconds, 3)) for seconds, name in report.slowest]
        parts.append(section("Slowest", table(("cube", "seconds"), rows_slow)))
    parts.append(section("Run it again", lines(str(about.get("command", "")))))
    title = f"{about.get('pipeline_name', 'Pipeline')} on {report.total} cubes"
    written = page(title, f"{state}; {report.line()}", *parts, refresh=None if report.ended else _REFRESH)
    write_atomic(report.output / PAGE, written)


def write_metrics(report: Report, file: Path) -> None:
    """Write a file that the text collector of Prometheus' node exporter reads.

    Raises:
        OutputError: It cannot be written.
    """
    values = {"done": report.done, "failed": report.failed, "skipped": report.skipped, "left": report.left}
    rows = ["# HELP cuvis_batch_cubes Cubes of the job, by state.", "# TYPE cuvis_batch_cubes gauge"]
    rows += [f'cuvis_batch_cubes{{state="{state}"}} {count}' for state, count in values.items()]
    rows += ["# HELP cuvis_batch_seconds Seconds since this run began.", "# TYPE cuvis_batch_seconds gauge"]
    rows += [f"cuvis_batch_seconds {report.seconds:.3f}"]
    try:
        # At once: node exporter drops a file that it meets half written
        write_atomic(file, "\n".join([*rows, ""]))
    except OSError as error:
        raise OutputError(
            f"'{file}' cannot be written: {error.strerror or error}.", hint="Choose another place with --metrics-file."
        ) from error


def _csv(outcomes: Iterable[Outcome]) -> str:
    rows = io.StringIO()
    outputs: list[str] = []
    writer = csv.writer(rows, lineterminator="\n")
    first: list[list[object]] = []
    for each in outcomes:
        values = each.values or {}
        outputs += [name for name in values if name not in outputs]
        ends = [end for name in outputs for end in values.get(name, (None, None))]
        state = "failed" if each.error is not None else "done"
        first.append(
            [each.unit.name, each.unit.cube, state, each.seconds, each.worker, each.tries, _first(each.error), *ends]
        )
    # The header comes last: outputs are known only when all cubes are seen
    names = [f"{name} {end}" for name in outputs for end in ("min", "max")]
    writer.writerow(["cube", "file", "state", "seconds", "worker", "tries", "error", *map(in_cell, names)])
    # A name that begins as a formula would be computed by a spreadsheet
    writer.writerows(map(in_cell, row) for row in for_results(first))
    return rows.getvalue()


def _first(error: str | None) -> str:
    return error.splitlines()[0] if error else ""
