"""What watches a training that Lightning drives: monitors, the best epoch, what each epoch came to.

Importing this module imports torch and Lightning.
"""

import copy
import logging
import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any, Final

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint, EarlyStopping, ModelCheckpoint

from cuvis_ai_core.errors import CuvisError, TrainingError, TrainRunError
from cuvis_ai_core.training.config import CheckpointConfig, EarlyStoppingConfig, TrainingConfig
from cuvis_ai_core.training.monitored_metric import LOSSES, TRAIN, direction, unknown_monitor, watched_metrics
from cuvis_ai_core.training.resume_checkpoint import RESUME, put_checkpoint, refused

if TYPE_CHECKING:
    from cuvis_ai_core.training.metrics_files import Row

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_SAVES: Final = 5.0
"""How much of a training a kill may cost; an epoch is lost at least."""

_CHECKPOINTS: Final = "checkpoints"


class Monitors(pl.Callback):
    """Asks back when a callback watches what nobody reports."""

    def __init__(self, config: TrainingConfig) -> None:
        self._watched = watched_metrics(config)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Check what validation reports."""
        if not trainer.sanity_checking:
            self._check(trainer, of_training=False)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Check what the epoch reports."""
        self._check(trainer, of_training=True)

    def _check(self, trainer: pl.Trainer, *, of_training: bool) -> None:
        known = sorted(trainer.callback_metrics)
        for monitor, key in self._watched.items():
            if monitor.startswith("train") == of_training and monitor not in known:
                raise unknown_monitor(monitor, key, known)


def early_stopping(config: EarlyStoppingConfig) -> EarlyStopping:
    """Return the callback that stops early; a value that is not a number is no better than the best so far."""
    mode = direction(config.monitor, config.mode)
    # Lightning would end the training at the first NaN of what it watches; the guards of ours say where it comes from.
    return EarlyStopping(**{**config.model_dump(), "mode": mode, "check_finite": False})


class Best(ModelCheckpoint):
    """Keeps the best epochs, counted from 1; an epoch whose value is not a number is not one of them.

    Args:
        folder: Where.
        config: Which.
    """

    def __init__(self, folder: Path, config: CheckpointConfig) -> None:
        arguments = config.model_dump(exclude={"dirpath", "mode"})
        if config.filename is None:
            arguments |= {"filename": "epoch-{epoch:04d}", "auto_insert_metric_name": False}
        elif "/" in config.filename:  # of a metric: Lightning would make a folder of its node
            arguments |= {"auto_insert_metric_name": False}
        mode = direction(config.monitor, config.mode) if config.monitor else "min"
        super().__init__(dirpath=folder / (config.dirpath or _CHECKPOINTS), mode=mode, **arguments)
        self._unwritten: dict[str, Mapping[str, Any]] = {}

    def format_checkpoint_name(self, *arguments: Any, **options: Any) -> str:
        """Return the path of a checkpoint, which is below the folder whatever the name of a metric makes of it.

        Raises:
            TrainRunError: It is not.
        """
        path = super().format_checkpoint_name(*arguments, **options)
        folder = Path(str(self.dirpath)).absolute()
        name = Path(path) if Path(path).is_absolute() else folder / path
        # The template is formatted with names of metrics, which are a plugin's: `{a/../../b}` would lead out.
        if os.path.normpath(name.parent) != os.path.normpath(folder) or "\0" in path:
            raise TrainRunError(
                f"training.callbacks.checkpoint.filename makes '{path}', which is no file in '{folder}'.",
                hint="It is the name of a file, as in best-{epoch:03d}.",
                key="training.callbacks.checkpoint.filename",
            )
        return path

    def check_monitor_top_k(self, trainer: pl.Trainer, current: torch.Tensor | None = None) -> bool:
        """Tell whether this epoch is one of the best."""
        if current is not None and not torch.isfinite(current):
            logger.warning(
                "epoch %d is no candidate for the best: %s is %s",
                trainer.current_epoch + 1,
                self.monitor,
                float(current),
            )
            return False
        return super().check_monitor_top_k(trainer, current)

    def _save_checkpoint(self, trainer: pl.Trainer, filepath: str) -> None:
        try:
            super()._save_checkpoint(trainer, filepath)
        # A training of hours must not end because one checkpoint found no room.
        except (OSError, RuntimeError, CuvisError) as error:  # torch has no type of its own for a full disk
            logger.warning(
                "the checkpoint of epoch %d cannot be written and is kept in memory: %s",
                trainer.current_epoch + 1,
                error,
            )
            module: Any = trainer.lightning_module
            # A copy: the next step writes into the same tensors.
            self._unwritten = {filepath: copy.deepcopy(module.plain_state())}

    def _monitor_candidates(self, trainer: pl.Trainer) -> dict[str, torch.Tensor]:
        # People count from 1, Lightning from 0: the file's name and the history must agree.
        return {**super()._monitor_candidates(trainer), "epoch": torch.tensor(trainer.current_epoch + 1)}

    def best_state(self) -> Mapping[str, Any] | None:
        """Return the state of the best epoch, or None where none is looked for.

        Raises:
            TrainingError: No epoch had a value, or the checkpoint cannot be read.
        """
        if not self.monitor:
            return None
        if not self.best_model_path:
            raise TrainingError(
                f"There is no best epoch: '{self.monitor}' was in no epoch a number.",
                hint="Monitor something else, or leave callbacks.checkpoint.monitor away.",
            )
        if self.best_model_path in self._unwritten:
            return self._unwritten[self.best_model_path]
        try:
            # By torch's rules for weights: in a folder of results anybody may have put another file.
            content = torch.load(self.best_model_path, map_location="cpu", weights_only=True)
        except UnpicklingError as error:
            raise refused(self.best_model_path) from error
        except Exception as error:
            raise TrainingError(
                f"The checkpoint of the best epoch, '{self.best_model_path}', cannot be read: {error}",
                hint="Train on without callbacks.checkpoint.monitor, or in another output_dir.",
            ) from error
        state: Mapping[str, Any] = content["state_dict"]
        return state


