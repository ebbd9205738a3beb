"""`restore-trainrun`: show a trainrun, train, validate or test."""

import re
import shlex
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from cuvis_ai_core.cli.shared.error_messages import Guarded
from cuvis_ai_core.cli.shared.log_lines import warn
from cuvis_ai_core.cli.shared.options import (
    HELP_NAMES,
    GivenPath,
    allow_build_option,
    allow_env_option,
    path_option,
    shared_options,
    unpack_limit_option,
)
from cuvis_ai_core.errors import TrainRunError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cuvis_ai_core.registry import NodeRegistry
    from cuvis_ai_core.training.trainrun import TrainRun

SHOW: Final = "info"
MODES: Final = (SHOW, "train", "validate", "test")
# What follows the colon is looked at here: of `cuda:x` it was left out, so that the training took cuda:0.
_DEVICE: Final = re.compile(r"auto|(?:cpu|gpu|cuda|mps)(?::[0-9]{1,3})?")


def _device(_: click.Context, parameter: click.Parameter, text: str) -> str:
    if not _DEVICE.fullmatch(text):
        raise click.BadParameter(f"'{text}' is no device, such as auto, cpu, cuda or cuda:1.", param=parameter)
    return text


@click.command(cls=Guarded, context_settings=HELP_NAMES)
@path_option("--trainrun-path", required=True, description="Trainrun file.")
@click.option(
    "--mode",
    type=click.Choice(MODES),
    default=SHOW,
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
    "--plugins-dir",
    type=GivenPath(exists=True, file_okay=False),
    multiple=True,
    metavar="PATH",
    help="Folder with a manifest for each plugin: of those that the pipeline names, and of data modules. Repeatable.",
)
@path_option(
    "--weights-path",
    # The published command calls it so.
    short="--checkpoint-path",
    description="Weights to take instead: a checkpoint of Lightning (.ckpt), .pt or .safetensors.",
)
@click.option(
    "--device",
    default="auto",
    show_default=True,
    callback=_device,
    metavar="NAME",
    help="Where torch nodes compute: cpu, cuda:0.",
)
@click.option(
    "--overwrite", is_flag=True, help="Train although the output directory holds a finished training, and replace it."
)
@allow_build_option
@allow_env_option
@unpack_limit_option
@click.version_option(package_name="cuvis-ai-core", message="%(package)s %(version)s")
@shared_options
def main(  # noqa: PLR0913 - the options of the command
    trainrun_path: Path,
    mode: str,
    override: tuple[str, ...],
    plugins_path: Path | None,
    plugins_dir: tuple[Path, ...],
    checkpoint_path: Path | None,
    device: str,
    *,
    overwrite: bool,
) -> None:
    """Show a trainrun, train, validate or test.

    Showing loads only the plugins of --plugins-path, and says which ones the trainrun would load. Training writes the
    pipeline with its weights, the resolved trainrun, metrics.csv, loss.png and run.json to the output directory of the
    trainrun. An interrupted training goes on where it was when the same command is given again.
    A finished one is not replaced unasked.
    """
    restore(
        trainrun_path,
        mode,
        override,
        plugins_path,
        plugins_dirs=plugins_dir,
        checkpoint=checkpoint_path,
        device=device,
        overwrite=overwrite,
    )


def restore(  # noqa: PLR0913 - the options of the command
    path: Path,
    mode: str,
    overrides: tuple[str, ...],
    plugins_path: Path | None = None,
    *,
    plugins_dirs: tuple[Path, ...] = (),
    checkpoint: Path | None = None,
    device: str = "auto",
    overwrite: bool = False,
) -> None:
    """Do what the command does, with its options as arguments.

    Raises:
        CuvisError: As the parts of the work.
    """
    from cuvis_ai_core.cli.shared.plugin_loading import load_plugins
    from cuvis_ai_core.registry import NodeRegistry

    manifest = plugins_path or _recorded(path, overrides, lenient=mode == SHOW)
    loaded = mode != SHOW or plugins_path is not None  # showing runs nothing that the user did not name
    with NodeRegistry() as registry:
        if manifest is not None and loaded:
            load_plugins(registry, manifest)
        change = partial(_changed, mode=mode, checkpoint=checkpoint, device=device, plugins_dirs=plugins_dirs)
        _restore(registry, path, mode, overrides, manifest, change, device, overwrite=overwrite, loaded=loaded)


def _changed(
    run: "TrainRun", mode: str, checkpoint: Path | None, device: str, plugins_dirs: tuple[Path, ...]
) -> "TrainRun":
    """Return a trainrun with the weights, the device and the folders of manifests that the command names."""
    changes: dict[str, Any] = {}
    if checkpoint is not None:
        changes["initial_weights" if mode == "train" else "weights"] = str(checkpoint.absolute())
    if device != "auto" and run.config.training is not None:
        kind, _, number = device.partition(":")
        where: dict[str, Any] = {"accelerator": kind, **({"devices": [int(number)]} if number.isdecimal() else {})}
        changes["training"] = run.config.training.model_copy(update=where)
    return replace(run, config=run.config.model_copy(update=changes), plugins_dirs=plugins_dirs)


def _recorded(path: Path, overrides: tuple[str, ...], *, lenient: bool) -> Path | None:
    """Return the manifest that belongs to a trainrun; to be looked at, it needs none that is not there."""
    from cuvis_ai_core.training.trainrun import recorded_manifest

    try:
        return recorded_manifest(path, overrides)
    except TrainRunError as error:
        if not lenient or error.key != "plugins_path":
            raise
        warn(str(error))
        return None


def _restore(  # noqa: PLR0913
    registry: "NodeRegistry",
    path: Path,
    mode: str,
    overrides: tuple[str, ...],
    manifest: Path | None,
    change: "Callable[[TrainRun], TrainRun]",
    device: str,
    *,
    overwrite: bool,
    loaded: bool,
) -> None:
    from cuvis_ai_core.cli.restore.describe_trainrun import print_trainrun
    from cuvis_ai_core.cli.restore.run_training import Session
    from cuvis_ai_core.cli.shared.plugin_loading import load_named
    from cuvis_ai_core.training.resolved_trainrun import resolved
    from cuvis_ai_core.training.trainrun import read_trainrun

    config_dirs = registry.config_owners()
    given = change(read_trainrun(path, overrides=overrides, config_dirs=config_dirs))
    run = resolved(given, config_dirs, manifest, outline=mode == SHOW)
    if run.plugins_dirs and isinstance(run.config.pipeline, dict):
        load_named(
            registry, run.config.pipeline, run.plugins_dirs, None if mode == SHOW else run.config.data.data_module
        )
    if mode == SHOW:
        command = shlex.join(["restore-trainrun", "--trainrun-path", str(path)])
        print_trainrun(registry, run, command, loaded=loaded)
        return
    # `gpu` is Lightning's word for it, which torch does not know.
    where = None if device == "auto" else device.replace("gpu", "cuda")
    if mode == "train":
        Session(registry, run).train(overwrite=overwrite, device=where)
    else:
        Session(registry, run).evaluate({"validate": "val"}.get(mode, mode), where)
