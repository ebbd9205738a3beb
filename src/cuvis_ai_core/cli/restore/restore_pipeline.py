"""`restore-pipeline`: show a pipeline, draw it, or run it on a cube."""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cuvis_ai_core.cli.restore.pipeline_options import Options, batch_options, checked
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


class Published:
    """Handed over by the entry point of published catalogues, which have drawings beside the pipeline file."""


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
    from cuvis_ai_core.cli.shared.plugin_loading import load_plugins
    from cuvis_ai_core.registry import NodeRegistry

    is_published = click.get_current_context().find_object(Published) is not None
    given = checked(Options(**options, draws_beside=is_published))
    if given.profile_sync:
        os.environ["CUDA_LAUNCH_BLOCKING"] = (
            "1"  # heeded by CUDA when a process first uses it, and by processes of plugins
        )
    given = replace(given, profile=given.profile or given.profile_sync)
    with NodeRegistry() as registry:
        if given.cube_path is not None and not given.is_batch:
            _expect_file(registry, given.cube_path)
        if given.plugins_path is not None:
            load_plugins(registry, given.plugins_path)
        if given.plugins_dir:
            _load_named(registry, given)
        # What the other kinds of run need is not imported.
        if given.is_batch:
            from cuvis_ai_core.cli.restore.run_batch import run_batch

            run_batch(registry, given)
        elif given.cube_path is not None:
            from cuvis_ai_core.cli.restore.run_cube import run_cube

            run_cube(registry, given)
        elif given.data_module is not None:
            from cuvis_ai_core.cli.restore.run_data_module import run_data_module

            run_data_module(registry, given)
        else:
            from cuvis_ai_core.cli.restore.describe_pipeline import describe_pipeline

            describe_pipeline(registry, given)


def _load_named(registry: "NodeRegistry", given: Options) -> None:
    """Load the plugins that a pipeline names, by their manifests in folders."""
    from cuvis_ai_core.cli.shared.plugin_loading import load_named
    from cuvis_ai_core.pipeline.file.lookup import find_pipeline_file
    from cuvis_ai_core.pipeline.file.reader import read_config

    # Owners are handed over as a function: a path needs none, and asking for them calls a hook of every plugin.
    file = find_pipeline_file(given.pipeline_path, registry.config_owners)
    load_named(registry, read_config(file), given.plugins_dir, given.data_module)


def _expect_file(registry: "NodeRegistry", cube_path: Path) -> None:
    """Say that there is no such cube before plugins are fetched, which may take long."""
    from cuvis_ai_core.data import read_cube
    from cuvis_ai_core.data.cube_files import split_array

    # Not `Path.is_file`, which raises where the path cannot be reached: the reader has an error for that.
    if not os.path.isfile(split_array(cube_path)[0]):  # noqa: PTH113
        try:
            read_cube(cube_path, registry.cube_readers())
        except CubeError as error:
            if not cube_path.is_dir():
                raise
            every = f"Name one file in it. For all cubes in it: --workers 1, or a pattern as '{cube_path}/*.hdr'"
            raise CubeError(error.message, hint=every, path=cube_path) from error
