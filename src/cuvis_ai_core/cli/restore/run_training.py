"""One training, validation or test, from a resolved trainrun to results."""

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cuvis_ai_core._error_location import words_of
from cuvis_ai_core.cli.restore.completed_training import finished_training, refuse_doubtful, refuse_other_settings
from cuvis_ai_core.cli.restore.interrupted_training import Unfinished, kept_on_failure
from cuvis_ai_core.cli.restore.training_results import CERTAIN, RECORDED, Results
from cuvis_ai_core.cli.shared.log_lines import warn
from cuvis_ai_core.cli.shared.output import say
from cuvis_ai_core.cli.shared.progress import EpochLines, working
from cuvis_ai_core.cli.shared.tables import print_table
from cuvis_ai_core.errors import TrainRunError
from cuvis_ai_core.pipeline.file.writer import check_saving
from cuvis_ai_core.results.folder import OutputFolder
from cuvis_ai_core.results.run_record import RECORD, node_records
from cuvis_ai_core.training.batch_step import Measuring
from cuvis_ai_core.training.calibration import Outcome, calibratable, calibrate
from cuvis_ai_core.training.config import DataConfig
from cuvis_ai_core.training.data_splits import parts_of
from cuvis_ai_core.training.epochs import Reading
from cuvis_ai_core.training.evaluation import pooled
from cuvis_ai_core.training.metric_pooling import Pool
from cuvis_ai_core.training.named_nodes import metric_nodes_of
from cuvis_ai_core.training.statistical_trainer import StatisticalTrainer
from cuvis_ai_core.training.trainrun_pipeline import (
    PIPELINE_FILE,
    TRAINRUN,
    build_pipeline,
    trained_weights,
    with_trained_values,
)

if TYPE_CHECKING:
    from cuvis_ai_core.pipeline.pipeline import Pipeline
    from cuvis_ai_core.registry import NodeRegistry
    from cuvis_ai_core.training.gradient_trainer import GradientTrainer
    from cuvis_ai_core.training.metrics_csv import Row
    from cuvis_ai_core.training.post_fit import TrainEvent
    from cuvis_ai_core.training.trainrun import TrainRun


