"""Many cubes by one call, for scripts."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from cuvis_ai_core.batch.engine import Engine
from cuvis_ai_core.batch.failure_limits import Limits
from cuvis_ai_core.batch.job import make_job
from cuvis_ai_core.batch.job_cubes import find_units
from cuvis_ai_core.batch.job_report import Report
from cuvis_ai_core.batch.local_processes import Local
from cuvis_ai_core.batch.scheduler import Driver
from cuvis_ai_core.registry import NodeRegistry


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
    """
    with NodeRegistry() as registry:
        if plugins is not None:
            registry.load_plugins(plugins)
        job = make_job(registry, pipeline, plugins, options)
        units = find_units(cubes, list(registry.cube_readers()))
    return Driver(job, units, Path(output), engine or Local(), limits or Limits(), observe).run()
