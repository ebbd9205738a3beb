"""`restore-trainrun`: show a trainrun, train, validate or test."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cuvis_ai_core.cli.errors import Guarded
from cuvis_ai_core.cli.options import HELP_NAMES, path_option, shared_options

if TYPE_CHECKING:
    from cuvis_ai_core.registry import NodeRegistry
    from cuvis_ai_core.training.trainrun import TrainRun

MODES = ("info", "train", "validate", "test")


@click.command(cls=Guarded, context_settings=HELP_NAMES)
@path_option("--trainrun-path", required=True, description="Trainrun file.")
@click.option(
    "--mode",
    type=click.Choice(MODES),
    default="info",
    show_default=True,
    metavar="MODE",
    help="What to do: info, train, validate or test.",
)
@click.option(
    "--override", multiple=True, metavar="KEY=VALUE", help="Replace a value: training.optimizer.lr=0.001. Repeatable."
)
@path_option(
    "--plugins-path",
    description="Manifest of plugins.  [default: the one that the trainrun names, or plugins.yaml beside it]",
)
@click.option(
    "--overwrite", is_flag=True, help="Train although the output directory holds a finished training, and replace it."
)
@click.version_option(package_name="cuvis-ai-core", message="%(package)s %(version)s")
@shared_options
def main(
    trainrun_path: Path, mode: str, override: tuple[str, ...], plugins_path: Path | None, *, overwrite: bool
) -> None:
    """Show a trainrun, train, validate or test.

    Training writes the pipeline with its weights, the resolved trainrun, metrics.csv, loss.png and run.json to the
    output directory of the trainrun. An interrupted training goes on where it was when the same command is given again.
    A finished one is not replaced unasked.
    """
    from cuvis_ai_core.cli.progress import load_plugins
    from cuvis_ai_core.registry import NodeRegistry
    from cuvis_ai_core.training.trainrun import recorded_manifest

    recorded = recorded_manifest(trainrun_path, override)
    manifest = plugins_path or recorded
    with NodeRegistry() as registry:
        if manifest is not None:
            load_plugins(registry, manifest)
        run = _resolved(registry, trainrun_path, override, manifest)
        _do(registry, run, mode, overwrite=overwrite)


def _resolved(registry: "NodeRegistry", path: Path, overrides: tuple[str, ...], manifest: Path | None) -> "TrainRun":
    from cuvis_ai_core.training.build import resolved
    from cuvis_ai_core.training.trainrun import read_trainrun

    config_dirs = registry.config_owners()
    return resolved(read_trainrun(path, overrides=overrides, config_dirs=config_dirs), config_dirs, manifest)


def _do(registry: "NodeRegistry", run: "TrainRun", mode: str, *, overwrite: bool) -> None:
    from cuvis_ai_core.cli.describe_trainrun import print_trainrun
    from cuvis_ai_core.cli.run_training import Session

    if mode == "info":
        print_trainrun(registry, run)
    elif mode == "train":
        Session(registry, run).train(overwrite=overwrite)
    else:
        Session(registry, run).evaluate({"validate": "val"}.get(mode, mode))