class Session:
    """What is trained, validated or tested.

    Args:
        registry: Where node classes and cube readers come from.
        run: The resolved trainrun.
    """

    def __init__(self, registry: "NodeRegistry", run: "TrainRun") -> None:
        self._registry = registry
        self._run = run
        self._config = run.config
        self._parts = parts_of(run, registry)
        self._results = Results(run, self._parts)
        self._trainer: GradientTrainer | None = None
        self._by_pixels: dict[str, tuple[str, ...]] = {}
        self._tells_absent: Callable[[str], None] = warn

    def train(self, *, overwrite: bool = False, device: str | None = None) -> None:
        """Train in two phases, write the results, and print how good it is on the data to validate and to test on.

        Args:
            overwrite: Whether a finished training in the output directory is replaced.
            device: Where nodes are initialised in a training without gradients; one with them has its own.

        Raises:
            CuvisError: Something is wrong with the trainrun, the pipeline or the data, or training failed.
            OutputError: The output directory cannot be written.
            click.BadParameter: It holds a training of other settings.
        """
        target = Path(self._config.output_dir)
        if not overwrite:  # before nodes are imported, and torch with them
            refuse_other_settings(target, TRAINRUN, self._config)
        self._parts.batches("train")  # what is wrong with it is said before there is a folder
        with build_pipeline(self._run, self._registry) as pipeline, OutputFolder(target, CERTAIN) as output:
            nodes = node_records(self._registry, pipeline)
            done = None if overwrite else finished_training(target, TRAINRUN, self._config, nodes)
            if done is not None:
                refuse_doubtful(target, output)
                for split, name in RECORDED.items():
                    self._print(_numbers(done.get(name)), split)
                say(f"\n{target} holds this training already, with these settings. --overwrite trains again.")
                return
            # Before hours of training whose weights no file could hold.
            check_saving(pipeline)
            if device is not None and self._config.training is None:
                pipeline.to(device)
            with (
                Unfinished(target, {"trainrun": self._config.to_dict(), "nodes": nodes}) as unfinished,
                # Inside of `Unfinished`, which removes its folder in the end if nothing is in it to go on from.
                kept_on_failure(unfinished.folder, pipeline, self._rows, self._epochs),
            ):
                rows = self._fit(pipeline, unfinished.folder)
                calibrated = self._calibrate(pipeline)
                pool = self._measure(pipeline, "val")
                found = {"val": pool.values(), **self._tested(pipeline, output.staging)}
                with working(f"Writing {target}"):
                    self._results.write(output.staging, pipeline, rows or [found["val"]], unfinished.checkpoints())
                    self._results.write_matrices(output.staging, pool)
                    self._results.write_record(output.staging, nodes, found, calibrated)
                    output.publish()
        if self._run.published:
            self._results.write_where_published(target, pipeline.name, nodes)
        for split, values in found.items():
            self._print(values, split)
        say(f"\nWritten to {target}: the trained pipeline is {PIPELINE_FILE}, {RECORD} says what ran.")

    def evaluate(self, split: str, device: str | None = None) -> None:
        """Print how good the trained pipeline is on a part of the data, computed on a device if one is named.

        Raises:
            TrainRunError: There are no trained weights, or no data.
            CuvisError: Something is wrong with the trainrun, the pipeline or the data.
        """
        weights = trained_weights(self._run)
        run = self._run if weights is None else with_trained_values(self._run, weights)
        with build_pipeline(run, self._registry) as pipeline:
            if weights is not None:
                pipeline.load_weights(weights)
            elif _lacks_statistics(pipeline) or (self._config.training and not self._config.initial_weights):
                raise TrainRunError(
                    f"Trainrun file {self._run.path}: nothing is trained yet: there are no weights in "
                    f"'{self._config.output_dir}'.",
                    hint="Train first, with --mode train, or name the weights: --override weights=pipeline.pt",
                    path=self._run.path,
                )
            if not len(self._parts.batches(split)):
                raise TrainRunError(
                    f"Trainrun file {self._run.path}: no cubes are named for '{split}'.",
                    hint=f"Name them: data.{split}_ids, or of a data module data.splits.{split}.",
                    path=self._run.path,
                )
            nodes = node_records(self._registry, pipeline)
            if device is not None:
                pipeline.to(device)
            pool = self._measure(pipeline, split)
        found = pool.values()
        if not found and not pool.matrices():
            raise TrainRunError(
                f"Trainrun file {self._run.path}: no loss or metric node runs in the stage '{split}'.",
                hint="Name nodes in loss_nodes or metric_nodes, and look at their execution_stages.",
                path=self._run.path,
            )
        self._print(found, split)
        if pool.matrices():
            target = Path(self._config.output_dir) / split
            with OutputFolder(target, (RECORD,)) as output:
                self._results.write_matrices(output.staging, pool)
                self._results.write_record(output.staging, nodes, {split: found})
                output.publish()
            say(f"\nWritten to {target}: the confusion matrices; {RECORD} says what ran.")

    def _fit(self, pipeline: "Pipeline", folder: Path) -> "list[Row]":
        train = self._parts.batches("train")
        statistical = StatisticalTrainer(pipeline)
        if waiting := statistical.waiting:
            with working(f"Initialising {', '.join(waiting)} from {len(train.numbers)} cubes") as show:
                statistical.emit = partial(_show_initialising, show)
                statistical.fit(train)
        if self._config.training is None:
            return []
        from cuvis_ai_core.training.gradient_trainer import GradientTrainer

        trainer = GradientTrainer(
            pipeline,
            self._config.training,
            loss_nodes=self._config.loss_nodes,
            metric_nodes=self._metric_nodes(pipeline),
            freeze_nodes=self._config.freeze_nodes,
            unfreeze_nodes=self._config.unfreeze_nodes,
            ignore_label=self._config.data.ignore_label,
        )
        self._trainer = trainer
        data = self._config.data
        return trainer.fit(
            train,
            self._parts.batches("val"),
            shuffle=data.shuffle,
            reading=Reading(data.drop_last, data.sampling, data.num_workers if isinstance(data, DataConfig) else 0),
            folder=folder,
            observer=EpochLines(self._config.training.max_epochs),
        )

    def _calibrate(self, pipeline: "Pipeline") -> Outcome | None:
        names = calibratable(pipeline, self._config.freeze_nodes)
        if not names:
            return None
        batches = self._parts.batches("val")
        text = f"Calibrating {', '.join(names)} on {len(batches.numbers)} cubes of 'val'"
        with working(text) as show:
            outcome = calibrate(pipeline, _Counted(batches, text, show), self._config.freeze_nodes)
        for line in outcome.lines():
            say(f"Threshold: {line}")
        return outcome

    def _tested(self, pipeline: "Pipeline", folder: Path) -> dict[str, dict[str, float]]:
        """Return how good the pipeline is on the data to test on, where there are some: what was trained stays."""
        try:
            if not self._parts.has_test:
                return {}
            pool = self._measure(pipeline, "test")
        except Exception as error:  # noqa: BLE001 - also of a data module that has no data to test on, and raises
            warn(f"the trained pipeline is not tested: {getattr(error, 'message', words_of(error))}")
            return {}
        # Beside those of the validation, in one folder.
        self._results.write_matrices(folder, pool, "test.")
        return {"test": pool.values()}

    def _rows(self) -> "list[Row]":
        return self._trainer.history() if self._trainer else []

    def _epochs(self) -> int:
        return self._trainer.epochs_trained() if self._trainer else 0

    def _metric_nodes(self, pipeline: "Pipeline") -> list[str]:
        # Asked for by the training, the validation and the test, and told of once.
        first, self._tells_absent = self._tells_absent, lambda _: None
        return metric_nodes_of(pipeline, self._config.metric_nodes, first)

    def _measure(self, pipeline: "Pipeline", split: str) -> Pool:
        config = self._config
        batches = self._parts.batches(split)
        measuring = Measuring(pipeline, config.loss_nodes, self._metric_nodes(pipeline), config.data.ignore_label)
        text = f"Measuring on {len(batches.numbers)} cubes of '{split}'"
        with working(text) as show:
            pool = pooled(
                measuring, _Counted(batches, text, show), split, config.training.on_nan if config.training else None
            )
        averaged = pool.averaged if len(batches) > 1 else set()
        self._by_pixels[split] = tuple(name for name in measuring.by_pixels if name in averaged)
        return pool

    def _print(self, found: Mapping[str, float | None], split: str) -> None:
        if found:
            rows = [(name, _number(value)) for name, value in found.items()]
            print_table(("metric", "value"), rows, title=f"{self._config.name}: {split}")
        if found and (names := self._by_pixels.get(split)):
            say(f"Means of batches, weighted by their pixels (no output 'weight'): {', '.join(names)}.")


