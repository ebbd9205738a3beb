"""The published trainers, on data modules of Lightning."""

import copy
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("pytorch_lightning")

import pytorch_lightning as pl
import torch
from cuvis_ai_schemas.pipeline import PortSpec
from pytorch_lightning import callbacks
from torch.utils.data import DataLoader

from cuvis_ai_core import Pipeline
from cuvis_ai_core.errors import PipelineError, TrainingError, TrainingStoppedError, TrainRunError
from cuvis_ai_core.training import GradientTrainer, Predictor, StatisticalTrainer
from cuvis_ai_core.training import config as training_config
from cuvis_ai_core.training.config import OptimizerConfig, SchedulerConfig, TrainingConfig
from cuvis_ai_core.training.datamodule import CuvisDataModule
from cuvis_ai_core.training.evaluation import TrainingCancelled
from cuvis_ai_core.training.evaluation_mode import undisturbed
from cuvis_ai_core.training.post_fit import FrameProgress, TrainEvent
from cuvis_ai_core.training.trainers import GradientTrainer as Published

Make = Callable[..., Pipeline]
published: Any = training_config
Trainer: Any = GradientTrainer
"""Of which a checker sees the signature of our own generation."""


class Scenes(CuvisDataModule):
    """Random cubes whose mask is where the second band is large."""

    def __init__(self) -> None:
        super().__init__()
        self.stages: list[str | None] = []
        self.prepared = 0

    def prepare_data(self) -> None:
        """Count."""
        self.prepared += 1

    def setup(self, stage: str | None = None) -> None:
        """Remember the stage, and make the cubes."""
        self.stages.append(stage)
        random = np.random.default_rng(7)
        cubes = random.random((8, 4, 5, 3), dtype=np.float32) + np.array([1, 2, 3], np.float32)
        self.items = [{"cube": cube, "mask": (cube[..., 1] > 2.5).astype(np.int32)} for cube in cubes]

    def train_dataloader(self) -> DataLoader[Any]:
        """Return six of them."""
        return DataLoader(self.items[:6], batch_size=3)  # type: ignore[arg-type]

    def val_dataloader(self) -> DataLoader[Any]:
        """Return two."""
        return DataLoader(self.items[6:], batch_size=2)  # type: ignore[arg-type]

    predict_dataloader = test_dataloader = val_dataloader


def test_both_phases(make_pipeline: Make, tmp_path: Path) -> None:
    """Statistics first, then the gradient of the sum of the loss nodes, which are objects; the loss falls."""
    pipeline, module = make_pipeline(), Scenes()
    assert StatisticalTrainer(pipeline=pipeline, datamodule=module).fit() == ("center",)
    assert module.stages == ["fit"]
    pipeline.unfreeze_nodes_by_name(["scores"])
    trainer = Trainer(
        pipeline=pipeline,
        datamodule=module,
        loss_nodes=[pipeline.nodes["error"]],
        metric_nodes=[pipeline.nodes["accuracy"]],
        trainer_config=published.TrainerConfig(
            max_epochs=8,
            accelerator="cpu",
            enable_progress_bar=False,
            default_root_dir=str(tmp_path),
            enable_checkpointing=True,
            callbacks={
                "checkpoint": published.ModelCheckpointConfig(dirpath=str(tmp_path / "kept"), monitor="val_loss")
            },
        ),
        optimizer_config=OptimizerConfig(name="adam", lr=0.05),
        scheduler_config=SchedulerConfig(name="step", step_size=5),
    )
    assert isinstance(trainer, Published)
    assert isinstance(trainer, pl.LightningModule)
    (before,) = trainer.validate()
    trainer.fit()
    (after,) = trainer.validate()
    assert after["val_loss"] < before["val_loss"]
    assert "accuracy/accuracy" in after
    assert list((tmp_path / "kept").glob("*.ckpt"))
    (tested,) = trainer.test()
    assert tested["test_loss"] <= before["val_loss"]


