"""`restore-pipeline`: show a pipeline, draw it, or run it on a cube."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from cuvis_ai_core.cli.restore.run_batch import batch_only, batch_options, is_batch, run_batch
from cuvis_ai_core.cli.shared.error_messages import Guarded
from cuvis_ai_core.cli.shared.options import (
    HELP_NAMES,
    GivenPath,
    WholeNumber,
    allow_build_option,
    allow_env_option,
    memory_option,
    numbers_option,
    offline_option,
    path_option,
    plugins_option,
    shared_options,
    unpack_limit_option,
)
from cuvis_ai_core.errors import CubeError

if TYPE_CHECKING:
    from cuvis_ai_core.registry import NodeRegistry

_WITH_MODULES: Final = frozenset({"--allow-untrained", "--keep"})


class Published:
    """Handed over by the entry point of published catalogues, which have drawings beside the pipeline file."""


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


@click.command(cls=Guarded, context_settings=HELP_NAMES)
@path_option(
    "--pipeline-path", required=True, description="Pipeline file, or the name of one that a plugin brings along."
)
@plugins_option
@click.option(
    "--plugins-dir",
    type=GivenPath(exists=True, file_okay=False),
    multiple=True,
    metavar="PATH",
    help="Folder with a manifest for each plugin; those that the pipeline names are loaded. Repeatable.",
)
@path_option(
    "--cube-path",
    description="Cube to run the pipeline on: .npy, .npz, ENVI .hdr, another format with its extra, or an address.",
)
@path_option("--cu3s-file-path", description="Session file of a Cubert camera to run it on; needs the extra cu3s.")
@click.option(
    "--measurement",
    type=WholeNumber(min=0),
    metavar="NUMBER",
    help="Which cube of a file that holds several, from 0.",
)
@click.option(
    "--measurement-indices",
    callback=numbers_option,
    default="",
    metavar="NUMBERS",
    help="Several of them, each into a folder of its own: 0,3,5.",
)
@path_option("--annotation-json-path", description="COCO file of the session file, for nodes that take a mask.")
@click.option(
    "--processing-mode", metavar="MODE", help="What to make of a session file: Raw, DarkSubtract, Reflectance, ..."
)
@click.option(
    "--data-module",
    metavar="NAME",
    help="Run the pipeline on the samples of a data module, by its name in a manifest or the full path of its class.",
)
@click.option("--data-arg", multiple=True, metavar="KEY=VALUE", help="What the data module is made with. Repeatable.")
@path_option("--output-dir", description="Folder for the results.  [default: <name of the pipeline>-output]")
@click.option(
    "--keep", multiple=True, metavar="NODE.PORT", help="Write this output; repeatable.  [default: those of last nodes]"
)
@click.option(
    "--format",
    type=click.Choice(["npz", "envi", "geotiff", "zarr"]),
    default="npz",
    show_default=True,
    metavar="KIND",
    help="How images are written: npz, envi, geotiff or zarr.",
)
@memory_option
@batch_options
@offline_option
@allow_build_option
@allow_env_option
@unpack_limit_option
@path_option("--weights-path", description="Weights (.pt, .safetensors).  [default: those beside the pipeline file]")
@click.option(
    "--device", default="cpu", show_default=True, metavar="NAME", help="Where torch nodes compute: cuda:0, auto."
)
@click.option("--override", multiple=True, metavar="KEY=VALUE", help="Replace a value: nodes.NAME.params.KEY=VALUE.")
@click.option(
    "--pipeline-vis-ext",
    type=click.Choice(["png", "svg", "md"]),
    metavar="KIND",
    help="Draw the graph, as a file of this kind: png, svg or md.",
)
@click.option("--allow-untrained", is_flag=True, help="Run nodes that are to learn and have not, as they are.")
@click.option("--profile", is_flag=True, help="Show the time of each node, and write it to profile.json.")
@click.option("--profile-sync", is_flag=True, help="As --profile, and each node waits for what it began on a GPU.")
@click.version_option(package_name="cuvis-ai-core", message="%(package)s %(version)s")
@shared_options
def main(**options: Any) -> None:
    """Show a pipeline, draw it, or run it on a cube.

    Without --cube-path: its nodes in running order, their ports and edges, and what must be handed in. With it:
    the outputs of the last nodes go to outputs.npz, maps and masks to PNG files, and what ran to run.json. With a
    pattern, or --workers, many cubes: a folder for each, and the same command goes on where it stopped.
    """
    from cuvis_ai_core.cli.shared.progress import load_plugins
    from cuvis_ai_core.registry import NodeRegistry

    is_published = click.get_current_context().find_object(Published) is not None
    given = Options(**options, draws_beside=is_published)
    _refuse_contradictions(given)
    if given.profile_sync:
        os.environ["CUDA_LAUNCH_BLOCKING"] = (
            "1"  # heeded by CUDA when a process first uses it, and by processes of plugins
        )
        given = replace(given, profile=True)
    given = replace(given, cube_path=given.cube_path or given.cu3s_file_path)
    if given.cube_path is None:
        _refuse_without_cube(given)
    with NodeRegistry() as registry:
        many = is_batch(given)
        if not many:
            _refuse_for_one(given)
        if given.cube_path is not None and not many:
            _expect_file(registry, given.cube_path)
        if given.plugins_path is not None:
            load_plugins(registry, given.plugins_path)
        if given.plugins_dir:
            _load_named(registry, given)
        if many:
            _refuse_for_many(given)
            run_batch(registry, given)
        else:
            _restore(registry, given)


def _refuse_contradictions(given: Options) -> None:
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
        "--allow-untrained": given.allow_untrained,
        "--measurement": given.measurement is not None,
        "--measurement-indices": bool(given.measurement_indices),
        "--annotation-json-path": given.annotation_json_path is not None,
        "--processing-mode": given.processing_mode is not None,
        "--keep": bool(given.keep),
        "--memory": given.memory is not None,
        "--format": given.format != "npz",
        **batch_only(given),
    }
    if given.data_module is not None:  # whose samples are no files: only nodes write, and times are told anyway
        belonging = {key: each for key, each in belonging.items() if key not in _WITH_MODULES}
    why = "without a cube nothing is run" if given.data_module is None else "a data module names no file"
    for option, is_given in belonging.items():
        if is_given:
            raise click.UsageError(f"{option} goes with --cube-path: {why}.")


def _refuse_for_one(given: Options) -> None:
    for option, is_given in batch_only(given).items():
        if is_given:
            raise click.UsageError(f"{option} goes with many cubes: a pattern in quotes, or --workers.")


def _refuse_for_many(given: Options) -> None:
    single = {
        "--measurement-indices": bool(given.measurement_indices),
        "--annotation-json-path": given.annotation_json_path is not None,
        "--pipeline-vis-ext": given.pipeline_vis_ext is not None,
        "--profile": given.profile,
    }
    for option, is_given in single.items():
        if is_given:
            raise click.UsageError(f"{option} goes with one cube; of many each has its own record.")


def _load_named(registry: "NodeRegistry", given: Options) -> None:
    """Load the plugins that a pipeline names, by their manifests in folders."""
    from cuvis_ai_core.cli.shared.progress import load_named
    from cuvis_ai_core.pipeline.file.lookup import find_pipeline_file, read_config

    file = find_pipeline_file(given.pipeline_path, registry.config_owners)
    load_named(registry, read_config(file), given.plugins_dir, given.data_module)


def _expect_file(registry: "NodeRegistry", cube_path: Path) -> None:
    """Say that there is no such cube before plugins are fetched, which may take long."""
    from cuvis_ai_core.data import read_cube
    from cuvis_ai_core.data.cube_files import split_array

    if not os.path.isfile(split_array(cube_path)[0]):  # noqa: PTH113 - no error where the path cannot be reached: the reader has one
        try:
            read_cube(cube_path, registry.cube_readers())
        except CubeError as error:
            if not cube_path.is_dir():
                raise
            every = f"Name one file in it. For all cubes in it: --workers 1, or a pattern as '{cube_path}/*.hdr'"
            raise CubeError(error.message, hint=every, path=cube_path) from error


def _restore(registry: "NodeRegistry", given: Options) -> None:
    from cuvis_ai_core.pipeline.pipeline import Pipeline

    with Pipeline.load(
        given.pipeline_path,
        node_registry=registry,
        weights=given.weights_path,
        device=given.device,
        overrides=given.override,
        allow_untrained=given.allow_untrained,
        outline=given.cube_path is None and given.data_module is None,
    ) as pipeline:
        if given.cube_path is not None:
            from cuvis_ai_core.cli.restore.run_cube import run_cube

            run_cube(registry, pipeline, given)
            return
        from cuvis_ai_core.cli.restore.describe_pipeline import draw_pipeline, print_pipeline

        if given.data_module is None:
            print_pipeline(registry, pipeline, given)
        draw_pipeline(pipeline, given)
        if given.data_module is not None:
            from cuvis_ai_core.cli.restore.run_data_module import run_module

            run_module(registry, pipeline, given)
