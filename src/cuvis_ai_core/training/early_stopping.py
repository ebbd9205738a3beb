"""When a training stops early, and what it watches for that: a metric that somebody reports.

Importing this module imports torch and Lightning.
"""

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping

from cuvis_ai_core.training.config import EarlyStoppingConfig, TrainingConfig
from cuvis_ai_core.training.monitored_metric import direction, unknown_monitor, watched_metrics


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