def test_one_flat_configuration(make_pipeline: Make) -> None:
    """As newer software gives it; the loss is the sum of all outputs of the loss nodes."""
    pipeline = make_pipeline()
    StatisticalTrainer(pipeline, Scenes()).fit()
    config = TrainingConfig(max_epochs=1, accelerator="cpu", enable_progress_bar=False)
    trainer = Trainer(pipeline, Scenes(), ["error"], training_config=config)
    batch = {"cube": torch.ones(1, 2, 2, 3), "mask": torch.zeros(1, 2, 2, dtype=torch.int32)}
    expected = pipeline.forward(batch, "val", gradients=True)["error", "loss"]
    assert torch.equal(trainer.validation_step(batch, 0), expected)
    assert trainer.training_step(batch, 0).requires_grad
    trainer.fit()


def test_what_is_wrong_is_said_at_once(make_pipeline: Make) -> None:
    """A node that is not there, no loss, a value that breaks a rule."""
    pipeline = make_pipeline()
    with pytest.raises(TrainRunError, match="loss_nodes: the pipeline has no node 'eror'"):
        Published(pipeline, Scenes(), ["eror"])
    with pytest.raises(TrainRunError, match="no node is named whose outputs are the loss"):
        Published(pipeline, Scenes(), [])
    with pytest.raises(TrainRunError, match=r"training\.max_epochs: .*; it is -1"):
        Published(pipeline, Scenes(), ["error"], trainer_config={"max_epochs": -1})
    with pytest.raises(TrainRunError, match=r"no batches, and no data module"):
        StatisticalTrainer(pipeline).fit()


class Plain(pl.LightningModule):
    """The same as a trained pipeline of these nodes, of which nothing is a pipeline."""

    def __init__(self, pipeline: Any) -> None:
        super().__init__()
        nodes = copy.deepcopy(pipeline).nodes
        self.center, self.linear, self.error = nodes["center"], nodes["scores"].linear, nodes["error"]

    def training_step(self, batch: Any, _: int) -> Any:
        """Return the loss."""
        scores = self.linear(self.center.forward(cube=batch["cube"])["cube"])[..., 0]
        return self.error.forward(scores=scores, mask=batch["mask"])["loss"]

    def configure_optimizers(self) -> Any:
        """Return the optimizer."""
        return torch.optim.SGD(self.linear.parameters(), lr=0.05)


@pytest.mark.parametrize(
    "average",
    [
        partial(callbacks.StochasticWeightAveraging, swa_lrs=0.02, swa_epoch_start=1),
        partial(callbacks.EMAWeightAveraging, decay=0.5),
    ],
)
def test_weights_are_averaged_by_callbacks_of_lightning(make_pipeline: Make, average: Any) -> None:
    """Which copy the module for it, as they average those of any other."""
    pipeline = make_pipeline(scores={"dropout": 0.0})
    StatisticalTrainer(pipeline, Scenes()).fit()
    plain, scenes = Plain(pipeline), Scenes()
    scenes.setup()
    options: dict[str, Any] = {"max_epochs": 3, "accelerator": "cpu", "enable_progress_bar": False}
    quiet: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_model_summary": False}
    expected = pl.Trainer(**options, **quiet, callbacks=[average()])
    with undisturbed(pipeline):
        expected.fit(plain, scenes.train_dataloader())
    before = pipeline.nodes["scores"].linear.weight.clone()
    sgd = OptimizerConfig(name="sgd", lr=0.05)
    Published(pipeline, Scenes(), ["error"], None, options, sgd, callbacks=[average()]).fit()
    assert torch.equal(pipeline.nodes["scores"].linear.weight, plain.linear.weight)
    assert not torch.equal(before, plain.linear.weight)


