"""NaN in training is said with cube, node and epoch, and nothing takes it for an answer."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuvis_ai_schemas.enums import ExecutionStage
from cuvis_ai_schemas.execution import Context
from PIL import Image

from cuvis_ai_core import Pipeline
from cuvis_ai_core.errors import TrainingError, TrainRunError
from cuvis_ai_core.training import GradientTrainer, StatisticalTrainer
from cuvis_ai_core.training.batch_step import Measured
from cuvis_ai_core.training.config import TrainingConfig
from cuvis_ai_core.training.nan_guard import Guard, is_finite

torch = pytest.importorskip("torch")
pytest.importorskip("pytorch_lightning")

Make = Callable[..., Any]
NODES: dict[str, Any] = {"loss_nodes": ["error"], "metric_nodes": ["accuracy"]}


@pytest.fixture
def make_trainer(make_pipeline: Make, batches: Make) -> Make:
    """Return a function that gives a trainer of a pipeline whose mean is learned from cubes 6 and 7."""

    def make(**config: Any) -> GradientTrainer:
        pipeline = make_pipeline()
        StatisticalTrainer(pipeline).fit(batches(6, 7))
        settings = {"max_epochs": 3, "optimizer": {"name": "sgd", "lr": 0.01}, **config}
        return GradientTrainer(pipeline, TrainingConfig.model_validate(settings), **NODES)

    return make


def _holes(scenes: Path, *numbers: int) -> None:
    for number in numbers:
        cube = np.load(scenes / f"{number}.npy")
        cube[1, 2] = np.nan
        np.save(scenes / f"{number}.npy", cube)


def _spoil(trainer: GradientTrainer, monkeypatch: pytest.MonkeyPatch, when: Callable[[Any], bool], node: str) -> None:
    """Have a node answer NaN in some contexts."""
    kind = type(trainer.pipeline.nodes[node])
    forward = kind.forward

    def spoilt(self: Any, context: Any = None, **inputs: Any) -> Any:
        outputs = forward(self, context=context, **inputs)
        if not when(context):
            return outputs
        for each in outputs.get("metrics", ()):
            each.value = float("nan")
        return {port: value if port == "metrics" else value * torch.nan for port, value in outputs.items()}

    monkeypatch.setattr(kind, "forward", spoilt)


def test_a_cube_with_holes_is_left_out(
    make_trainer: Make, batches: Make, scenes: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A cube whose own NaN makes the loss one is left out of training and validation alone, and that is said once."""
    clean = make_trainer(seed=3)
    clean.fit(batches(0, 1, 2, size=3), batches(4))
    _holes(scenes, 3, 5)
    trainer = make_trainer(seed=3)
    with caplog.at_level(logging.WARNING, "cuvis_ai_core"):
        rows = trainer.fit(batches(0, 1, 2, 3, size=4), batches(4, 5))
    told = [each.message for each in caplog.records]
    assert len(told) == 2
    assert "cube 3 (" in told[0]
    assert "3.npy'" in told[0]
    assert "The loss of node 'error' is nan in epoch 1, batch 1 of 'train'" in told[0]
    assert "epoch 1, batch 1 of 'val'" in told[1]
    assert "cube 5 (" in told[1]
    assert all(np.isfinite(list(row.values())).all() for row in rows)
    assert trainer.evaluate(batches(4, 5)) == pytest.approx(trainer.evaluate(batches(4)))


def test_a_cube_with_holes_is_an_error_on_demand(make_trainer: Make, batches: Make, scenes: Path) -> None:
    """With `on_nan: error` it ends the training."""
    _holes(scenes, 1)
    with pytest.raises(TrainingError, match=r"is nan in epoch 1.*cube 1 \('.*1.npy'\)\. The cube holds values"):
        make_trainer(on_nan="error").fit(batches(0, 1, size=2))


def test_nothing_but_holes(make_trainer: Make, batches: Make, scenes: Path) -> None:
    """An epoch from which nothing was learned is an error, not a training."""
    _holes(scenes, 0, 1)
    with pytest.raises(TrainingError, match="Nothing could be learned in epoch 1"):
        make_trainer().fit(batches(0, 1))


@pytest.mark.parametrize("policy", [None, "error"])
def test_a_loss_that_is_no_number(
    make_trainer: Make, batches: Make, monkeypatch: pytest.MonkeyPatch, policy: str | None
) -> None:
    """It is an error that names epoch, cubes, and the node in which it begins."""
    trainer = make_trainer(on_nan=policy)
    _spoil(trainer, monkeypatch, lambda context: context.epoch == 1 and context.stage.value == "train", "scores")
    with pytest.raises(
        TrainingError,
        match=r"is nan in epoch 2, batch 1 of 'train': cube .* begins with output 'scores' of node 'scores'",
    ):
        trainer.fit(batches(0, 1))
    assert [row["epoch"] for row in trainer.history()] == [1]


