"""The phases of a training in its process, each told of: statistics, gradients, thresholds, the test."""

from pathlib import Path
from typing import Any

from cuvis_ai_core.errors import CuvisError
from cuvis_ai_core.grpc.messages.schema_generations import enum_value, messages
from cuvis_ai_core.grpc.server.status_codes import words_for
from cuvis_ai_core.grpc.server.training.progress_messages import SPLITS, Telling, Told


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
        telling.epoch = int(row["epoch"]) - 1
        losses = {name: row[name] for name in ("train_loss", "val_loss") if name in row}
        metrics = {name: value for name, value in row.items() if name not in {"epoch", *losses}}
        of_val = {name: value for name, value in metrics.items() if name != "lr" and not name.startswith("train/")}
        if "val_loss" in losses or of_val:
            val_loss = {name: value for name, value in losses.items() if name == "val_loss"}
            telling.say(hook="VALIDATION_END", split=SPLITS["val"], losses=val_loss, metrics=of_val)
        epochs = messages().EpochProgress(current=int(row["epoch"]), total=config.training.max_epochs)
        telling.say(hook="EPOCH_END", epochs=epochs, losses=losses, metrics=metrics)
        telling.begin_anew(telling.epoch)

    data = config.data
    reading = Reading(data.drop_last, data.sampling, data.num_workers if isinstance(data, DataConfig) else 0)
    with kept_on_failure(folder, pipeline, trainer.history, trainer.epochs_trained):
        trainer.fit(train, val, shuffle=data.shuffle, reading=reading, folder=folder, observer=epoch_ended)
    telling.say(hook="FIT_END", calibration_pending=bool(calibratable(pipeline, config.freeze_nodes)))
    _calibrate(pipeline, config, val, telling)
    telling.say(hook="EVALUATION_START", split=SPLITS["test"])
    outcome = _tested(trainer, parts, telling)
    telling.say(hook="EVALUATION_END", split=outcome.split, evaluation=outcome)


def _calibrate(pipeline: Any, config: Any, val: Any, telling: Telling) -> None:
    telling.begin_calibrating()
    outcome = _calibration(pipeline, config, val)
    telling.say(outcome.phase_detail, hook="CALIBRATION_END", split=SPLITS["val"], calibration=outcome)


def _calibration(pipeline: Any, config: Any, val: Any) -> Any:
    """Calibrate the nodes that can be, and return what became of their thresholds."""
    from cuvis_ai_core.training.calibration import calibratable, calibrate

    kind = messages().CalibrationOutcome
    if not calibratable(pipeline, config.freeze_nodes):
        return kind(applicable=False, phase_detail="no node of this pipeline can be calibrated")
    found = calibrate(pipeline, val, config.freeze_nodes)
    outcome = kind(
        split=SPLITS["val"],
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
    for name, value in each.metrics.items():
        decider.metrics[name] = value


def _tested(trainer: Any, parts: Any, telling: Telling) -> Any:
    """Return how good the pipeline is on the part `test`, where the trainrun has one."""
    kind = messages().EvaluationOutcome
    outcome = kind(split=SPLITS["test"], status=_evaluation("NO_SPLIT"))
    if not parts.has_test:
        return outcome
    try:
        batches = parts.batches("test")
        telling.batches = {"test": len(batches)}
        found = trainer.evaluate(batches, "test")
    except CuvisError as error:  # what was trained stays
        return kind(split=SPLITS["test"], status=_evaluation("FAILED"), error=words_for(error, "its call"))
    return kind(split=SPLITS["test"], status=_evaluation("EVALUATED"), frames=len(batches), metrics=found)


def _evaluation(status: str) -> int:
    return enum_value("EvaluationStatus", f"EVALUATION_STATUS_{status}")
