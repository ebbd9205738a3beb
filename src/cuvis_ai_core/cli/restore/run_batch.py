"""`restore-pipeline` on many cubes: a line that says how it stands, a table of what failed, an exit status."""

import json
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from cuvis_ai_core.cli.shared.output import say
from cuvis_ai_core.cli.shared.progress import is_silent, report, status_line
from cuvis_ai_core.cli.shared.tables import print_table

if TYPE_CHECKING:
    from cuvis_ai_core.batch import Report
    from cuvis_ai_core.batch.engine import Engine
    from cuvis_ai_core.cli.restore.pipeline_options import Options
    from cuvis_ai_core.registry import NodeRegistry

_EVERY: Final = 10.0
"""Seconds between two lines where there is no terminal."""

_NONE_FAILED: Final = "None failed."


def run_batch(registry: "NodeRegistry", given: "Options") -> None:
    """Run the pipeline on many cubes.

    Raises:
        CuvisError: Nothing can start.
        click.exceptions.Exit: With status 1, some cubes failed or are left.
    """
    from cuvis_ai_core.batch.failure_limits import Limits
    from cuvis_ai_core.batch.job import make_job
    from cuvis_ai_core.batch.job_cubes import find_units
    from cuvis_ai_core.batch.scheduler import Driver
    from cuvis_ai_core.results.folder import safe_name

    assert given.cube_path is not None
    job = make_job(
        registry,
        given.pipeline_path,
        given.plugins_path,
        {
            "weights": given.weights_path,
            "overrides": given.override,
            "keep": given.keep,
            "format": given.format,
            "processing_mode": given.processing_mode,
            "measurement": given.measurement,
            "device": given.device,
            "allow_untrained": given.allow_untrained,
            "memory": given.memory,
        },
    )
    units = find_units(given.cube_path, list(registry.cube_readers()))
    limits = Limits(given.timeout, given.max_failures, bool(given.retry_failed), given.shard or (0, 1))
    output = given.output_dir or Path(f"{safe_name(Path(job.pipeline).stem)}-output")
    # Without argv[0], which is the path of a script in this environment.
    about = {"pipeline_name": Path(job.pipeline).stem, "command": shlex.join(["restore-pipeline", *sys.argv[1:]])}
    with status_line() as show:
        shown = _Shown(show)
        driver = Driver(job, units, output, _engine(given), limits, shown.tell, about, given.metrics_file)
        found = driver.run()
    _print(found, as_json=given.as_json)
    if found.failed or found.left:
        raise click.exceptions.Exit(1)


class _Shown:
    """Shows how a run stands: on a terminal all the time, elsewhere now and then.

    Args:
        show: Shows a line in place of the one before, None where there is no terminal.
    """

    def __init__(self, show: Callable[[str], None] | None) -> None:
        self._show = show
        self._said = time.monotonic()
        self._remarks = 0

    def tell(self, found: "Report") -> None:
        """Say how it stands, and what was decided since."""
        for remark in found.remarks[self._remarks :]:
            report(remark)
        self._remarks = len(found.remarks)
        if self._show is not None:
            self._show(found.line())
        elif not is_silent() and time.monotonic() - self._said > _EVERY:
            self._said = time.monotonic()
            report(found.line())


def _engine(given: "Options") -> "Engine":
    from cuvis_ai_core.batch import Local, Ray

    if given.engine == "ray":
        return Ray(given.ray_address, workers=given.workers or 2, bundle=given.bundle)
    if given.ray_address is not None or given.bundle is not None:
        raise click.UsageError("--ray-address and --bundle go with --engine ray.")
    return Local(workers=given.workers or 1)


def _print(found: "Report", *, as_json: bool) -> None:
    from cuvis_ai_core.batch.report_files import PAGE, TABLE
    from cuvis_ai_core.results.run_record import RECORD

    if as_json:
        say(json.dumps({"output": str(found.output), **found.to_dict()}, indent=2))
        return
    if found.failures:
        rows = [(each.unit.name, each.node or "-", (each.error or "").splitlines()[0]) for each in found.failures]
        print_table(("cube", "node", "error"), rows, title="Failed", empty=_NONE_FAILED)
        say()
    done = found.done + found.skipped
    before = f" ({found.skipped} of them before)" if found.skipped else ""
    say(f"{done} of {found.total} cubes are done{before}, {found.failed} failed.")
    say(f"Written to {found.output}: a folder for each cube; {TABLE}, {PAGE}; {RECORD} says what ran.")
