"""One training by gradient, run by Lightning: its `Trainer`, the callbacks, and the order of the data.

Importing this module imports torch and Lightning.
"""

from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.environments import LightningEnvironment  # type: ignore[attr-defined]  # not exported

from cuvis_ai_core.data.dataset_batches import AnyBatches
from cuvis_ai_core.errors import TrainRunError
from cuvis_ai_core.training.balanced_sampling import balanced_chances
from cuvis_ai_core.training.best_checkpoints import Best
from cuvis_ai_core.training.early_stopping import early_stopping
from cuvis_ai_core.training.epoch_history import Recorder
from cuvis_ai_core.training.epochs import Epochs, Reading
from cuvis_ai_core.training.lightning_module import PipelineModule
from cuvis_ai_core.training.monitored_metric import check_monitors
from cuvis_ai_core.training.reported_metrics import Monitors, Pooled
from cuvis_ai_core.training.resume_checkpoint import refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from cuvis_ai_core.training.gradient_trainer import GradientTrainer
    from cuvis_ai_core.training.metrics_csv import Row


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
        self._recorder = Recorder(folder, observer)
        checkpoint = self._config.callbacks.checkpoint
        self._best = Best(folder or temporary, checkpoint) if checkpoint else None
        stopping = [early_stopping(each) for each in self._config.callbacks.early_stopping]
        self._lightning = pl.Trainer(
            callbacks=[
                *(Pooled(self._config), Monitors(self._config), *stopping),
                *([self._best] if self._best else []),
                self._recorder,
            ],
            default_root_dir=temporary,
            devices=1
            if trainer.pipeline.device in {"cpu", "mps"}
            else [torch.device(trainer.pipeline.device).index or 0],
            # One process, whatever a scheduler of clusters says of the job in the environment: of several tasks
            # Lightning would want a process each, and have the job begin anew at a signal.
            plugins=[LightningEnvironment()],
            accelerator="gpu" if trainer.pipeline.device.startswith("cuda") else trainer.pipeline.device,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            # Tensors of inference mode stay so: nodes that keep one could not be trained with it in the next epoch.
            inference_mode=False,
            num_sanity_val_steps=self._config.num_sanity_val_steps or 0,
            **_arguments(trainer),
        )

    @property
    def history(self) -> "list[Row]":
        """What each epoch came to."""
        return self._recorder.history

    @property
    def epochs_trained(self) -> int:
        """How many epochs were trained, also one whose validation failed."""
        return self._module.epochs_trained

    @property
    def epoch(self) -> int:
        """The number of the epoch that is under way, from 0."""
        return self._lightning.current_epoch

    def run(self, train: AnyBatches, val: AnyBatches | None, reading: Reading, *, shuffle: bool) -> None:
        """Train from the beginning, or from where an earlier training was interrupted."""
        resume = self._recorder.file
        path = str(resume) if resume is not None and resume.is_file() else None
        order = self._order(train, reading, shuffle=shuffle)
        held_out = Epochs(val, None, lambda: 0, readers=reading.num_workers) if val is not None and len(val) else None
        every = self._config.check_val_every_n_epoch or 1
        validates = held_out is not None and every <= self._config.max_epochs
        check_monitors(self._config, self._trainer.measuring, validates=validates)
        self._module.watch(train, val)
        try:
            # Said by us: torch and Lightning have defaults, which variables of the environment and versions change.
            # weights_only: a checkpoint in a folder of results may be somebody else's.
            self._lightning.fit(self._module, order, held_out, ckpt_path=path, weights_only=True)
        except UnpicklingError as error:
            raise refused(str(path)) from error
        except SystemExit as error:  # how Lightning ends after Ctrl-C
            raise KeyboardInterrupt from error

    def restore_best(self) -> None:
        """Give the pipeline the state of the best epoch, where one is looked for.

        Raises:
            TrainingError: There is no best epoch, or its checkpoint cannot be read.
        """
        state = self._best.best_state() if self._best else None
        if state is not None:
            self._module.load_state_dict(state)

    def _order(self, train: AnyBatches, reading: Reading, *, shuffle: bool) -> Epochs:
        balanced = reading.sampling == "balanced"
        order = Epochs(
            train,
            self._config.seed if shuffle or balanced else None,
            lambda: self.epoch,
            drop_last=reading.drop_last,
            chances=balanced_chances(train, self._trainer.measuring.ignore_label) if balanced else None,
            readers=reading.num_workers,
        )
        if not len(order):
            raise TrainRunError(
                f"data.drop_last leaves nothing to train on: {len(train.numbers)} cubes do not fill a batch of "
                f"{train.size}.",
                hint="Lower data.batch_size, or leave data.drop_last away.",
                key="data.drop_last",
            )
        return order


def _arguments(trainer: "GradientTrainer") -> dict[str, Any]:
    names = {"max_epochs", "precision", "accumulate_grad_batches", "gradient_clip_val", "check_val_every_n_epoch"}
    names |= {"val_check_interval", "limit_train_batches", "limit_val_batches", "log_every_n_steps"}
    names |= {"deterministic", "benchmark"}
    given = trainer.config.model_dump(include=names)
    return {name: value for name, value in given.items() if value is not None}
