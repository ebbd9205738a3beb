"""A trainrun for people: what is trained, on what, how, and what becomes of it."""

import shlex
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cuvis_ai_core.cli.restore.describe_pipeline import print_unloaded
from cuvis_ai_core.cli.shared.log_lines import warn
from cuvis_ai_core.cli.shared.output import say, say_line
from cuvis_ai_core.cli.shared.tables import print_table
from cuvis_ai_core.data.cube_files import as_url
from cuvis_ai_core.errors import AnnotationError, CubeError, ManifestError, MissingExtraError, TrainRunError
from cuvis_ai_core.training.batch_step import Measuring
from cuvis_ai_core.training.config import SPLITS, ModuleDataConfig, TrainingConfig, TrainRunConfig
from cuvis_ai_core.training.data_splits import Parts
from cuvis_ai_core.training.named_nodes import check_node, metric_nodes_of
from cuvis_ai_core.training.statistical_trainer import StatisticalTrainer
from cuvis_ai_core.training.trainrun_pipeline import outline_pipeline, trained_weights

if TYPE_CHECKING:
    from cuvis_ai_core.pipeline.pipeline import Pipeline
    from cuvis_ai_core.registry import NodeRegistry
    from cuvis_ai_core.training.trainrun import TrainRun

_MEASURED: Final = ("loss_nodes", "metric_nodes")


def print_trainrun(registry: "NodeRegistry", run: "TrainRun", command: str, *, loaded: bool) -> None:
    """Print the description of a resolved trainrun; data, weights and plugins may be missing, which is said.

    Args:
        registry: Where node classes and cube readers come from.
        run: The trainrun, resolved as an outline.
        command: The command that was given, without a manifest.
        loaded: Whether the plugins of its manifest are.

    Raises:
        PipelineError: The pipeline breaks a rule.
        TrainRunError: It names nodes that are not there.
    """
    config = run.config
    manifest = Path(config.plugins_path) if config.plugins_path else None
    with outline_pipeline(run, registry) or nullcontext() as pipeline:
        if pipeline is not None:
            _check_nodes(pipeline, config)
        say_line(config.name)
        say(f"{run.path}\n")
        print_table(("", ""), _pipeline_rows(pipeline, config), title="Pipeline")
        say()
        print_table(("part", "cubes", "batches", "annotations"), _data_rows(registry, run), title="Data")
        say()
        print_table(("", ""), _training_rows(config.training), title="Training")
        say()
        say_line(f"Output directory: {config.output_dir}")
        say_line(f"Trained weights: {_found(trained_weights(run)) or 'none yet; train with --mode train'}")
        if manifest is not None and not loaded:
            _print_plugins(manifest, command)
        elif pipeline is not None:
            print_unloaded(registry, pipeline, command, manifest)
    if pipeline is None:
        say()
        say_line(
            f"There is no pipeline '{config.pipeline}'. If a plugin brings it along, load that with: "
            f"{command} --plugins-path {shlex.quote(str(manifest or 'plugins.yaml'))}"
        )


def _print_plugins(manifest: Path, command: str) -> None:
    """Say which plugins a trainrun brings along, none of which was loaded to show it."""
    from cuvis_ai_core._redact import without_credentials
    from cuvis_ai_core.plugins.manifest.manifest_schema import GitPlugin, read_manifest

    try:
        plugins = read_manifest(manifest).plugins
    except ManifestError as error:
        warn(str(error))
        return
    say(f"\nTraining, validating and testing load the plugins of {manifest}; to show it, none was loaded:")
    for name, each in plugins.items():
        source = f"{without_credentials(each.repo)} {each.tag}" if isinstance(each, GitPlugin) else each.path
        say_line(f"  {name}: {source}")
    say(f"To see their nodes, load them with: {command} --plugins-path {shlex.quote(str(manifest))}")


def _check_nodes(pipeline: "Pipeline", config: TrainRunConfig) -> None:
    """Check that the nodes that a trainrun names are there, and have what is measured where they are loaded."""
    metric_nodes_of(pipeline, config.metric_nodes, warn)
    for key in ("loss_nodes", "freeze_nodes", "unfreeze_nodes"):
        for name in getattr(config, key):
            check_node(pipeline, name, key)
    losses, metrics = (
        [name for name in getattr(config, key) if name in pipeline.nodes.keys() - pipeline.unloaded.keys()]
        for key in _MEASURED
    )
    # Nodes that measure nothing are refused here, as a training would refuse them.
    Measuring(pipeline, losses, metrics)


def _pipeline_rows(pipeline: "Pipeline | None", config: TrainRunConfig) -> Iterator[tuple[str, str]]:
    yield ("nodes", ", ".join(pipeline.order)) if pipeline else ("pipeline", f"missing: {config.pipeline}")
    if pipeline and pipeline.unloaded:
        yield "not loaded", ", ".join(pipeline.unloaded)
    yield "plugins", config.plugins_path or "none"
    if pipeline:
        yield "initialised from statistics", ", ".join(StatisticalTrainer(pipeline).waiting) or "none"
    for key in (*_MEASURED, "freeze_nodes", "unfreeze_nodes"):
        yield key, ", ".join(getattr(config, key)) or "none"
    yield "initial weights", _found(Path(config.initial_weights) if config.initial_weights else None) or "none"


def _found(path: Path | None) -> str | None:
    return None if path is None else str(path) if path.is_file() else f"missing: {path}"


def _data_rows(registry: "NodeRegistry", run: "TrainRun") -> Iterator[tuple[str, str, str, str]]:
    if isinstance(run.config.data, ModuleDataConfig):
        yield "all", f"of the data module '{run.config.data.data_module}', which training asks for them", "-", "-"
        return
    if asked := [place for place in run.config.data.places if as_url(place)]:
        # Asking takes a connection, and showing opens none.
        yield "all", f"at addresses, which training asks: {', '.join(asked)}", "-", "-"
        return
    try:
        parts = Parts(run, registry.cube_readers())
    except (CubeError, MissingExtraError) as error:
        yield "all", f"missing: {error.message}", "-", "-"
        return
    for split in SPLITS:
        place = run.config.data.annotations(split) or "none"
        try:
            batches = parts.batches(split)
        except (AnnotationError, MissingExtraError, TrainRunError) as error:
            yield split, "-", "-", f"missing: {error.message}"
        else:
            yield split, str(len(batches.numbers)), str(len(batches)), place


def _training_rows(config: TrainingConfig | None) -> Iterator[tuple[str, str]]:
    if config is None:
        yield "by gradient", "no"
        return
    scheduler = config.scheduler.name if config.scheduler else "none"
    stopping = [f"{each.monitor}, patience {each.patience}" for each in config.callbacks.early_stopping]
    yield "epochs", f"at most {config.max_epochs}" if stopping else str(config.max_epochs)
    yield "optimizer", f"{config.optimizer.name}, lr {config.optimizer.lr:g}"
    yield "scheduler", scheduler
    yield "early stopping", "; ".join(stopping) or "no"
    yield "seed", str(config.seed)
    yield "accelerator", config.accelerator
