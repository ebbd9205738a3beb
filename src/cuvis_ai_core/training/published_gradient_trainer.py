"""The published trainer by gradient, a `LightningModule` that takes a data module of Lightning.

`cuvis_ai_core.training.GradientTrainer`, which trains on `Batches`, becomes it where it is given a data module.
Importing this module imports torch and Lightning.
"""

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cuvis_ai_schemas.enums import ExecutionStage
from cuvis_ai_schemas.execution import Context, Metric

from cuvis_ai_core.errors import MissingExtraError, PipelineError, TrainingError, TrainRunError
from cuvis_ai_core.pipeline.weights.torch_file import epoch_of_checkpoint, read_checkpoint
from cuvis_ai_core.training.batch_step import Measured, pixels_in
from cuvis_ai_core.training.config import CheckpointConfig
from cuvis_ai_core.training.evaluation_mode import modules_of, undisturbed
from cuvis_ai_core.training.metric_pooling import Pool
from cuvis_ai_core.training.monitored_metric import direction
from cuvis_ai_core.training.named_nodes import names_of
from cuvis_ai_core.training.optimizers import make_optimizer, make_scheduler
from cuvis_ai_core.training.post_fit import CheckpointRestored
from cuvis_ai_core.training.published_training_config import training_config as merged_config

try:
    import pytorch_lightning as pl
    import torch

    from cuvis_ai_core.training.early_stopping import early_stopping
except ModuleNotFoundError as missing:
    # Something that these need in turn is missing: that is another mistake than an extra.
    if missing.name not in {"torch", "pytorch_lightning"}:
        raise
    raise MissingExtraError(
        f"Training by gradient needs the package '{missing.name}', which is not installed.",
        hint="Install the extra: pip install 'cuvis-ai-core[train]'",
        extra="train",
    ) from missing

if TYPE_CHECKING:
    from cuvis_ai_core.pipeline.pipeline import Pipeline

logger = logging.getLogger(__name__)

_OF_LIGHTNING = (
    *("max_epochs", "accelerator", "precision", "accumulate_grad_batches", "gradient_clip_val", "default_root_dir"),
    *("check_val_every_n_epoch", "val_check_interval", "limit_train_batches", "limit_val_batches", "benchmark"),
    *("num_sanity_val_steps", "log_every_n_steps", "deterministic", "enable_progress_bar", "enable_checkpointing"),
)


