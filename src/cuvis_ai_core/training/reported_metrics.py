"""What Lightning is told of each pass over the data: losses and metrics; and whether what is watched is among them.

Importing this module imports torch and Lightning.
"""

import math
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl

from cuvis_ai_core.errors import TrainingError
from cuvis_ai_core.training.batch_step import LOSS
from cuvis_ai_core.training.config import TrainingConfig
from cuvis_ai_core.training.metric_pooling import Pool
from cuvis_ai_core.training.monitored_metric import TRAIN, unknown_monitor, watched_metrics


class Pooled(pl.Callback):
    """Reports what all batches of a pass come to together; the first of all callbacks."""

    def __init__(self, config: TrainingConfig) -> None:
        self._of_training = Pool()
        self._watched = [name for name in watched_metrics(config) if not name.startswith("train")]
        self._seen: list[str] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Begin a pass."""
        pl_module.pool, pl_module.values = pl_module.new_pool(), {}
        pl_module.has_learned = False

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Put the pass of training aside."""
        pl_module.pool.take_counts()  # nodes count on in the validation
        self._of_training, pl_module.pool = pl_module.pool, pl_module.new_pool()
        if not trainer.sanity_checking:
            pl_module.epochs_trained = trainer.current_epoch + 1

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Report the validation, and go on with the pass of training."""
        values = pl_module.pool.values(f"val_{LOSS}")
        # What nodes count in training after a validation within the epoch is of the part since.
        pl_module.begin_counts()
        pl_module.pool = self._of_training
        # What is missing now is not a number: Lightning would keep the values of an earlier epoch for it.
        self._seen = list(dict.fromkeys([*self._seen, *(values or self._watched)]))
        _report(pl_module, {**dict.fromkeys(self._seen, math.nan), **values})

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Report the training."""
        if not pl_module.pool:
            raise TrainingError(
                f"Nothing could be learned in epoch {trainer.current_epoch + 1}: no batch has a loss.",
                hint="Every pixel is without a label, or every batch was left out: look at the masks and the cubes.",
            )
        if not pl_module.has_learned:
            raise TrainingError(
                f"Nothing could be learned in epoch {trainer.current_epoch + 1}: every gradient was left out, since it "
                "is not a number.",
                hint="Look at the loss: its gradient has no value where it divides by 0 or takes the root of 0.",
            )
        pl_module.check_weights()
        loss = f"train_{LOSS}"
        values = pl_module.pool.values(loss)
        _report(pl_module, {name if name == loss else f"{TRAIN}{name}": value for name, value in values.items()})


def _report(module: Any, values: Mapping[str, float]) -> None:
    for name, value in values.items():
        module.values[name] = value
        # batch_size is said: Lightning guesses it from the batch, and weighs by it.
        module.log(name, value if math.isfinite(value) else math.nan, on_step=False, on_epoch=True, batch_size=1)


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
