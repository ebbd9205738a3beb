"""What a training says of itself while it runs, in the process that trains."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from cuvis_ai_hookspecs import hookimpl

from cuvis_ai_core.errors import CuvisError
from cuvis_ai_core.grpc.messages.schema_generations import enum_value, messages
from cuvis_ai_core.grpc.server.run_cancellation import Run
from cuvis_ai_core.grpc.server.status_codes import words_for

RUNNING, COMPLETE, ERROR, CANCELLED = 1, 2, 3, 4
_TRAIN: Final = 1
_SPLITS: Final = {"train": _TRAIN, "val": 2, "test": 3}
_STARTS: Final = {"train": "EPOCH_START", "val": "VALIDATION_START"}
_PROGRESS: Final = {"train": "TRAIN_PROGRESS", "val": "VALIDATION_PROGRESS", "test": "EVALUATION_PROGRESS"}
_BETWEEN_TOLD: Final = 0.5
"""Seconds between two messages about batches."""


class Telling:
    """What a training says of itself.

    Args:
        run: What stops it.
        tell: Takes each message, a TrainResponse.
    """

    def __init__(self, run: Run, tell: Callable[[Any], None]) -> None:
        self.run = run
        self.tell = tell
        self.batches: dict[str, int] = {}
        """How many each stage of a gradient training has."""
        self.epoch = 0
        self.epochs_before: Callable[[], int] = lambda: 0
        """Returns how many epochs have ended, also before an interruption."""
        self._progress, self._starts = _PROGRESS, _STARTS
        self._done = {"train": 0}
        self._stage = "train"
        self._told = 0.0

    def say(self, message: str = "", *, status: int = RUNNING, hook: str = "", **fields: Any) -> None:
        """Say where the training is.

        Args:
            message: In words.
            status: A TrainStatus.
            hook: The event, as TrainHook names it without `TRAIN_HOOK_`.
            fields: Further fields of the event, and `losses` and `metrics`.
        """
        m = messages()
        said = m.TrainResponse(
            status=status,
            message=message,
            context=self.context(),
            losses=fields.pop("losses", None),
            metrics=fields.pop("metrics", None),
        )
        if hook:
            said.event.CopyFrom(
                m.TrainEvent(hook=enum_value("TrainHook", f"TRAIN_HOOK_{hook}"), **({"split": _TRAIN} | fields))
            )
        self.tell(said)

    @hookimpl
    def cuvis_ai_pipeline_finished(self, stage: str) -> None:
        """Count the batches of a gradient training, and say where an epoch, a validation or the test begins."""
        if stage not in self.batches:
            return
        if stage != self._stage or not self._done[stage]:
            self._begin(stage)
        self.batch_done(self._progress[stage], self.batches[stage], split=_SPLITS[stage])

    def _begin(self, stage: str) -> None:
        """Say that a stage begins; a validation within an epoch interrupts it only."""
        self._stage = stage
        if stage != "train":
            self._done[stage] = 0
        elif not self._done[stage]:
            self.epoch = self.epochs_before()
        if not self._done[stage] and stage in self._starts:
            self.say(hook=self._starts[stage], split=_SPLITS[stage])

    def begin_anew(self, epoch: int = 0) -> None:
        """Count the batches of training from the first one again, as an epoch or a node is done."""
        self.epoch, self._stage, self._done["train"] = epoch, "train", 0

    def begin_calibrating(self) -> None:
        """Say that the data to validate on are gone through once more, for thresholds."""
        self._progress, self._starts = {**_PROGRESS, "val": "CALIBRATION_PROGRESS"}, {}
        self._done["val"] = 0
        self.say(hook="CALIBRATION_START", split=_SPLITS["val"])

    def batch_done(self, hook: str, total: int = 0, **fields: Any) -> None:
        """Say now and then, and of the last one, how many batches are done."""
        self._done[self._stage] += 1
        done = self._done[self._stage]
        # A training of many small batches would spend more time telling than training.
        if time.monotonic() - self._told >= _BETWEEN_TOLD or done == total:
            self._told = time.monotonic()
            self.say(hook=hook, progress=messages().FrameProgress(done=done, total=total), **fields)

    def context(self) -> Any:
        """Return where the training is, as messages have it."""
        step = self.epoch * self.batches.get("train", 0) + self._done["train"]
        done = self._done[self._stage]
        return messages().Context(
            # The field is an int32: protobuf raises for what is larger.
            stage=_SPLITS[self._stage],
            epoch=self.epoch,
            batch_idx=done,
            global_step=min(step, 2**31 - 1),
        )


class Told:
    """Batches that are told of, and end when the training is to stop.

    Args:
        batches: The batches.
        telling: Who is told.
        nodes: The nodes that go through them, one after the other.
    """

    def __init__(self, batches: Any, telling: Telling, nodes: tuple[str, ...]) -> None:
        self._batches = batches
        self._telling = telling
        self._nodes = iter(nodes)

    def __iter__(self) -> Iterator[Any]:
        node = next(self._nodes, "")
        self._telling.begin_anew()
        self._telling.say(f"initialising {node}", hook="STATISTICAL_NODE_START", node=node)
        for batch in self._batches:
            self._telling.run.look()
            yield batch
            self._telling.batch_done("STATISTICAL_PROGRESS", node=node)
        self._telling.say(hook="STATISTICAL_NODE_END", node=node)


def train_statistically(pipeline: Any, config: Any, parts: Any, telling: Telling) -> None:
    """Initialise all nodes that wait for it; thresholds stay, since a training by gradient may follow."""
    from cuvis_ai_core.training.calibration import calibratable
    from cuvis_ai_core.training.statistical_trainer import StatisticalTrainer

    trainer = StatisticalTrainer(pipeline)
    telling.say(hook="FIT_START")
    trainer.fit(Told(parts.batches("train"), telling, trainer.waiting))
    telling.say(hook="FIT_END", calibration_pending=bool(calibratable(pipeline, config.freeze_nodes)))


def calibrate_alone(pipeline: Any, config: Any, parts: Any, telling: Telling) -> None:
    """Choose the thresholds of what is trained already."""
    val = parts.batches("val")
    telling.batches = {"val": len(val)}
    _calibrate(pipeline, config, val, telling)


def train_by_gradient(pipeline: Any, config: Any, parts: Any, folder: Path, telling: Telling) -> None:
    """Train parameters, from where an earlier training of the same was stopped."""
    from cuvis_ai_core.cli.restore.interrupted_training import kept_on_failure
    from cuvis_ai_core.training.calibration import calibratable
    from cuvis_ai_core.training.config import DataConfig
    from cuvis_ai_core.training.epochs import Reading
    from cuvis_ai_core.training.gradient_trainer import GradientTrainer

    trainer = GradientTrainer(
        pipeline,
        config.training,
        loss_nodes=config.loss_nodes,
        metric_nodes=config.metric_nodes,
        freeze_nodes=config.freeze_nodes,
        unfreeze_nodes=config.unfreeze_nodes,
        ignore_label=config.data.ignore_label,
    )
    train = parts.batches("train")
    val = parts.batches("val")
    telling.batches = {"train": len(train), "val": len(val)}
    telling.epochs_before = trainer.epochs_trained
    if (folder / "resume.ckpt").is_file():
        telling.say(hook="CHECKPOINT_RESTORED", checkpoint=messages().CheckpointRestored(restored=True))
    telling.say(hook="FIT_START")

    def epoch_ended(row: dict[str, float]) -> None:
        telling.run.look()
        telling.begin_anew(int(row["epoch"]) - 1)
        losses = {name: row[name] for name in ("train_loss", "val_loss") if name in row}
        if "val_loss" in losses:
            telling.say(hook="VALIDATION_END", split=_SPLITS["val"], losses={"val_loss": losses["val_loss"]})
        metrics = {name: value for name, value in row.items() if name not in {"epoch", *losses}}
        epochs = messages().EpochProgress(current=int(row["epoch"]), total=config.training.max_epochs)
        telling.say(hook="EPOCH_END", epochs=epochs, losses=losses, metrics=metrics)

    data = config.data
    reading = Reading(data.drop_last, data.sampling, data.num_workers if isinstance(data, DataConfig) else 0)
    with kept_on_failure(folder, pipeline, trainer.history, trainer.epochs_trained):
        trainer.fit(train, val, shuffle=data.shuffle, reading=reading, folder=folder, observer=epoch_ended)
    telling.say(hook="FIT_END", calibration_pending=bool(calibratable(pipeline, config.freeze_nodes)))
    _calibrate(pipeline, config, val, telling)
    telling.say(hook="EVALUATION_START", split=_SPLITS["test"])
    outcome = _tested(trainer, parts, telling)
    telling.say(hook="EVALUATION_END", split=outcome.split, evaluation=outcome)


def _calibrate(pipeline: Any, config: Any, val: Any, telling: Telling) -> None:
    telling.begin_calibrating()
    outcome = _calibration(pipeline, config, val)
    telling.say(outcome.phase_detail, hook="CALIBRATION_END", split=_SPLITS["val"], calibration=outcome)


def _calibration(pipeline: Any, config: Any, val: Any) -> Any:
    """Calibrate the nodes that can be, and return what became of their thresholds."""
    from cuvis_ai_core.training.calibration import calibratable, calibrate

    kind = messages().CalibrationOutcome
    if not calibratable(pipeline, config.freeze_nodes):
        return kind(applicable=False, phase_detail="no node of this pipeline can be calibrated")
    found = calibrate(pipeline, val, config.freeze_nodes)
    outcome = kind(
        split=_SPLITS["val"],
        applicable=True,
        phase_skip=enum_value("CalibrationPhaseSkip", f"CALIBRATION_PHASE_SKIP_{found.reason}"),
        phase_detail=found.skipped,
        frames=found.frames,
        anomalous_frames=found.marked,
    )
    for each in found.nodes:
        _tell_decider(outcome.deciders.add(), type(pipeline.nodes[each.node]).__name__, each)
    return outcome


def _tell_decider(decider: Any, class_name: str, each: Any) -> None:
    status = "SKIPPED" if each.skipped else "CALIBRATED"
    decider.name, decider.class_name, decider.skip_detail = each.node, class_name, each.skipped
    decider.status = enum_value("DeciderCalibrationStatus", f"DECIDER_CALIBRATION_STATUS_{status}")
    decider.skip = enum_value("DeciderSkip", f"DECIDER_SKIP_{each.reason}")
    decider.thresholds_present = bool(each.thresholds)
    for name, (old, new) in each.thresholds.items():
        change = decider.thresholds[name]
        change.before, change.after = old, new
    for name, value in each.report.items():
        if isinstance(value, float):
            decider.metrics[name] = value


def _tested(trainer: Any, parts: Any, telling: Telling) -> Any:
    """Return how good the pipeline is on the part `test`, where the trainrun has one."""
    kind = messages().EvaluationOutcome
    outcome = kind(split=_SPLITS["test"], status=_evaluation("NO_SPLIT"))
    if not parts.has_test:
        return outcome
    try:
        batches = parts.batches("test")
        telling.batches = {"test": len(batches)}
        found = trainer.evaluate(batches, "test")
    except CuvisError as error:  # what was trained stays
        return kind(split=_SPLITS["test"], status=_evaluation("FAILED"), error=words_for(error, "its call"))
    return kind(split=_SPLITS["test"], status=_evaluation("EVALUATED"), frames=len(batches), metrics=found)


def _evaluation(status: str) -> int:
    return enum_value("EvaluationStatus", f"EVALUATION_STATUS_{status}")