class Recorder(Checkpoint):
    """Remembers what each epoch came to, and saves now and then where to go on from.

    Args:
        folder: Where, if anywhere.
        observer: Told what each epoch came to.
    """

    def __init__(self, folder: Path | None, observer: "Callable[[Row], None] | None") -> None:
        self.history: list[Row] = []
        self.file = folder / RESUME if folder else None
        self._observer = observer
        self._rate = 0.0
        self._stopped = False
        self._saved = -SECONDS_BETWEEN_SAVES

    def state_dict(self) -> dict[str, Any]:
        """Return what goes into a checkpoint."""
        return {"history": self.history, "stopped": self._stopped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what a checkpoint holds."""
        self.history, self._stopped = state_dict["history"], state_dict["stopped"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop at once where the interrupted training had stopped early."""
        # A training that had stopped early and goes on would else train one more epoch.
        trainer.should_stop = self._stopped

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at the learning rate before a scheduler changes it."""
        self._rate = float(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Remember, tell and save."""
        # NaN is no JSON, and in a table it would look like a measure.
        values = {name: value for name, value in pl_module.values.items() if math.isfinite(value)}
        losses = {name: values.pop(name) for name in LOSSES if name in values}
        ours = sorted(values.items(), key=lambda item: item[0].startswith(TRAIN))
        row = {"epoch": trainer.current_epoch + 1, "lr": self._rate, **losses, **dict(ours)}
        self.history.append(row)
        self._stopped = trainer.should_stop
        if self._observer is not None:
            self._observer(row)
        # Not each epoch: a small model has many of them in a second.
        if self.file is not None and time.monotonic() - self._saved >= SECONDS_BETWEEN_SAVES:
            self._save(trainer, self.file)
            self._saved = time.monotonic()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save where nothing is left to do, so that no failure in what follows costs an epoch."""
        if self.file is not None and self.history:
            self._save(trainer, self.file)

    def _save(self, trainer: pl.Trainer, file: Path) -> None:
        try:
            put_checkpoint(file, trainer.save_checkpoint)
        except (OSError, RuntimeError, CuvisError) as error:
            logger.warning("where to go on from cannot be saved to '%s': %s", file, error)
