"""`restore-pipeline` on many cubes: a line that says how it stands, a table of what failed, an exit status."""

import json
import re
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from cuvis_ai_core.cli.shared.options import GivenPath, Number, WholeNumber
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


def batch_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a run on many cubes."""
    # Decorators are applied from the last to the first: so --help has the options in this order.
    for option in reversed(
        (
            click.option(
                "--workers",
                type=WholeNumber(min=1),
                metavar="NUMBER",
                help="Run many cubes, so many at once; --cube-path is a pattern in quotes, or a folder.",
            ),
            click.option(
                "--engine",
                type=click.Choice(["local", "ray"]),
                metavar="KIND",
                help="Where workers of many cubes run: local, processes of this machine, or ray, a cluster.",
            ),
            click.option("--ray-address", metavar="ADDRESS", help="The cluster of Ray.  [default: RAY_ADDRESS]"),
            click.option("--bundle", type=GivenPath(), metavar="PATH", help="Plugins for the machines of Ray."),
            click.option(
                "--timeout",
                type=Number(min=0, min_open=True),
                metavar="SECONDS",
                help="How long one of many cubes may take.",
            ),
            click.option(
                "--max-failures",
                type=WholeNumber(min=1),
                metavar="NUMBER",
                help="With how many failed cubes no further one is begun.",
            ),
            # None where it is not given: `is_batch` goes by what is.
            click.option("--retry-failed", is_flag=True, default=None, help="Try cubes again that failed before."),
            click.option(
                "--shard", callback=_shard, metavar="I/N", help="Take part I, from 0, of N that share the cubes."
            ),
            click.option(
                "--metrics-file",
                type=GivenPath(dir_okay=False),
                metavar="PATH",
                help="Write a file for Prometheus.",
            ),
            click.option("--json", "as_json", is_flag=True, help="Of many cubes: print one JSON object, for programs."),
        )
    ):
        command = option(command)
    return command


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


def _shard(_: click.Context, parameter: click.Parameter, text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d+)/(\d+)", text.strip())
    if found is None or int(found[1]) >= int(found[2]):
        raise click.BadParameter(f"'{text}' is no part, such as 0/4 to 3/4.", param=parameter)
    return int(found[1]), int(found[2])
