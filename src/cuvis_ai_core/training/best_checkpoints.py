"""Checkpoints of the best epochs: which they are, where they lie, and what one of them holds.

Importing this module imports torch and Lightning.
"""

import copy
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Final

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from cuvis_ai_core.errors import CuvisError, TrainingError, TrainRunError
from cuvis_ai_core.pipeline.weights.plain_values import decode
from cuvis_ai_core.pipeline.weights.torch_file import for_torch
from cuvis_ai_core.training.config import CheckpointConfig
from cuvis_ai_core.training.monitored_metric import direction
from cuvis_ai_core.training.resume_checkpoint import refused

logger = logging.getLogger(__name__)

_CHECKPOINTS: Final = "checkpoints"


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
        self._best_step: int | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return what goes into a checkpoint: which epoch is the best, and its weights where they found no room."""
        unwritten = {path: _encoded(state) for path, state in self._unwritten.items()}
        return {**super().state_dict(), "best_step": self._best_step, "unwritten": unwritten}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what a checkpoint holds."""
        super().load_state_dict(state_dict)
        self._best_step = state_dict.get("best_step")
        self._unwritten = {path: decode(state) for path, state in state_dict.get("unwritten", {}).items()}

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

    def file_exists(self, filepath: str | Path, trainer: pl.Trainer) -> bool:
        """Tell whether a name is taken, also by an epoch that found no room and is kept in memory."""
        return str(filepath) in self._unwritten or super().file_exists(filepath, trainer)

    def _save_checkpoint(self, trainer: pl.Trainer, filepath: str) -> None:
        if trainer.interrupted and filepath in self.best_k_models:
            # With `save_on_exception`, for which Lightning counts no names: half an epoch is none of the best.
            filepath = str(Path(filepath).with_stem(f"{Path(filepath).stem}-interrupted"))
        is_best = filepath == self.best_model_path
        if is_best:
            # Before a checkpoint is written, which says so; and also where the name is the same: what is in memory is
            # another epoch.
            self._best_step, self._unwritten = trainer.global_step, {}
        try:
            super()._save_checkpoint(trainer, filepath)
        # A training of hours must not end because one checkpoint found no room.
        except (OSError, RuntimeError, CuvisError) as error:  # torch has no type of its own for a full disk
            kept = " and is kept in memory" if is_best else ""
            logger.warning("the checkpoint of epoch %d cannot be written%s: %s", trainer.current_epoch + 1, kept, error)
            # Not the last one, or the second best: it would take the place of what the training ends with.
            if is_best:
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
            # What has this name is another epoch, which would pass for the best one among the results.
            Path(self.best_model_path).unlink(missing_ok=True)
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
        # Epochs may share the name of a file, and whoever was killed goes on from before the last one was written.
        if self._best_step is not None and content["global_step"] != self._best_step:
            raise TrainingError(
                f"The checkpoint of the best epoch, '{self.best_model_path}', is of another one: it was written after "
                f"step {content['global_step']}, the best epoch ended with step {self._best_step}.",
                hint="Train on without callbacks.checkpoint.monitor, or in another output_dir; without a "
                "callbacks.checkpoint.filename each epoch has a file of its own.",
            )
        state: Mapping[str, Any] = content["state_dict"]
        return state


def _encoded(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state of all nodes as a checkpoint holds it."""
    encoded: dict[str, Any] = {}
    for name, value in state.items():
        # At the first dot: names of nodes have none, keys of states do.
        node, _, key = name.partition(".")
        encoded[name] = for_torch(node, key, value)
    return encoded
