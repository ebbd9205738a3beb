"""The published trainers, on data modules of Lightning."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("pytorch_lightning")

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from cuvis_ai_core import Pipeline
from cuvis_ai_core.errors import TrainRunError
from cuvis_ai_core.training import GradientTrainer, Predictor, StatisticalTrainer
from cuvis_ai_core.training import config as training_config
from cuvis_ai_core.training.config import OptimizerConfig, SchedulerConfig, TrainingConfig
from cuvis_ai_core.training.datamodule import CuvisDataModule
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
    """By the outputs for each batch, nodes for that stage among them."""
    trainer = StatisticalTrainer(make_pipeline(), Scenes())
    trainer.fit()
    (outputs,) = trainer.validate()
    assert outputs["accuracy", "metrics"][0].stage.value == "val"
    assert trainer.test()[0]["accuracy", "metrics"][0].stage.value == "test"


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
