"""The options of `restore-pipeline`: what is asked for, of which pipeline, and what of it does not go together."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from cuvis_ai_core.cli.shared.options import GivenPath, Number, WholeNumber

if TYPE_CHECKING:
    from cuvis_ai_core.pipeline.pipeline import Pipeline
    from cuvis_ai_core.registry import NodeRegistry

_WITH_MODULES: Final = frozenset({"--allow-untrained", "--keep"})


@dataclass(frozen=True, slots=True)
class Options:
    """What is asked for, an attribute per option."""

    pipeline_path: Path
    plugins_path: Path | None
    plugins_dir: tuple[Path, ...]
    cube_path: Path | None
    cu3s_file_path: Path | None
    measurement: int | None
    measurement_indices: tuple[int, ...]
    annotation_json_path: Path | None
    processing_mode: str | None
    data_module: str | None
    data_arg: tuple[str, ...]
    output_dir: Path | None
    weights_path: Path | None
    device: str
    override: tuple[str, ...]
    pipeline_vis_ext: str | None
    profile: bool
    profile_sync: bool
    allow_untrained: bool
    keep: tuple[str, ...]
    memory: int | None
    format: str
    workers: int | None
    engine: str | None
    ray_address: str | None
    bundle: Path | None
    timeout: float | None
    max_failures: int | None
    retry_failed: bool | None
    shard: tuple[int, int] | None
    metrics_file: Path | None
    as_json: bool
    draws_beside: bool
    """Whether drawings go beside the pipeline file, as those of published catalogues do."""

    @property
    def is_batch(self) -> bool:
        """Whether many cubes are asked for."""
        from cuvis_ai_core.batch.job_cubes import is_pattern

        asked = (self.workers, self.engine, self.shard, self.timeout, self.max_failures, self.retry_failed)
        return self.cube_path is not None and (is_pattern(self.cube_path) or any(each is not None for each in asked))

    def load(self, registry: "NodeRegistry", *, outline: bool = False) -> "Pipeline":
        """Return the pipeline that is asked for, to run it or, as an outline, to look at it.

        Raises:
            CuvisError: As of `Pipeline.load`.
        """
        from cuvis_ai_core.pipeline.pipeline import Pipeline

        return Pipeline.load(
            self.pipeline_path,
            node_registry=registry,
            weights=self.weights_path,
            device=self.device,
            overrides=self.override,
            allow_untrained=self.allow_untrained,
            outline=outline,
        )


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


def checked(given: Options) -> Options:
    """Return options in which `cube_path` is the cube, by whichever option it was given.

    Raises:
        click.UsageError: Two options say the same, or one is given without that which it is for.
    """
    _refuse_two_sources(given)
    given = replace(given, cube_path=given.cube_path or given.cu3s_file_path)
    if given.cube_path is None:
        _refuse_without_cube(given)
    (_refuse_for_many if given.is_batch else _refuse_for_one)(given)
    return given


def _refuse_two_sources(given: Options) -> None:
    if given.cube_path is not None and given.cu3s_file_path is not None:
        raise click.UsageError("--cube-path and --cu3s-file-path both name the cube; give one.")
    if given.measurement is not None and given.measurement_indices:
        raise click.UsageError("--measurement and --measurement-indices both say which; give one.")
    if given.data_module is not None and (given.cube_path or given.cu3s_file_path):
        raise click.UsageError("--data-module and --cube-path both say what the pipeline runs on; give one.")
    if given.data_arg and given.data_module is None:
        raise click.UsageError("--data-arg goes with --data-module, which it is for.")


def _refuse_without_cube(given: Options) -> None:
    belonging = {
        "--output-dir": given.output_dir is not None,
        "--profile": given.profile,
        "--profile-sync": given.profile_sync,
        "--allow-untrained": given.allow_untrained,
        "--measurement": given.measurement is not None,
        "--measurement-indices": bool(given.measurement_indices),
        "--annotation-json-path": given.annotation_json_path is not None,
        "--processing-mode": given.processing_mode is not None,
        "--keep": bool(given.keep),
        "--memory": given.memory is not None,
        "--format": given.format != "npz",
        **_batch_only(given),
    }
    if given.data_module is not None:  # whose samples are no files: only nodes write, and times are told anyway
        belonging = {key: each for key, each in belonging.items() if key not in _WITH_MODULES}
    why = "without a cube nothing is run" if given.data_module is None else "a data module names no file"
    for option, is_given in belonging.items():
        if is_given:
            raise click.UsageError(f"{option} goes with --cube-path: {why}.")


def _refuse_for_one(given: Options) -> None:
    for option, is_given in _batch_only(given).items():
        if is_given:
            raise click.UsageError(f"{option} goes with many cubes: a pattern in quotes, or --workers.")


def _refuse_for_many(given: Options) -> None:
    single = {
        "--measurement-indices": bool(given.measurement_indices),
        "--annotation-json-path": given.annotation_json_path is not None,
        "--pipeline-vis-ext": given.pipeline_vis_ext is not None,
        "--profile": given.profile,
        "--profile-sync": given.profile_sync,
    }
    for option, is_given in single.items():
        if is_given:
            raise click.UsageError(f"{option} goes with one cube; of many each has its own record.")


def _batch_only(given: Options) -> dict[str, bool]:
    """Return for each option of many cubes alone whether it is given."""
    return {
        "--workers": given.workers is not None,
        "--engine": given.engine is not None,
        "--ray-address": given.ray_address is not None,
        "--bundle": given.bundle is not None,
        "--timeout": given.timeout is not None,
        "--max-failures": given.max_failures is not None,
        "--retry-failed": bool(given.retry_failed),
        "--shard": given.shard is not None,
        "--metrics-file": given.metrics_file is not None,
        "--json": given.as_json,
    }


def _shard(_: click.Context, parameter: click.Parameter, text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d+)/(\d+)", text.strip())
    if found is None or int(found[1]) >= int(found[2]):
        raise click.BadParameter(f"'{text}' is no part, such as 0/4 to 3/4.", param=parameter)
    return int(found[1]), int(found[2])
