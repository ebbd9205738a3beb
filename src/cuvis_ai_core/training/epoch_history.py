"""What each epoch of a training came to, and where an interrupted one goes on from.

Importing this module imports torch and Lightning.
"""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint

from cuvis_ai_core.errors import CuvisError
from cuvis_ai_core.training.metrics_csv import Row, epoch_row
from cuvis_ai_core.training.resume_checkpoint import RESUME, put_checkpoint

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_SAVES: Final = 5.0
"""How much of a training a kill may cost; an epoch is lost at least."""


class Recorder(Checkpoint):
    """Remembers what each epoch came to, and saves now and then where to go on from.

    Args:
        folder: Where, if anywhere.
        observer: Told what each epoch came to.
    """

    def __init__(self, folder: Path | None, observer: Callable[[Row], None] | None) -> None:
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
        row = epoch_row(trainer.current_epoch + 1, self._rate, pl_module.values)
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
