"""What a training says of itself while it runs: events in their order, how far it is, and not too often."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

pytest.importorskip("grpc")

from cuvis_ai_core.errors import TrainRunError
from cuvis_ai_core.grpc.messages.schema_generations import enum_value, messages
from cuvis_ai_core.grpc.server.run_cancellation import Stopped
from cuvis_ai_core.grpc.server.training import progress_messages, trainer_phases
from cuvis_ai_core.grpc.server.training.progress_messages import Telling, Told


class Clock:
    """Goes on by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        """Say the time."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the clock of the module."""
    clock = Clock()
    monkeypatch.setattr(progress_messages, "time", clock)
    return clock


@pytest.fixture
def said() -> list[Any]:
    """Return what is said."""
    return []


@pytest.fixture
def telling(said: list[Any], clock: Clock) -> Telling:
    """Return what says it, of a training with batches of two kinds."""
    run: Any = SimpleNamespace(look=lambda: None)
    telling = Telling(run, said.append)
    telling.batches = {"train": 3, "val": 2}
    return telling


def _events(said: list[Any]) -> list[tuple[Any, ...]]:
    """Return hook, done and total, and the place of each message."""
    hooks = messages().TrainEvent.DESCRIPTOR.fields_by_name["hook"].enum_type.values_by_number
    return [
        (
            hooks[each.event.hook].name.removeprefix("TRAIN_HOOK_"),
            each.event.progress.done,
            each.event.progress.total,
            (each.context.stage, each.context.epoch, each.context.batch_idx, each.context.global_step),
        )
        for each in said
    ]


def test_epochs_and_validations(telling: Telling, said: list[Any], clock: Clock) -> None:
    """Each begins once, its first and its last batch are told, and steps go on from epoch to epoch."""
    ended = 0
    telling.epochs_before = lambda: ended
    for ended in (0, 1):
        for stage in ("train", "train", "train", "val", "val"):
            telling.cuvis_ai_pipeline_finished(stage)
        telling.begin_anew(ended)
        clock.now += 10
    telling.cuvis_ai_pipeline_finished("inference")  # which nobody counts
    telling.say(hook="FIT_END")
    telling.begin_calibrating()
    assert _events(said)[:5] == [
        ("EPOCH_START", 0, 0, (1, 0, 0, 0)),
        ("TRAIN_PROGRESS", 1, 3, (1, 0, 1, 1)),
        ("TRAIN_PROGRESS", 3, 3, (1, 0, 3, 3)),
        ("VALIDATION_START", 0, 0, (2, 0, 0, 3)),
        ("VALIDATION_PROGRESS", 2, 2, (2, 0, 2, 3)),
    ]
    assert [(hook, done) for hook, done, *_ in _events(said)[5:]] == [
        ("EPOCH_START", 0),
        ("TRAIN_PROGRESS", 1),
        ("TRAIN_PROGRESS", 3),
        ("VALIDATION_START", 0),
        ("VALIDATION_PROGRESS", 2),
        ("FIT_END", 0),
        ("CALIBRATION_START", 0),
    ]
    steps = [place[-1] for *_, place in _events(said)]
    assert steps == sorted(steps)
    assert steps[-3:] == [6, 6, 6]
    assert _events(said)[6][3] == (1, 1, 1, 4)
    assert [each.event.split for each in said[:5]] == [1, 1, 1, 2, 2]
    assert {each.status for each in said} == {progress_messages.RUNNING}


def test_a_training_that_goes_on_counts_from_where_it_was(telling: Telling, said: list[Any]) -> None:
    """Its epochs and steps are those of the whole."""
    telling.epochs_before = lambda: 4
    telling.cuvis_ai_pipeline_finished("train")
    assert [place for *_, place in _events(said)] == [(1, 4, 0, 12), (1, 4, 1, 13)]


@pytest.mark.parametrize(
    ("between", "told"), [(0.125, [1, 5, 9, 11]), (0.5, list(range(1, 12))), (0.25, [1, 3, 5, 7, 9, 11])]
)
def test_batches_are_told_now_and_then(
    telling: Telling, said: list[Any], clock: Clock, between: float, told: list[int]
) -> None:
    """Half a second apart at least, and of the last one in any case."""
    for _ in range(11):
        telling.batch_done("STATISTICAL_PROGRESS", 11)
        clock.now += between
    assert [done for _, done, *_ in _events(said)] == told


def test_a_validation_within_an_epoch_interrupts_it_only(telling: Telling, said: list[Any], clock: Clock) -> None:
    """Training goes on with the batch after it, and no epoch begins again."""
    for stage in ("train", "val", "val", "train", "train"):
        telling.cuvis_ai_pipeline_finished(stage)
        clock.now += 1
    assert [(hook, done) for hook, done, *_ in _events(said)] == [
        ("EPOCH_START", 0),
        ("TRAIN_PROGRESS", 1),
        ("VALIDATION_START", 0),
        ("VALIDATION_PROGRESS", 1),
        ("VALIDATION_PROGRESS", 2),
        ("TRAIN_PROGRESS", 2),
        ("TRAIN_PROGRESS", 3),
    ]