class GradientTrainer(pl.LightningModule):
    """Trains the torch nodes of a pipeline on a data module; the loss is the sum of all outputs of the loss nodes.

    From then on nothing can be connected to the pipeline, until its `unfreeze_structure` or `close`.

    Args:
        pipeline: The pipeline.
        datamodule: Its batches are mappings of port names to tensors.
        loss_nodes: The nodes, or their names.
        metric_nodes: Nodes whose metrics are logged, as `<node>/<metric>`; or their names. Those of a mapping are
            of all batches of an epoch together.
        trainer_config: Arguments of Lightning's `Trainer`; or a whole flat configuration.
        optimizer_config: Name and arguments of the optimizer.
        scheduler_config: Name and arguments of the scheduler.
        monitors: Nodes that show what happens; they run as all nodes do.
        callbacks: Callbacks of Lightning, beside those of the configuration.
        training_config: A whole flat configuration, as newer software gives it instead of the three.

    Raises:
        TrainRunError: There is no such node, no loss, or a value of a configuration breaks a rule.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the published order
        self,
        pipeline: "Pipeline",
        datamodule: "pl.LightningDataModule",
        loss_nodes: Sequence[Any],
        metric_nodes: Sequence[Any] | None = None,
        trainer_config: Any = None,
        optimizer_config: Any = None,
        scheduler_config: Any = None,
        monitors: Sequence[Any] | None = None,
        callbacks: Sequence[pl.Callback] | None = None,
        *,
        training_config: Any = None,
    ) -> None:
        super().__init__()
        self.pipeline = pipeline
        self.datamodule = datamodule
        self.config = merged_config(trainer_config, optimizer_config, scheduler_config, training_config)
        self.loss_nodes = names_of(pipeline, loss_nodes, "loss_nodes")
        self.metric_nodes = names_of(pipeline, metric_nodes or (), "metric_nodes")
        self.monitors = list(monitors or ())
        self.layers = torch.nn.ModuleDict({name: pipeline.nodes[name] for name in _modules(pipeline)})
        self._callbacks = [*(callbacks or ()), *self._configured()]
        self._lightning: pl.Trainer | None = None
        self._pools: dict[ExecutionStage, Pool] = {}
        if not self.loss_nodes:
            raise TrainRunError(
                "loss_nodes: no node is named whose outputs are the loss.", hint="Name one.", key="loss_nodes"
            )
        # `layers` was taken now: what joins later would be left out of the optimizer and of checkpoints.
        pipeline.freeze_structure(type(self).__name__)

    def __deepcopy__(self, memo: dict[int, Any]) -> "GradientTrainer":
        # Callbacks that average weights copy the module: its nodes, and neither the data nor the trainer.
        memo |= {id(each): each for each in (self.datamodule, self.monitors, self._callbacks, self._lightning)}
        other = memo[id(self)] = type(self).__new__(type(self))
        vars(other).update(deepcopy(self.__getstate__(), memo))
        return other

    def fit(self) -> None:
        """Train.

        Raises:
            TrainingError: A loss is not a number.
            TrainRunError: There is nothing to train, or nothing to train on.
        """
        with undisturbed(self.pipeline):
            trainer = self._trainer_of_lightning()
            trainer.fit(self, datamodule=self.datamodule)
        # Lightning says so by a warning, and goes on. A callback may stop before the first batch.
        if not trainer.global_step and not trainer.should_stop:
            raise TrainRunError(
                f"{type(self.datamodule).__name__} gave no batch to train on: the weights are as they were.",
                hint="Look at its train_dataloader().",
                key="data",
            )

    def validate(self, ckpt_path: str | Path | None = None) -> list[Mapping[str, float]]:
        """Return losses and metrics of validation.

        Args:
            ckpt_path: Whose weights are taken first: a file, `best` or `last`; by default those of now.

        Raises:
            PipelineError: It cannot be read by torch's rules for weights.
        """
        self._take(ckpt_path)
        with undisturbed(self.pipeline):
            return self._trainer_of_lightning().validate(self, datamodule=self.datamodule, verbose=False)

    def test(self, ckpt_path: str | Path | None = "best") -> list[Mapping[str, float]]:
        """Return losses and metrics of the test.

        Args:
            ckpt_path: As for `validate`; where no best checkpoint was kept, the weights stay.

        Raises:
            PipelineError: It cannot be read by torch's rules for weights.
        """
        self._take(ckpt_path)
        with undisturbed(self.pipeline):
            return self._trainer_of_lightning().test(self, datamodule=self.datamodule, verbose=False)

    def load_best_checkpoint(self) -> CheckpointRestored:
        """Give the nodes the weights of the best checkpoint of this training; where it cannot be taken, they stay.

        Returns:
            What became of it, and why the weights stayed.
        """
        kept: Any = getattr(self._lightning, "checkpoint_callback", None)
        if kept is None:
            return CheckpointRestored(restored=False, reason="no checkpoints were kept")
        path = str(getattr(kept, "best_model_path", ""))
        if not path or not Path(path).is_file():
            return CheckpointRestored(restored=False, reason="no checkpoint was written, or it is not there any more")
        try:
            self._take(path)
        except PipelineError as error:
            return CheckpointRestored(restored=False, path=path, reason=error.message)
        score = getattr(kept, "best_model_score", None)
        return CheckpointRestored(
            restored=True,
            path=path,
            epoch=epoch_of_checkpoint(Path(path)),
            monitor=getattr(kept, "monitor", None) or "",
            score=None if score is None else float(score),
        )

    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> torch.Tensor:
        """Run a batch and return its loss."""
        return self._step(batch, batch_idx, ExecutionStage.TRAIN)

    def validation_step(self, batch: Mapping[str, Any], batch_idx: int) -> torch.Tensor:
        """Run a batch of validation."""
        return self._step(batch, batch_idx, ExecutionStage.VAL)

    def test_step(self, batch: Mapping[str, Any], batch_idx: int) -> torch.Tensor:
        """Run a batch of the test."""
        return self._step(batch, batch_idx, ExecutionStage.TEST)

    def on_train_epoch_end(self) -> None:
        """Report the metrics that are of all batches together."""
        self._log_pooled(ExecutionStage.TRAIN)

    def on_validation_epoch_end(self) -> None:
        """Report the metrics that are of all batches together."""
        self._log_pooled(ExecutionStage.VAL)

    def on_test_epoch_end(self) -> None:
        """Report the metrics that are of all batches together."""
        self._log_pooled(ExecutionStage.TEST)

    def on_train_epoch_start(self) -> None:
        """Have frozen nodes behave as they are used: Lightning puts all into training."""
        for node in self.layers.values():
            node.train(not getattr(node, "frozen", False))

    def configure_optimizers(self) -> Any:
        """Return the optimizer and the scheduler of the configuration.

        Raises:
            TrainRunError: There is nothing to train, or no such optimizer or scheduler.
        """
        parameters = [each for each in self.layers.parameters() if each.requires_grad]
        if not parameters:
            raise TrainRunError(
                "No node of the pipeline has a parameter that can be trained.",
                hint="pipeline.unfreeze_nodes_by_name([...]) makes TRAINABLE_BUFFERS parameters.",
                key="unfreeze_nodes",
            )
        optimizer = make_optimizer(self.config.optimizer, parameters)
        if self.config.scheduler is None:
            return optimizer
        every = self.config.check_val_every_n_epoch
        scheduler = make_scheduler(self.config.scheduler, optimizer, self.config.max_epochs, every)
        return {"optimizer": optimizer, "lr_scheduler": scheduler}

    def _step(self, batch: Mapping[str, Any], number: int, stage: ExecutionStage) -> torch.Tensor:
        context = Context(stage=stage, epoch=self.current_epoch, batch_idx=number, global_step=self.global_step)
        outputs = self.pipeline.forward(batch, context=context)
        found = {place: value for place, value in outputs.items() if place[0] in self.loss_nodes and value is not None}
        losses = list(found.values())
        if not losses:
            raise TrainRunError(
                f"No loss node runs in the stage '{stage.value}'.", hint="Look at execution_stages.", key="loss_nodes"
            )
        loss: torch.Tensor = torch.stack([torch.as_tensor(each).sum() for each in losses]).sum()
        if not math.isfinite(float(loss.detach())):
            raise TrainingError(
                f"The loss of batch {number} of '{stage.value}' is {float(loss.detach())}.",
                hint="Lower the learning rate, set gradient_clip_val, or look for NaN in the data.",
            )
        named: dict[str, Any] = {}
        for (node, _), value in found.items():
            name = f"{stage.value}/{node}"
            named[name] = named.get(name, 0) + torch.as_tensor(value).detach().sum()
        self._log({f"{stage.value}_loss": loss, **named, **dict(self._metrics(outputs, stage))}, batch)
        pooled = {node: value for (node, _), value in outputs.items() if node in self.metric_nodes}
        self._pool(stage, {node: value for node, value in pooled.items() if isinstance(value, Mapping)}, batch)
        return loss

    def _pool(self, stage: ExecutionStage, metrics: Mapping[str, Any], batch: Mapping[str, Any]) -> None:
        if self._trainer is not None and metrics:
            weights = dict.fromkeys(metrics, float(pixels_in(batch)))
            self._pools.setdefault(stage, Pool()).add(Measured({}, metrics, weights))

    def _log_pooled(self, stage: ExecutionStage) -> None:
        pool = self._pools.pop(stage, None)
        before = "train/" if stage is ExecutionStage.TRAIN else ""
        for name, value in pool.values().items() if pool is not None else ():
            self.log(f"{before}{name}", value)

    def _metrics(self, outputs: Mapping[tuple[str, str], Any], stage: ExecutionStage) -> Iterable[tuple[str, Any]]:
        before = "train/" if stage is ExecutionStage.TRAIN else ""
        for (node, _), value in outputs.items():
            if node in self.metric_nodes:
                for each in value if isinstance(value, list) else ():
                    if isinstance(each, Metric):
                        yield f"{before}{node}/{each.name}", float(each.value)

    def _log(self, values: Mapping[str, Any], batch: Mapping[str, Any]) -> None:
        if self._trainer is None:  # the step is called by a program, not by Lightning
            return
        size = next((len(each) for each in batch.values() if getattr(each, "ndim", 0)), 1)
        for name, value in values.items():
            self.log(name, value, on_step=False, on_epoch=True, batch_size=size)

    def _configured(self) -> list[pl.Callback]:
        found: list[pl.Callback] = [early_stopping(each) for each in self.config.callbacks.early_stopping]
        checkpoint = self.config.callbacks.checkpoint
        return found if checkpoint is None else [*found, _checkpoints(checkpoint)]

    def _trainer_of_lightning(self) -> pl.Trainer:
        if self._lightning is None:
            given = self.config.model_dump(include=set(_OF_LIGHTNING))
            given["enable_checkpointing"] = self._keeps_checkpoints()
            arguments = {name: value for name, value in given.items() if value is not None}
            devices = self.config.devices or "auto"
            self._lightning = pl.Trainer(
                callbacks=self._callbacks,
                logger=False,
                enable_model_summary=False,
                inference_mode=False,  # nodes such as metrics keep tensors from pass to pass, and write into them
                devices=devices,
                **arguments,
            )
        return self._lightning

    def _keeps_checkpoints(self) -> bool:
        named = any(isinstance(each, pl.callbacks.Checkpoint) for each in self._callbacks)
        return named or ("enable_checkpointing" in self.config.model_fields_set and self.config.enable_checkpointing)

    def _take(self, checkpoint: str | Path | None) -> None:
        """Take the weights of a checkpoint, read by torch's rules for weights alone."""
        if checkpoint is None:
            return
        kept = getattr(self._trainer_of_lightning(), "checkpoint_callback", None)
        places = {"best": getattr(kept, "best_model_path", ""), "last": getattr(kept, "last_model_path", "")}
        path = places.get(str(checkpoint), str(checkpoint))
        if not path:
            logger.info("no '%s' checkpoint was kept; the weights are those of now", checkpoint)
            return
        state = read_checkpoint(Path(path), self.pipeline.nodes.keys())
        try:
            self.pipeline.load_state_dict(state)
        except PipelineError as error:
            error.message = f"{path}: {error.message}"
            raise


def _checkpoints(config: CheckpointConfig) -> pl.Callback:
    from pytorch_lightning.callbacks import ModelCheckpoint

    arguments = config.model_dump(exclude={"mode", "dirpath"})
    mode = direction(config.monitor, config.mode) if config.monitor else "min"
    if config.filename and "/" in config.filename:  # of a metric: Lightning would make a folder of its node
        arguments["auto_insert_metric_name"] = False
    return ModelCheckpoint(dirpath=config.dirpath, mode=mode, **arguments)


def _modules(pipeline: "Pipeline") -> list[str]:
    modules = set(map(id, modules_of(pipeline)))
    return [name for name, node in pipeline.nodes.items() if id(node) in modules]
