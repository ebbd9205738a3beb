"""A trainrun for people: what is trained, on what, how, and what becomes of it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cuvis_ai_core.cli.output import say
from cuvis_ai_core.cli.tables import print_table
from cuvis_ai_core.errors import AnnotationError, CubeError, MissingExtraError, TrainRunError
from cuvis_ai_core.training.build import build_pipeline, trained_weights
from cuvis_ai_core.training.config import SPLITS, TrainingConfig
from cuvis_ai_core.training.parts import Parts
from cuvis_ai_core.training.statistical import StatisticalTrainer
from cuvis_ai_core.training.steps import Measuring, check_node

if TYPE_CHECKING:
    from cuvis_ai_core.pipeline.pipeline import Pipeline
    from cuvis_ai_core.registry import NodeRegistry
    from cuvis_ai_core.training.trainrun import TrainRun


def print_trainrun(registry: "NodeRegistry", run: "TrainRun") -> None:
    """Print the description of a resolved trainrun; data that are not there are said to be missing.

    Raises:
        PipelineError: The pipeline cannot be built.
        TrainRunError: It names nodes that are not there.
    """
    config = run.config
    with build_pipeline(run, registry) as pipeline:
        Measuring(pipeline, config.loss_nodes, config.metric_nodes)
        for key in ("freeze_nodes", "unfreeze_nodes"):
            for name in getattr(config, key):
                check_node(pipeline, name, key)
        say(f"{config.name}\n{run.path}\n")
        print_table(("", ""), _pipeline_rows(run, pipeline), title="Pipeline")
    say()
    print_table(("part", "cubes", "batches", "annotations"), _data_rows(registry, run), title="Data")
    say()
    print_table(("", ""), _training_rows(config.training), title="Training")
    weights = trained_weights(run)
    say(f"\nOutput directory: {config.output_dir}")
    say(f"Trained weights: {weights or 'none yet; train with --mode train'}")


def _pipeline_rows(run: "TrainRun", pipeline: "Pipeline") -> Iterator[tuple[str, str]]:
    config = run.config
    yield "nodes", ", ".join(pipeline.order)
    yield "plugins", config.plugins_path or "none"
    yield "initialised from statistics", ", ".join(StatisticalTrainer(pipeline).waiting) or "none"
    for key in ("loss_nodes", "metric_nodes", "freeze_nodes", "unfreeze_nodes"):
        yield key, ", ".join(getattr(config, key)) or "none"


def _data_rows(registry: "NodeRegistry", run: "TrainRun") -> Iterator[tuple[str, str, str, str]]:
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
