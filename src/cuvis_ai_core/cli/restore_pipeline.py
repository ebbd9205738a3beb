"""`restore-pipeline`: show a pipeline, or run it on a cube."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cuvis_ai_core.cli.errors import Guarded
from cuvis_ai_core.cli.options import debug_option, path_option, plugins_option

if TYPE_CHECKING:
    from cuvis_ai_core.registry import NodeRegistry


@click.command(cls=Guarded)
@path_option(
    "--pipeline-path", required=True, description="Pipeline file, or the name of one that a plugin brings along."
)
@plugins_option
@path_option("--cube-path", description="Cube to run the pipeline on: .npy, .npz, ENVI .hdr, or what a plugin reads.")
@path_option("--output-dir", description="Folder for the results.  [default: <name of the pipeline>-output]")
@click.version_option(package_name="cuvis-ai-core", message="%(package)s %(version)s")
@debug_option
def main(pipeline_path: Path, plugins_path: Path | None, cube_path: Path | None, output_dir: Path | None) -> None:
    """Show a pipeline, or run it on a cube.

    Without --cube-path: its nodes in running order, their ports and edges, and what must be handed in. With it:
    arrays go to outputs.npz, maps and masks to PNG files, and what ran to run.json.
    """
    from cuvis_ai_core.cli.progress import load_plugins
    from cuvis_ai_core.registry import NodeRegistry

    if output_dir is not None and cube_path is None:
        raise click.UsageError("--output-dir goes with --cube-path: without a cube nothing is run.")
    with NodeRegistry() as registry:
        if cube_path is not None:
            _expect_file(registry, cube_path)
        if plugins_path is not None:
            load_plugins(registry, plugins_path)
        _restore(registry, pipeline_path, plugins_path, cube_path, output_dir)


def _expect_file(registry: "NodeRegistry", cube_path: Path) -> None:
    """Say that there is no such cube before plugins are fetched, which may take long."""
    from cuvis_ai_core.data import read_cube

    if not os.path.isfile(cube_path):  # noqa: PTH113 - no error where the path cannot be reached: the reader has one
        read_cube(cube_path, registry.cube_readers())


def _restore(
    registry: "NodeRegistry",
    pipeline_path: Path,
    plugins_path: Path | None,
    cube_path: Path | None,
    output_dir: Path | None,
) -> None:
    from cuvis_ai_core.cli.describe_pipeline import print_pipeline
    from cuvis_ai_core.cli.run_pipeline import Run
    from cuvis_ai_core.pipeline.find import find_pipeline_file
    from cuvis_ai_core.pipeline.pipeline import Pipeline

    file = find_pipeline_file(pipeline_path, registry.config_dirs())
    pipeline = Pipeline.load(file, node_registry=registry)
    if cube_path is None:
        print_pipeline(registry, pipeline, file)
    else:
        Run(registry, pipeline, file, plugins_path, cube_path).write_to(output_dir)
