"""What Lightning drives: a pipeline as a `LightningModule`, and the callbacks of a training.

Importing this module imports torch and Lightning.
"""

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytorch_lightning as pl
import torch
from cuvis_ai_schemas.enums import ExecutionStage
from cuvis_ai_schemas.execution import Context
from pytorch_lightning.callbacks import Checkpoint, EarlyStopping, ModelCheckpoint

from cuvis_ai_core.data import Batches
from cuvis_ai_core.errors import TrainingError, TrainRunError
from cuvis_ai_core.pipeline.nearest import nearest
from cuvis_ai_core.training.evaluation import cubes_in
from cuvis_ai_core.training.modes import modules_of
from cuvis_ai_core.training.optimizers import make_optimizer, make_scheduler
from cuvis_ai_core.training.seeding import seed_everything
from cuvis_ai_core.training.steps import as_number

if TYPE_CHECKING:
    from cuvis_ai_core.training.gradient import GradientTrainer, Row

SECONDS_BETWEEN_SAVES: Final = 5.0
"""How much of a training a kill may cost; an epoch is lost at least."""

_RESUME: Final = "resume.ckpt"

_CHECKPOINTS: Final = "checkpoints"


class Fit:
    """One training.

    Args:
        trainer: What is trained, and how.
        temporary: A folder for what nobody keeps.
        folder: A folder for what outlives this process, if any.
        observer: Told what each epoch came to.
    """

    def __init__(
        self,
        trainer: "GradientTrainer",
        temporary: Path,
        folder: Path | None = None,
        observer: "Callable[[Row], None] | None" = None,
    ) -> None:
        self._trainer = trainer
        self._config = trainer.config
        self._module = PipelineModule(trainer)
        self._recorder = _Recorder(folder, observer)
        self._best = self._keep_best(folder or temporary)
        stopping = [EarlyStopping(**each.model_dump()) for each in self._config.callbacks.early_stopping]
        self._lightning = pl.Trainer(
            callbacks=[_Monitors(self._config), *stopping, *([self._best] if self._best else []), self._recorder],
            default_root_dir=temporary,
            devices=1
            if trainer.pipeline.device in {"cpu", "mps"}
            else [torch.device(trainer.pipeline.device).index or 0],
            accelerator="gpu" if trainer.pipeline.device.startswith("cuda") else trainer.pipeline.device,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            inference_mode=False,
            num_sanity_val_steps=self._config.num_sanity_val_steps or 0,
            **_arguments(trainer),
        )

    @property
    def history(self) -> "list[Row]":
        """What each epoch came to."""
        return self._recorder.history

    @property
    def epoch(self) -> int:
        """The number of the epoch that is under way, from 0."""
        return self._lightning.current_epoch

    def run(self, train: Batches, val: Batches | None, *, shuffle: bool) -> None:
        """Train from the beginning, or from where an earlier training was interrupted."""
        resume = self._recorder.file
        path = str(resume) if resume is not None and resume.is_file() else None
        order = _Epochs(train, self._config.seed if shuffle else None, lambda: self.epoch)
        held_out = _Epochs(val, None, lambda: 0) if val is not None and len(val) else None
        try:
            self._lightning.fit(self._module, order, held_out, ckpt_path=path)
        except SystemExit as error:  # how Lightning ends after Ctrl-C
            raise KeyboardInterrupt from error

    def restore_best(self) -> None:
        """Give the pipeline the state of the best epoch, where one is looked for."""
        if self._best is not None and self._best.monitor and self._best.best_model_path:
            content = torch.load(self._best.best_model_path, map_location="cpu", weights_only=True)
            self._module.load_state_dict(content["state_dict"])

    def _keep_best(self, folder: Path) -> ModelCheckpoint | None:
        config = self._config.callbacks.checkpoint
        if config is None:
            return None
        arguments = config.model_dump(exclude={"dirpath"})
        if config.filename is None:
            arguments |= {"filename": "epoch-{epoch:04d}", "auto_insert_metric_name": False}
        return ModelCheckpoint(dirpath=folder / (config.dirpath or _CHECKPOINTS), **arguments)


