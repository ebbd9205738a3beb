"""What a training says of itself while it runs: events in their order, how far it is, and not too often."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

pytest.importorskip("grpc")

from cuvis_ai_core.grpc.messages.schema_generations import messages
from cuvis_ai_core.grpc.server.training import progress_messages
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
    ]
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


def test_an_epoch_is_told_with_its_losses_and_measures(
    telling: Telling, said: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A validation ends where there was one."""
    pytest.importorskip("pytorch_lightning")
    from cuvis_ai_core.training import calibration, gradient_trainer

    class Trainer:
        """Trains nothing, and tells of two epochs."""

        def __init__(self, *_: object, **__: object) -> None:
            self.epochs_trained = lambda: 0
            self.history = list

        def fit(self, *_: object, observer: Any, **__: object) -> None:
            """Tell of them."""
            observer({"epoch": 1.0, "train_loss": 0.5})
            observer({"epoch": 2.0, "train_loss": 0.25, "val_loss": 0.75, "rx/auc": 1.0})

    class Data:
        """Data with nothing to test on."""

        model_fields: ClassVar[dict[str, Any]] = {}
        ignore_label = masks = sampling = None
        drop_last, shuffle = False, True
        ids = share = staticmethod(lambda *_: None)

    monkeypatch.setattr(gradient_trainer, "GradientTrainer", Trainer)
    monkeypatch.setattr(calibration, "calibratable", lambda *_: [])
    names = ("loss_nodes", "metric_nodes", "freeze_nodes", "unfreeze_nodes")
    config = SimpleNamespace(training=SimpleNamespace(max_epochs=2), data=Data(), **dict.fromkeys(names, ()))
    parts = SimpleNamespace(batches=lambda _: [], cubes=[])
    progress_messages.train_by_gradient(None, config, parts, tmp_path, telling)
    told = [(hook, dict(each.losses), dict(each.metrics)) for (hook, *_), each in zip(_events(said), said, strict=True)]
    assert [each for each in told if each[0] in {"EPOCH_END", "VALIDATION_END"}] == [
        ("EPOCH_END", {"train_loss": 0.5}, {}),
        ("VALIDATION_END", {"val_loss": 0.75}, {}),
        ("EPOCH_END", {"train_loss": 0.25, "val_loss": 0.75}, {"rx/auc": 1.0}),
    ]