def test_thresholds_go_through_the_validation_once_more(telling: Telling, said: list[Any]) -> None:
    """Which is called what it is, and begins no validation."""
    telling.cuvis_ai_pipeline_finished("val")
    telling.begin_calibrating()
    for _ in range(2):
        telling.cuvis_ai_pipeline_finished("val")
    hooks = [hook for hook, *_ in _events(said)]
    assert hooks[:2] == ["VALIDATION_START", "VALIDATION_PROGRESS"]
    assert hooks[2] == "CALIBRATION_START"
    assert {each.context.stage for each in said} == {2}
    assert set(hooks[3:]) == {"CALIBRATION_PROGRESS"}
    assert _events(said)[-1][1:3] == (2, 2)


def test_a_step_fits_into_a_message(telling: Telling, said: list[Any]) -> None:
    """However long a training goes on."""
    telling.epoch = 2**31 - 1
    telling.say("far", losses={"train_loss": 0.5}, metrics={"m/f1": 0.25})
    assert said[0].context.global_step == 2**31 - 1
    assert (dict(said[0].losses), dict(said[0].metrics), said[0].message) == (
        {"train_loss": 0.5},
        {"m/f1": 0.25},
        "far",
    )
    assert not said[0].HasField("event")


def test_nodes_that_learn_one_after_the_other(telling: Telling, said: list[Any], clock: Clock) -> None:
    """Each goes through the batches from the first one, and may be stopped before any of them."""
    looks: list[int] = []
    telling.run.look = lambda: looks.append(1)  # type: ignore[method-assign]
    telling.batches = {}
    batches = Told(["a", "b"], telling, ("first", "second"))
    for _ in range(3):
        for _ in batches:
            clock.now += 1
    assert len(looks) == 6
    assert [(each.event.node, hook, done) for each, (hook, done, *_) in zip(said, _events(said), strict=True)] == [
        event
        for node in ("first", "second", "")
        for event in (
            (node, "STATISTICAL_NODE_START", 0),
            (node, "STATISTICAL_PROGRESS", 1),
            (node, "STATISTICAL_PROGRESS", 2),
            (node, "STATISTICAL_NODE_END", 0),
        )
    ]
    assert said[0].message == "initialising first"


class Trainer:
    """Trains nothing, tells of two epochs, and counts what it is tested on."""

    rows: ClassVar[list[dict[str, float]]] = [
        {"epoch": 5.0, "lr": 0.5, "train_loss": 0.5, "train/rx/auc": 0.25},
        {"epoch": 6.0, "lr": 0.5, "train_loss": 0.25, "val_loss": 0.75, "rx/auc": 1.0},
    ]

    def __init__(self, *_: object, **__: object) -> None:
        self.epochs_trained = lambda: 4
        self.history = list

    def fit(self, *_: object, observer: Any, **__: object) -> None:
        """Tell of them."""
        for row in self.rows:
            observer(row)

    def evaluate(self, batches: list[str], stage: str) -> dict[str, float]:
        """Return a measure, where that can be had."""
        assert stage == "test"
        if "broken" in batches:
            raise TrainRunError("The test is broken.", hint="Mend it: --mend it.")
        return {"rx/auc": 0.5}


class Parts:
    """Batches of three parts."""

    def __init__(self, test: tuple[str, ...]) -> None:
        self.has_test = bool(test)
        self.batches = {"train": ["a", "b"], "val": ["c"], "test": list(test)}.__getitem__


Gradient = Callable[..., list[Any]]