def _arguments(trainer: "GradientTrainer") -> dict[str, Any]:
    names = {"max_epochs", "precision", "accumulate_grad_batches", "gradient_clip_val", "check_val_every_n_epoch"}
    names |= {"val_check_interval", "limit_train_batches", "limit_val_batches", "log_every_n_steps"}
    names |= {"deterministic", "benchmark"}
    given = trainer.config.model_dump(include=names)
    return {name: value for name, value in given.items() if value is not None}


class PipelineModule(pl.LightningModule):
    """A pipeline as Lightning takes it.

    Args:
        trainer: What is trained, and how.
    """

    def __init__(self, trainer: "GradientTrainer") -> None:
        super().__init__()
        self._own = trainer  # a plain attribute: it is no module
        self.nodes = torch.nn.ModuleList(modules_of(trainer.pipeline))

    def on_train_epoch_start(self) -> None:
        """Give the epoch its random numbers, and have nodes behave as in training, but for frozen ones."""
        seed_everything(self._own.config.seed, self.current_epoch)
        for node in self.nodes:
            node.train(not getattr(node, "frozen", False))

    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> Any:  # noqa: ANN401 - a tensor
        """Run a batch and return the sum of the losses."""
        measured = self._own.measuring.measure(batch, self._context(ExecutionStage.TRAIN, batch_idx))
        if measured.loss is None:
            raise TrainRunError(
                "No loss node runs in the stage 'train'.", hint="Look at their execution_stages.", key="loss_nodes"
            )
        loss = as_number(measured.loss)
        _check_finite(loss, f"epoch {self.current_epoch}, batch {batch_idx}")
        self._record({"train_loss": loss, **{f"train/{name}": each for name, each in measured.values.items()}}, batch)
        return measured.loss

    def validation_step(self, batch: Mapping[str, Any], batch_idx: int) -> None:
        """Run a batch for its losses and metrics."""
        measured = self._own.measuring.measure(batch, self._context(ExecutionStage.VAL, batch_idx))
        loss = {} if measured.loss is None else {"val_loss": as_number(measured.loss)}
        self._record({**loss, **measured.values}, batch)

    def configure_optimizers(self) -> Any:  # noqa: ANN401 - Lightning's type is a union of ten
        """Return the optimizer and the scheduler of the configuration."""
        config = self._own.config
        optimizer = make_optimizer(config.optimizer, self._own.parameters)
        if config.scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": make_scheduler(config.scheduler, optimizer, config.max_epochs)}

    def state_dict(self, *_arguments: Any, **_options: Any) -> dict[str, Any]:  # type: ignore[override] # noqa: ANN401
        """Return the state of all nodes; a node's own `state_dict` may take no arguments."""
        state = self._own.pipeline.state_dict()
        return {f"{node}.{key}": _tensor(value) for node, values in state.items() for key, value in values.items()}

    def load_state_dict(self, state_dict: Mapping[str, Any], *_arguments: Any, **_options: Any) -> None:  # noqa: ANN401
        """Take over what `state_dict` returned."""
        state: dict[str, dict[str, Any]] = {}
        for name, value in state_dict.items():
            node, _, key = name.partition(".")
            state.setdefault(node, {})[key] = value
        self._own.pipeline.load_state_dict(state)

    def _context(self, stage: ExecutionStage, number: int) -> Context:
        return Context(stage=stage, epoch=self.current_epoch, batch_idx=number, global_step=self.global_step)

    def _record(self, values: Mapping[str, float], batch: Mapping[str, Any]) -> None:
        for name, value in values.items():
            self.log(name, value, on_step=False, on_epoch=True, batch_size=cubes_in(batch))


def _tensor(value: Any) -> Any:  # noqa: ANN401 - what nodes keep
    return torch.from_numpy(np.array(value)) if isinstance(value, np.ndarray | np.generic) else value