def test_such_a_batch_is_skipped_on_demand(
    make_trainer: Make, batches: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With `on_nan: skip` it is left out, and said."""
    trainer = make_trainer(on_nan="skip")
    _spoil(trainer, monkeypatch, lambda context: context.stage.value == "train" and context.batch_idx == 0, "scores")
    rows = trainer.fit(batches(0, 1, size=1))
    assert len(rows) == 3
    assert all(np.isfinite(row["train_loss"]) for row in rows)
    assert "epoch 1, batch 1 of 'train': cube" in caplog.text


def test_a_gradient_that_is_no_number(make_trainer: Make, batches: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A finite loss with a gradient that is none names the parameter, and changes no weight."""
    for policy in ("error", "skip"):
        trainer = make_trainer(on_nan=policy)
        before = trainer.pipeline.nodes["scores"].linear.weight.detach().clone()
        kind = type(trainer.pipeline.nodes["error"])
        with monkeypatch.context() as patch:
            patch.setattr(
                kind, "forward", lambda self, scores, mask, **_: {"loss": (scores * 0).clamp(min=0).sqrt().sum()}
            )
            says = r"The gradient of 'linear\.(weight|bias)' of node 'scores' is not a"
            if policy == "skip":
                says = "Nothing could be learned in epoch 1: every gradient was left out"
            with pytest.raises(TrainingError, match=says):
                trainer.fit(batches(0))
        assert torch.equal(before, trainer.pipeline.nodes["scores"].linear.weight)


def test_weights_that_are_no_numbers(make_trainer: Make, batches: Make) -> None:
    """The last step of a training is not the end of the checks."""
    with pytest.raises(TrainingError, match=r"(?s)(end of epoch 1|is inf|is nan).*Lower training.optimizer.lr"):
        make_trainer(max_epochs=1, optimizer={"name": "sgd", "lr": 3e38}).fit(batches(0, 1, 2, 3, size=1))


def test_running_means_that_are_no_numbers(make_trainer: Make, batches: Make) -> None:
    """They are what a normalisation has learned, and are said as weights are; other buffers may hold infinity."""
    trainer = make_trainer()
    node = trainer.pipeline.nodes["scores"]
    node.norm = torch.nn.BatchNorm1d(3)
    node.register_buffer("bound", torch.tensor(torch.inf))
    assert len(trainer.fit(batches(0, 1))) == 3
    trainer = GradientTrainer(trainer.pipeline, trainer.config, **NODES)
    node.norm.running_var.fill_(torch.nan)
    with pytest.raises(TrainingError, match=r"end of epoch 1 'norm\.running_var' of node 'scores' is not a number"):
        trainer.fit(batches(0, 1))


def test_running_means_are_as_before_a_batch_that_is_left_out(
    make_trainer: Make, batches: Make, scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A normalisation keeps nothing of a cube with holes."""
    _holes(scenes, 1)
    trainer = make_trainer()
    node = trainer.pipeline.nodes["scores"]
    node.norm = torch.nn.BatchNorm1d(3)
    kind = type(node)
    forward = kind.forward
    monkeypatch.setattr(
        kind,
        "forward",
        lambda self, cube, **rest: forward(self, cube=self.norm(cube.reshape(-1, 3)).reshape(cube.shape), **rest),
    )
    trainer.fit(batches(0, 1, 2, size=1))
    assert node.norm.running_mean.isfinite().all()


def test_a_scheduler_is_told_no_number_that_is_none(
    make_trainer: Make, batches: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An epoch whose measure is not defined is none without progress."""
    scheduler = {"name": "plateau", "monitor": "accuracy/accuracy", "patience": 0, "mode": "max", "factor": 0.5}
    trainer = make_trainer(scheduler=scheduler)
    _spoil(trainer, monkeypatch, lambda context: context.stage.value == "val" and context.epoch > 0, "accuracy")
    assert [row["lr"] for row in trainer.fit(batches(0, 1), batches(4))] == [0.01] * 3


@pytest.mark.parametrize("monitored", ["val_loss", "accuracy/accuracy"])
def test_the_best_epoch_is_one_with_a_number(
    make_trainer: Make, batches: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, monitored: str
) -> None:
    """An epoch whose value is NaN is not the best, not even where it is the first."""
    trainer = make_trainer(
        on_nan="skip",
        max_epochs=4,
        callbacks={"checkpoint": {"monitor": monitored}, "early_stopping": {"monitor": monitored, "patience": 3}},
        scheduler={"name": "plateau", "monitor": monitored, "patience": 0},
    )
    node = "error" if monitored == "val_loss" else "accuracy"
    _spoil(trainer, monkeypatch, lambda context: context.stage.value == "val" and context.epoch in {0, 3}, node)
    rows = trainer.fit(batches(0, 1), batches(4), folder=tmp_path)
    assert [monitored in row for row in rows] == [False, True, True, False]
    assert len(rows) == 4
    (kept,) = (tmp_path / "checkpoints").glob("*.ckpt")
    assert kept.stem in {"epoch-0002", "epoch-0003"}


def test_no_best_epoch(make_trainer: Make, batches: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A metric that never is a number is said at the end, and the way to go on is kept."""
    trainer = make_trainer(callbacks={"checkpoint": {"monitor": "accuracy/accuracy"}})
    _spoil(trainer, monkeypatch, lambda _: True, "accuracy")
    with pytest.raises(TrainingError, match="no best epoch: 'accuracy/accuracy' was in no epoch a number"):
        trainer.fit(batches(0, 1), batches(4), folder=tmp_path)
    assert (tmp_path / "resume.ckpt").is_file()
    assert len(trainer.history()) == 3


@pytest.mark.parametrize("more", [{}, {"save_last": True}, {"save_top_k": 3}])
def test_a_checkpoint_that_cannot_be_written(
    make_trainer: Make,
    batches: Make,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    more: dict[str, Any],
) -> None:
    """A full disk costs no training: the best epoch is kept in memory, and the result is that of the same epoch."""
    import pytorch_lightning

    best = {
        "max_epochs": 4,
        "callbacks": {"checkpoint": {"monitor": "val_loss", "mode": "max", **more}},  # so that it is not the last one
        "optimizer": {"name": "sgd", "lr": 0.01},
    }
    whole = make_trainer(**best)
    rows = whole.fit(batches(0, 1), batches(4))
    assert rows[-1]["val_loss"] < max(row["val_loss"] for row in rows)
    trainer = make_trainer(**best)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pytorch_lightning.Trainer, "save_checkpoint", full)
    trainer.fit(batches(0, 1), batches(4), folder=tmp_path)
    assert trainer.evaluate(batches(4)) == pytest.approx(whole.evaluate(batches(4)))
    assert "No space left" in caplog.text
    assert not list(tmp_path.rglob("*.ckpt"))


@pytest.mark.parametrize("mode", ["min", "max"])  # the best epoch is the last one, or the first
@pytest.mark.parametrize("save_top_k", [1, 2])
def test_a_checkpoint_that_is_written_again(
    make_trainer: Make,
    batches: Make,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    mode: str,
    save_top_k: int,
) -> None:
    """Where best epochs share the name of a file, and the first found no room, the result is that of the best one."""
    import pytorch_lightning

    best = {
        "callbacks": {
            "checkpoint": {"monitor": "val_loss", "mode": mode, "filename": "best", "save_top_k": save_top_k}
        },
        "optimizer": {"name": "sgd", "lr": 0.01},
    }
    whole = make_trainer(**best)
    rows = whole.fit(batches(0, 1), batches(4))
    losses = [row["val_loss"] for row in rows]
    assert losses == sorted(losses, reverse=True)
    save = pytorch_lightning.Trainer.save_checkpoint

    def full_at_first(self: Any, *arguments: Any, **options: Any) -> None:
        if self.current_epoch == 0:
            raise OSError(28, "No space left on device")
        save(self, *arguments, **options)

    monkeypatch.setattr(pytorch_lightning.Trainer, "save_checkpoint", full_at_first)
    trainer = make_trainer(**best)
    trainer.fit(batches(0, 1), batches(4), folder=tmp_path)
    assert trainer.evaluate(batches(4)) == pytest.approx(whole.evaluate(batches(4)))


@pytest.mark.parametrize("filename", [None, "best"])
def test_a_best_epoch_in_memory_outlives_the_process(
    make_trainer: Make, batches: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, filename: str | None
) -> None:
    """One that found no room goes along with where to go on from; no older file of its name passes for it."""
    import pytorch_lightning

    best = {"max_epochs": 2, "callbacks": {"checkpoint": {"monitor": "val_loss", "filename": filename}}}
    whole = make_trainer(**best)
    first, second = (row["val_loss"] for row in whole.fit(batches(0, 1), batches(4)))
    assert second < first
    save = pytorch_lightning.Trainer.save_checkpoint

    def full_in_the_second(self: Any, path: Any, *arguments: Any, **options: Any) -> None:
        if self.current_epoch == 1 and "checkpoints" in str(path):
            raise OSError(28, "No space left on device")
        save(self, path, *arguments, **options)

    monkeypatch.setattr(pytorch_lightning.Trainer, "save_checkpoint", full_in_the_second)
    folder = tmp_path / "run"
    make_trainer(**best).fit(batches(0, 1), batches(4), folder=folder)
    assert not list((folder / "checkpoints").iterdir())
    again = make_trainer(**best)
    again.fit(batches(0, 1), batches(4), folder=folder)
    assert again.evaluate(batches(4)) == pytest.approx(whole.evaluate(batches(4)))


def test_a_file_of_another_epoch_is_not_the_best_one(make_trainer: Make, batches: Make, tmp_path: Path) -> None:
    """Where the epochs share a name, what lies there is asked from which one it is."""
    best = {"max_epochs": 1, "callbacks": {"checkpoint": {"monitor": "val_loss", "filename": "best"}}}
    for epochs in (1, 2):
        make_trainer(**best | {"max_epochs": epochs}).fit(batches(0, 1), batches(4), folder=tmp_path / str(epochs))
    file = Path("checkpoints", "best.ckpt")
    (tmp_path / "1" / file).replace(tmp_path / "2" / file)
    with pytest.raises(TrainingError, match=r"best\.ckpt', is of another one: it was written after step 1, .* step 2"):
        make_trainer(**best | {"max_epochs": 2}).fit(batches(0, 1), batches(4), folder=tmp_path / "2")


def test_half_an_epoch_takes_the_name_of_no_best_one(make_trainer: Make, batches: Make, tmp_path: Path) -> None:
    """With `save_on_exception` it has another one; whoever goes on ends with the best epoch."""
    checkpoint = {"monitor": "val_loss", "mode": "max", "filename": "best", "save_on_exception": True}
    best = {"callbacks": {"checkpoint": checkpoint}}
    whole = make_trainer(**best)
    whole.fit(batches(0, 1), batches(4))

    def stop(row: Any) -> None:
        if row["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_trainer(**best).fit(batches(0, 1), batches(4), folder=tmp_path, observer=stop)
    assert {file.stem for file in (tmp_path / "checkpoints").iterdir()} == {"best", "best-interrupted"}
    again = make_trainer(**best)
    again.fit(batches(0, 1), batches(4), folder=tmp_path)
    assert again.evaluate(batches(4)) == pytest.approx(whole.evaluate(batches(4)))


@pytest.mark.parametrize(
    ("config", "val", "says"),
    [
        ({"checkpoint": {"monitor": "val_los"}}, [4], r"nothing is reported as 'val_los'.*Did you mean 'val_loss'"),
        (
            {"checkpoint": {"monitor": "acuracy/accuracy"}},
            [4],
            "callbacks.checkpoint: nothing is reported as 'acuracy/",
        ),
        (
            {"early_stopping": {"monitor": "val_loss"}},
            [],
            "early_stopping: 'val_loss' is to be monitored, and no epoch is",
        ),
    ],
)
def test_what_cannot_be_monitored_is_said_before_the_first_epoch(
    make_trainer: Make, batches: Make, config: Any, val: Any, says: str
) -> None:
    """A name that nothing can have, and a validation that does not take place."""
    trainer = make_trainer(callbacks=config)
    with pytest.raises(TrainRunError, match=says):
        trainer.fit(batches(0, 1), batches(*val), observer=lambda row: pytest.fail(f"an epoch was trained: {row}"))


def test_a_metric_that_does_not_appear(make_trainer: Make, batches: Make) -> None:
    """It is said after the first validation, also where not every epoch is validated."""
    trainer = make_trainer(callbacks={"checkpoint": {"monitor": "accuracy/f1"}}, check_val_every_n_epoch=2)
    with pytest.raises(TrainRunError, match=r"nothing is reported as 'accuracy/f1'.*\n.*accuracy/accuracy"):
        trainer.fit(batches(0, 1), batches(4))
    assert len(trainer.history()) <= 2


@pytest.mark.parametrize(
    ("monitor", "mode", "chosen", "told"),
    [
        ("val_loss", None, "min", ""),
        ("accuracy/overall", None, "max", ""),
        ("m/mean_squared_error", None, "min", ""),
        ("m/iou", "min", "min", "looks for the worst 'm/iou'"),
        ("m/width", None, "min", "say 'mode: max' if"),
        ("accuracy/pixels", None, "max", ""),
        ("train/f1/loss", None, "min", ""),
        ("m/width", "max", "max", ""),
    ],
)
def test_the_direction_of_a_metric(
    monitor: str, mode: Any, chosen: str, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its name decides which value is the best, unless the trainrun does; what looks wrong is said."""
    from cuvis_ai_core.training.monitored_metric import direction

    assert direction(monitor, mode) == chosen
    assert told in caplog.text if told else not caplog.text


class _Measuring:
    """A pipeline whose loss is what a batch says."""

    def __init__(self, plus: float = 0.0) -> None:
        self.plus = plus
        self.pipeline = Pipeline("none")
        self.batches: list[Any] = []

    def measure(self, batch: Any, context: Any) -> Measured:
        """Note the batch."""
        self.batches.append(batch)
        return Measured({"error": float(np.sum(batch["cube"])) + self.plus}, {}, {"error": 1.0})


def _context(number: int) -> Context:
    return Context(stage=ExecutionStage.VAL, batch_idx=number)


def test_what_is_no_cube_stays_whole_where_a_cube_is_left_out() -> None:
    """Cubes, masks and their numbers are cut; wavelengths are not."""
    cube = np.ones((3, 1, 1, 2))
    cube[1] = np.nan
    batch = {"cube": cube, "mask": np.arange(3), "mesu_index": np.arange(3), "wavelengths": np.ones(2)}
    measuring: Any = _Measuring()
    assert Guard(measuring).measure(batch, _context(0)) is not None
    left = {key: value.tolist() for key, value in measuring.batches[-1].items()}
    assert left == {
        "cube": [[[[1, 1]]], [[[1, 1]]]], "mask": [0, 2], "mesu_index": [0, 2], "wavelengths": [1, 1]
    }  # fmt: skip


@pytest.mark.parametrize(
    ("mask", "hint"),
    [
        ({}, "Lower training.optimizer.lr"),
        ({"mask": np.ones((1, 1))}, "Lower training.optimizer.lr"),
        ({"mask": np.zeros((1, 1))}, "Its mask is 0 everywhere"),
    ],
)
def test_what_to_do_about_a_loss_that_is_no_number(mask: Any, hint: str) -> None:
    """A batch without labels is another matter than one whose numbers grow beyond all bounds."""
    measuring: Any = _Measuring(np.inf)
    with pytest.raises(TrainingError, match="is inf in batch 2 of 'val'") as caught:
        Guard(measuring).measure({"cube": np.ones((1, 1, 1, 2)), **mask}, _context(1))
    assert str(caught.value.hint).startswith(hint)


@pytest.mark.parametrize("library", [np.asarray, torch.as_tensor])
@pytest.mark.parametrize(
    ("values", "finite"),
    [
        ([1, 2], True),
        ([1.0, 2.0], True),
        ([1.0, float("nan")], False),
        ([1.0, float("inf")], False),
        ([1j, 2], True),
        ([1j, complex(0, float("nan"))], False),
        ([True], True),
    ],
)
def test_which_arrays_hold_numbers_alone(library: Any, values: Any, *, finite: bool) -> None:
    """Real and complex ones, and what cannot hold anything else."""
    assert is_finite(library(values)) is finite
    assert is_finite("text")


@pytest.mark.parametrize(("numbers", "said"), [({"mesu_index": np.array([7])}, 1), ({}, 3)])
def test_what_is_left_out_is_said(numbers: Any, said: int, caplog: pytest.LogCaptureFixture) -> None:
    """Once for each cube; where nobody knows which one it is, each time."""
    measuring: Any = _Measuring()
    guard = Guard(measuring, "skip")
    with caplog.at_level(logging.WARNING):
        for number in range(3):
            assert guard.measure({"cube": np.full((1, 1, 1, 1), np.nan), **numbers}, _context(number)) is None
    assert len(caplog.records) == said
    assert "is nan in batch 1 of 'val'" in caplog.records[0].message


def test_a_batch_without_labels_says_what_to_do(
    make_trainer: Make, batches: Make, monkeypatch: pytest.MonkeyPatch, scenes: Path
) -> None:
    """A loss that is a mean over nothing is answered by how such a batch adds nothing."""
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(scenes / "masks" / "0.png")
    trainer = make_trainer()
    _spoil(trainer, monkeypatch, lambda context: context.stage.value == "train", "error")
    with pytest.raises(TrainingError, match="cube 0") as caught:
        trainer.fit(batches(0))
    assert "data.ignore_label: 0" in str(caught.value.hint)
    with pytest.raises(TrainingError, match="cube 1") as caught:
        trainer.fit(batches(1))
    assert "training.optimizer.lr" in str(caught.value.hint)