@pytest.fixture
def by_gradient(telling: Telling, said: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gradient:
    """Return a function that trains by gradient, and gives what is said."""
    pytest.importorskip("pytorch_lightning")
    from cuvis_ai_core.training import calibration, gradient_trainer

    monkeypatch.setattr(gradient_trainer, "GradientTrainer", Trainer)
    monkeypatch.setattr(calibration, "calibratable", lambda *_: [])

    def train(*test: str) -> list[Any]:
        names = ("loss_nodes", "metric_nodes", "freeze_nodes", "unfreeze_nodes")
        data = SimpleNamespace(ignore_label=None, sampling=None, drop_last=False, shuffle=True)
        config = SimpleNamespace(training=SimpleNamespace(max_epochs=9), data=data, **dict.fromkeys(names, ()))
        pipeline = SimpleNamespace(name="pipeline", nodes={})
        trainer_phases.train_by_gradient(pipeline, config, Parts(test), tmp_path, telling)
        return said

    return train


def test_an_epoch_is_told_with_its_losses_and_measures(by_gradient: Gradient) -> None:
    """A validation ends where there was one; in the end come thresholds and the test."""
    said = by_gradient()
    hooks = [hook for hook, *_ in _events(said)]
    told = [(hook, dict(each.losses), dict(each.metrics)) for hook, each in zip(hooks, said, strict=True)]
    assert told[1:4] == [
        ("EPOCH_END", {"train_loss": 0.5}, {"lr": 0.5, "train/rx/auc": 0.25}),
        ("VALIDATION_END", {"val_loss": 0.75}, {"rx/auc": 1.0}),
        ("EPOCH_END", {"train_loss": 0.25, "val_loss": 0.75}, {"lr": 0.5, "rx/auc": 1.0}),
    ]
    assert [(each.event.epochs.current, each.event.epochs.total) for each in said[1:4]] == [(5, 9), (0, 0), (6, 9)]
    # Of two batches each, after four epochs that were trained before.
    assert [place for *_, place in _events(said)][1:4] == [(1, 4, 0, 8), (2, 5, 0, 10), (1, 5, 0, 10)]
    assert (hooks[0], *hooks[4:]) == (
        "FIT_START",
        "FIT_END",
        "CALIBRATION_START",
        "CALIBRATION_END",
        "EVALUATION_START",
        "EVALUATION_END",
    )
    assert [each.event.split for each in said] == [1, 1, 2, 1, 1, 2, 2, 3, 3]
    assert [each.context.stage for each in said] == [each.event.split for each in said]
    outcome = said[6].event.calibration
    assert (outcome.applicable, outcome.phase_detail) == (False, "no node of this pipeline can be calibrated")
    assert said[6].message == outcome.phase_detail


def test_a_validation_without_a_loss_ends_with_its_measures(
    by_gradient: Gradient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Metric nodes may be all that runs in it."""
    monkeypatch.setattr(Trainer, "rows", [{"epoch": 5.0, "train_loss": 0.5, "rx/auc": 0.75}])
    said = by_gradient()
    assert [hook for hook, *_ in _events(said)][1:3] == ["VALIDATION_END", "EPOCH_END"]
    assert (dict(said[1].losses), dict(said[1].metrics)) == ({}, {"rx/auc": 0.75})


def test_an_epoch_ends_where_its_batches_did(
    by_gradient: Gradient, telling: Telling, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After all of them, in the part that has ended; the next one begins with the first."""
    ended = 0

    def fit(*_trainer: object, observer: Any, **_settings: object) -> None:
        nonlocal ended
        telling.epochs_before = lambda: ended
        for _ in range(2):
            for stage in ("train", "train", "val"):
                telling.cuvis_ai_pipeline_finished(stage)
            ended += 1
            observer({"epoch": float(ended), "train_loss": 0.5, "val_loss": 0.5})

    monkeypatch.setattr(Trainer, "fit", fit)
    ends = ("EPOCH_START", "VALIDATION_END", "EPOCH_END")
    assert [(hook, place) for hook, *_, place in _events(by_gradient()) if hook in ends] == [
        ("EPOCH_START", (1, 0, 0, 0)),
        ("VALIDATION_END", (2, 0, 1, 2)),
        ("EPOCH_END", (1, 0, 2, 2)),
        ("EPOCH_START", (1, 1, 0, 2)),
        ("VALIDATION_END", (2, 1, 1, 4)),
        ("EPOCH_END", (1, 1, 2, 4)),
    ]


def test_a_training_that_goes_on_says_so_first(by_gradient: Gradient, tmp_path: Path) -> None:
    """Before it begins."""
    (tmp_path / "resume.ckpt").touch()
    first, second, *_ = by_gradient()
    assert [hook for hook, *_ in _events([first, second])] == ["CHECKPOINT_RESTORED", "FIT_START"]
    assert first.event.checkpoint.restored


def test_a_training_stops_at_the_end_of_an_epoch(by_gradient: Gradient, telling: Telling, said: list[Any]) -> None:
    """Nothing more is said of it."""

    def look() -> None:
        raise Stopped

    telling.run.look = look  # type: ignore[method-assign]
    with pytest.raises(Stopped):
        by_gradient()
    assert [hook for hook, *_ in _events(said)] == ["FIT_START"]


@pytest.mark.parametrize(("test", "status"), [((), "NO_SPLIT"), (("d", "e"), "EVALUATED"), (("broken",), "FAILED")])
def test_what_was_trained_is_tested_where_there_are_data_for_it(
    by_gradient: Gradient, telling: Telling, test: tuple[str, ...], status: str
) -> None:
    """A test that fails ends nothing."""
    outcome = by_gradient(*test)[-1].event.evaluation
    assert outcome.split == 3
    assert outcome.status == enum_value("EvaluationStatus", f"EVALUATION_STATUS_{status}")
    tested = status == "EVALUATED"
    assert (outcome.frames, dict(outcome.metrics)) == ((2, {"rx/auc": 0.5}) if tested else (0, {}))
    assert outcome.error == ("The test is broken." if status == "FAILED" else "")
    assert telling.batches == ({"test": len(test)} if test else {"train": 2, "val": 1})