class _Epochs:
    """Batches in the order of the epoch; a single batch is read once and kept."""

    def __init__(self, batches: Batches, seed: int | None, epoch: Callable[[], int]) -> None:
        self._batches = batches
        self._seed = seed
        self._epoch = epoch
        self._only: list[Any] = []

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Any]:
        # A generator: Lightning asks for it before a training that goes on knows its epoch, and reads from it after.
        if len(self) == 1:
            self._only = self._only or list(self._batches)
            yield from self._only
        elif self._seed is None:
            yield from self._batches
        else:
            random = np.random.default_rng([self._seed, self._epoch()])
            numbers = random.permutation(np.asarray(self._batches.numbers))
            yield from replace(self._batches, numbers=numbers.tolist())


class _Monitors(pl.Callback):
    """Asks back when a callback watches what nobody reports."""

    def __init__(self, config: Any) -> None:  # noqa: ANN401
        watched = [each.monitor for each in config.callbacks.early_stopping]
        watched += [config.callbacks.checkpoint.monitor] if config.callbacks.checkpoint else []
        watched += [config.scheduler.monitor] if config.scheduler else []
        self._watched = [each for each in watched if each]

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Check what validation reports."""
        if not trainer.sanity_checking:
            self._check(trainer, [each for each in self._watched if not each.startswith("train")])

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Check what the epoch reports."""
        self._check(trainer, self._watched)

    def _check(self, trainer: pl.Trainer, watched: list[str]) -> None:
        known = sorted(trainer.callback_metrics)
        for monitor in watched:
            if monitor not in known:
                raise TrainRunError(
                    f"training: nothing is reported as '{monitor}', which is to be monitored.{nearest(monitor, known)}",
                    hint=f"Reported are: {', '.join(known)}.",
                    key="training.callbacks",
                )


class _Recorder(Checkpoint):
    """Remembers what each epoch came to, and saves now and then where to go on from."""

    def __init__(self, folder: Path | None, observer: "Callable[[Row], None] | None") -> None:
        self.history: list[Row] = []
        self.file = folder / _RESUME if folder else None
        self._observer = observer
        self._rate = 0.0
        self._validated = False
        self._stopped = False
        self._saved = -SECONDS_BETWEEN_SAVES

    def state_dict(self) -> dict[str, Any]:
        """Return what goes into a checkpoint."""
        return {"history": self.history, "stopped": self._stopped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what a checkpoint holds."""
        self.history, self._stopped = state_dict["history"], state_dict["stopped"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Stop at once where the interrupted training had stopped early."""
        trainer.should_stop = self._stopped

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Look at the learning rate before a scheduler changes it."""
        self._validated = False
        self._rate = float(trainer.optimizers[0].param_groups[0]["lr"])

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Note that this epoch is validated: Lightning keeps the values of the last one that was."""
        self._validated = True

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Remember, tell and save."""
        known = trainer.callback_metrics.items()
        values = {name: float(value) for name, value in known if self._validated or name.startswith("train")}
        losses = {name: values.pop(name) for name in ("train_loss", "val_loss") if name in values}
        row = {"epoch": trainer.current_epoch, "lr": self._rate, **losses, **values}
        self.history.append(row)
        self._stopped = trainer.should_stop
        if self._observer is not None:
            self._observer(row)
        if self.file is not None and time.monotonic() - self._saved >= SECONDS_BETWEEN_SAVES:
            self._save(trainer, self.file)
            self._saved = time.monotonic()

    def _save(self, trainer: pl.Trainer, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_suffix(".tmp")
        trainer.save_checkpoint(temporary)
        os.replace(temporary, file)  # noqa: PTH105 - whole or not at all


def _check_finite(value: float, where: str) -> None:
    """Check that a loss is a number.

    Raises:
        TrainingError: It is not finite.
    """
    if not math.isfinite(value):
        raise TrainingError(
            f"The loss is {value} in {where}.",
            hint="Lower training.optimizer.lr, set training.gradient_clip_val, or look for NaN in the data.",
        )