def _show_initialising(show: Callable[[str], None], event: "TrainEvent") -> None:
    if event.progress is not None:
        show(f"Initialising {event.node}: {event.progress.done} of {event.progress.total} cubes")


class _Counted:
    """Batches that show how many of them were gone through.

    Args:
        batches: The batches.
        text: What is done with them.
        show: Takes each line.
    """

    def __init__(self, batches: Any, text: str, show: Callable[[str], None]) -> None:
        # By which an error names the file of a cube; batches of data modules have none.
        self.cubes = getattr(batches, "cubes", None)
        self._batches = batches
        self._text = text
        self._show = show

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        for number, batch in enumerate(self._batches, 1):
            yield batch
            self._show(f"{self._text}: {number} of {len(self._batches)} batches")


def _lacks_statistics(pipeline: "Pipeline") -> bool:
    nodes = [node for node in pipeline.nodes.values() if getattr(node, "requires_initial_fit", False)]
    return not all(getattr(node, "statistically_initialized", False) for node in nodes)


def _numbers(recorded: object) -> dict[str, float | None]:
    """Return what a record says was measured, as far as it is that."""
    values = recorded if isinstance(recorded, dict) else {}
    # The record is a file, which somebody may have edited.
    return {str(name): each for name, each in values.items() if each is None or type(each) in {int, float}}


def _number(value: float | None) -> str:
    return "not defined" if value is None or math.isnan(value) else f"{value:.6g}"