def test_metrics_of_all_batches_together_are_reported(make_pipeline: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a node gives a mapping: metrics of torchmetrics, and numbers as means over pixels."""
    classification = pytest.importorskip("torchmetrics.classification")
    pipeline, f1, seen = make_pipeline(), classification.BinaryF1Score(), []

    def measure(_: Any, scores: Any, mask: Any, **__: Any) -> dict[str, Any]:
        seen.append(((scores > 0.5).int(), mask))
        return {"metrics": {"f1": (f1, *seen[-1]), "ones": mask.float().mean()}}

    class Uneven(Scenes):
        def val_dataloader(self) -> DataLoader[Any]:
            return DataLoader(self.items[:7], batch_size=3)  # type: ignore[arg-type]

    StatisticalTrainer(pipeline, Scenes()).fit()
    monkeypatch.setattr(type(pipeline.nodes["accuracy"]), "OUTPUT_SPECS", {"metrics": PortSpec(dict, ())})
    monkeypatch.setattr(type(pipeline.nodes["accuracy"]), "forward", measure)
    trainer = Published(copy.deepcopy(pipeline), Uneven(), ["error"], ["accuracy"], {"accelerator": "cpu"})
    (found,) = trainer.validate()
    compared, true = (torch.cat(each) for each in zip(*seen, strict=True))
    assert found["accuracy/f1"] == pytest.approx(float(classification.BinaryF1Score()(compared, true)))
    assert found["accuracy/ones"] == pytest.approx(float(true.float().mean()))


def test_no_batch_to_train_on_is_an_error(make_pipeline: Make) -> None:
    """The weights would be taken for trained ones."""

    class Dark(Scenes):
        def train_dataloader(self) -> DataLoader[Any]:
            return DataLoader(self.items[:0])  # type: ignore[arg-type]

    pipeline = make_pipeline()
    StatisticalTrainer(pipeline, Scenes()).fit()
    with pytest.raises(TrainRunError, match="Dark gave no batch to train on"):
        Published(pipeline, Dark(), ["error"], None, {"max_epochs": 1, "accelerator": "cpu"}).fit()


def test_a_callback_may_stop_a_training_before_its_first_batch(make_pipeline: Make) -> None:
    """That is no error of the data."""

    class Stop(pl.Callback):
        def on_train_start(self, trainer: pl.Trainer, _: pl.LightningModule) -> None:
            trainer.should_stop = True

    pipeline = make_pipeline()
    StatisticalTrainer(pipeline, Scenes()).fit()
    before = pipeline.nodes["scores"].linear.weight.clone()
    Published(pipeline, Scenes(), ["error"], None, {"max_epochs": 1, "accelerator": "cpu"}, callbacks=[Stop()]).fit()
    assert torch.equal(before, pipeline.nodes["scores"].linear.weight)


def test_what_a_node_keeps_in_validation_can_be_written_in_training(make_pipeline: Make) -> None:
    """As metrics of torchmetrics do, which add up from pass to pass."""
    pipeline = make_pipeline()
    StatisticalTrainer(pipeline, Scenes()).fit()
    error: Any = pipeline.nodes["error"]
    error.kept, forward = None, error.forward

    def counting(**given: Any) -> dict[str, Any]:
        if error.kept is None:
            error.kept = torch.zeros(1)
        error.kept += 1
        return dict(forward(**given))

    error.forward = counting
    trainer = Trainer(pipeline, Scenes(), ["error"], trainer_config={"max_epochs": 1, "enable_progress_bar": False})
    trainer.validate()
    trainer.fit()
    assert error.kept > 1


def test_statistics_alone_are_validated_and_tested(make_pipeline: Make) -> None:
    """By what the metric nodes say over all pixels, those that are named, and how many images there were."""
    pipeline = make_pipeline()
    trainer = StatisticalTrainer(pipeline, Scenes())
    trainer.fit()
    found = trainer.validate()
    (batch,) = trainer.datamodule.val_dataloader()
    (metric,) = pipeline.forward(batch, "val")["accuracy", "metrics"]
    assert found.metrics == {"accuracy/accuracy": pytest.approx(metric.value)}
    assert (found.frames, trainer.test().frames) == (2, 2)
    assert (trainer.datamodule.stages, trainer.datamodule.prepared) == (["fit", "validate", "test"], 3)
    for named in (["accuracy"], [pipeline.nodes["accuracy"]]):
        assert StatisticalTrainer(pipeline, Scenes(), None, named).validate() == found
    assert StatisticalTrainer(pipeline, Scenes(), metric_nodes=[]).validate().metrics == {}
    with pytest.raises(TrainRunError, match="metric_nodes: the pipeline has no node 'acuracy'"):
        StatisticalTrainer(pipeline, Scenes(), metric_nodes=["acuracy"])


def test_who_listens_is_told_of_statistics(make_pipeline: Make) -> None:
    """Of each node that begins and ends, and how many images it was given."""
    told: list[TrainEvent] = []
    StatisticalTrainer(make_pipeline(), Scenes(), emit=told.append).fit()
    assert [(each.hook.value, each.node) for each in told] == [
        ("statistical_node_start", "center"),
        *[("statistical_progress", "center")] * 2,
        ("statistical_node_end", "center"),
    ]
    progress = [each.progress for each in told]
    assert progress == [FrameProgress(0, 6), FrameProgress(3, 6), FrameProgress(6, 6), None]


def test_statistics_can_be_stopped(make_pipeline: Make) -> None:
    """Before the next batch; the node has not learned."""
    stop, pipeline = Event(), make_pipeline()

    def end(_: TrainEvent) -> None:
        stop.set()

    trainer = StatisticalTrainer(pipeline, Scenes(), stop, emit=end)
    with pytest.raises(TrainingCancelled, match="its stop_event is set"):
        trainer.fit()
    assert trainer.waiting == ("center",)
    with pytest.raises(TrainingStoppedError):
        StatisticalTrainer(pipeline, Scenes(), stop).validate()


def test_nothing_joins_a_pipeline_that_is_trained(make_pipeline: Make) -> None:
    """Its weights would be in no optimizer and no checkpoint."""
    pipeline = make_pipeline()
    Published(pipeline, Scenes(), ["error"])
    with pytest.raises(PipelineError, match="stays as it is for GradientTrainer"):
        pipeline.add(type(pipeline.nodes["center"])(name="late"))


def test_the_best_weights_come_back(make_pipeline: Make, tmp_path: Path) -> None:
    """Or it is said why not, and the weights stay."""
    pipeline = make_pipeline()
    StatisticalTrainer(pipeline, Scenes()).fit()
    keeping = pl.callbacks.ModelCheckpoint(dirpath=tmp_path, monitor="val_loss")
    config = {"max_epochs": 3, "accelerator": "cpu", "enable_progress_bar": False}
    trainer = Published(pipeline, Scenes(), ["error"], trainer_config=config, callbacks=[keeping])
    assert trainer.load_best_checkpoint().reason == "no checkpoints were kept"
    trainer.fit()
    weight = pipeline.nodes["scores"].linear.weight
    best = torch.load(keeping.best_model_path, weights_only=True)
    weight.data.fill_(9.0)
    found = trainer.load_best_checkpoint()
    assert (found.restored, found.path, found.epoch) == (True, keeping.best_model_path, best["epoch"])
    assert found.monitor == "val_loss"
    assert found.score == keeping.best_model_score
    assert torch.equal(weight, best["state_dict"]["layers.scores.linear.weight"])
    weight.data.fill_(9.0)
    torch.save({"state_dict": {"layers.scores.other": torch.zeros(1)}}, keeping.best_model_path)
    assert "The weights do not fit" in trainer.load_best_checkpoint().reason
    Path(keeping.best_model_path).unlink()
    assert trainer.load_best_checkpoint().reason.startswith("no checkpoint was written")
    assert bool((weight == 9).all())


class _Seen(pl.Callback):
    """Remembers what each epoch reports, and how nodes behave in training."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self.training: set[tuple[str, bool]] = set()
        self.reported: list[set[str]] = []

    def on_train_batch_start(self, *_: Any, **__: Any) -> None:
        """Look at nodes."""
        self.training |= {(name, self._pipeline.nodes[name].training) for name in ("center", "scores")}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at numbers."""
        self.reported.append(set(trainer.callback_metrics))


def test_what_the_published_trainer_reports(
    make_pipeline: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Losses by stage and node, metrics by node; frozen nodes are used as they are, and nothing is written unasked."""
    monkeypatch.chdir(tmp_path)
    pipeline = make_pipeline(accuracy={"execution_stages": ["always"]})
    StatisticalTrainer(pipeline, Scenes()).fit()
    pipeline.unfreeze_nodes_by_name(["scores"])
    pipeline.nodes["center"].freeze()
    seen = _Seen(pipeline)
    config = {"max_epochs": 1, "accelerator": "cpu", "enable_progress_bar": False}
    trainer = Published(pipeline, Scenes(), ["error"], ["accuracy"], config, callbacks=[seen])
    trainer.fit()
    names = {"accuracy/accuracy", "val_loss", "val/error", "train_loss", "train/error", "train/accuracy/accuracy"}
    assert seen.reported == [names]
    assert seen.training == {("center", False), ("scores", True)}
    (found,) = trainer.test()
    assert set(found) == {"test_loss", "test/error", "accuracy/accuracy"}
    assert found["test_loss"] == found["test/error"]
    assert list(tmp_path.iterdir()) == []


def test_a_published_training_that_cannot_learn_is_ended(make_pipeline: Make) -> None:
    """Where the loss is no number, no loss runs in a stage, or nothing can be trained."""
    batch = {"cube": torch.ones(1, 2, 2, 3), "mask": torch.zeros(1, 2, 2, dtype=torch.int32)}
    endless = make_pipeline(error={"scale": float("inf")})
    StatisticalTrainer(endless, Scenes()).fit()
    with pytest.raises(TrainingError, match=r"The loss of batch 3 of 'val' is inf\."):
        Published(endless, Scenes(), ["error"]).validation_step(batch, 3)
    pipeline = make_pipeline(error={"execution_stages": ["train"]})
    StatisticalTrainer(pipeline, Scenes()).fit()
    trainer = Published(pipeline, Scenes(), ["error"])
    with pytest.raises(TrainRunError, match="No loss node runs in the stage 'test'"):
        trainer.test_step(batch, 0)
    pipeline.nodes["scores"].freeze()
    with pytest.raises(TrainRunError, match="No node of the pipeline has a parameter that can be trained"):
        trainer.configure_optimizers()


def test_weights_of_a_checkpoint_are_measured(
    make_pipeline: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a file, the best or the last one; those of now where none was kept, which is said."""
    pipeline = make_pipeline()
    StatisticalTrainer(pipeline, Scenes()).fit()
    weight = pipeline.nodes["scores"].linear.weight
    begin = weight.detach().clone()
    config = {"max_epochs": 2, "accelerator": "cpu", "enable_progress_bar": False}
    keeping = pl.callbacks.ModelCheckpoint(dirpath=tmp_path, monitor="val_loss", save_last=True)
    trainer = Published(pipeline, Scenes(), ["error"], trainer_config=config, callbacks=[keeping])
    with caplog.at_level(logging.INFO):
        trainer.test()
    assert "no 'best' checkpoint was kept" in caplog.text
    assert torch.equal(weight, begin)
    trainer.fit()
    for place, file in (("best", keeping.best_model_path), ("last", keeping.last_model_path)):
        kept = torch.load(file, weights_only=True)["state_dict"]["layers.scores.linear.weight"]
        for asked in (place, file, Path(file)):
            weight.data.fill_(9.0)
            trainer.validate(asked)
            assert torch.equal(weight, kept)
    weight.data.fill_(9.0)
    trainer.validate()
    assert bool((weight == 9).all())


def test_predictions_of_a_data_module(make_pipeline: Make) -> None:
    """Collected where that is asked for, as many batches as are wanted."""
    pipeline, module = make_pipeline(), Scenes()
    StatisticalTrainer(pipeline, module).fit()
    predictor = Predictor(pipeline, module)
    assert predictor.predict() is None
    (collected,) = predictor.predict(collect_outputs=True)  # type: ignore[misc]
    assert collected["scores", "scores"].shape == (2, 4, 5)
    assert predictor.predict(max_batches=0, collect_outputs=True) == []
    (single,) = predictor.predict(collect_ports=["scores.scores"], stage="val")  # type: ignore[misc]
    assert list(single) == [("scores", "scores")]
