"""What Lightning drives: a pipeline as a `LightningModule`, and the run of a training.

Importing this module imports torch and Lightning.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from cuvis_ai_schemas.enums import ExecutionStage
from cuvis_ai_schemas.execution import Context

from cuvis_ai_core.data.dataset_batches import AnyBatches
from cuvis_ai_core.errors import NodeRunError, TrainingError, TrainRunError
from cuvis_ai_core.pipeline.weights.plain_values import decode
from cuvis_ai_core.pipeline.weights.torch_file import for_torch
from cuvis_ai_core.training.balanced_sampling import balanced_chances
from cuvis_ai_core.training.batch_step import LOSS, Measured
from cuvis_ai_core.training.best_checkpoints import Best
from cuvis_ai_core.training.config import TrainingConfig
from cuvis_ai_core.training.early_stopping import Monitors, early_stopping
from cuvis_ai_core.training.epoch_history import Recorder
from cuvis_ai_core.training.epochs import Epochs, Reading
from cuvis_ai_core.training.evaluation import place_in
from cuvis_ai_core.training.evaluation_mode import modules_of
from cuvis_ai_core.training.metric_pooling import Pool
from cuvis_ai_core.training.monitored_metric import TRAIN, check_monitors, watched_metrics
from cuvis_ai_core.training.nan_guard import Guard, is_finite
from cuvis_ai_core.training.optimizers import make_optimizer, make_scheduler
from cuvis_ai_core.training.resume_checkpoint import refused
from cuvis_ai_core.training.seeding import seed_everything
from cuvis_ai_core.training.small_batches import too_few

if TYPE_CHECKING:
    from cuvis_ai_core.training.gradient_trainer import GradientTrainer
    from cuvis_ai_core.training.metrics_files import Row


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
                *(_Pooled(self._config), Monitors(self._config), *stopping),
                *([self._best] if self._best else []),
                self._recorder,
            ],
            default_root_dir=temporary,
            devices=1
            if trainer.pipeline.device in {"cpu", "mps"}
            else [torch.device(trainer.pipeline.device).index or 0],
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


class PipelineModule(pl.LightningModule):
    """A pipeline as Lightning takes it.

    Args:
        trainer: What is trained, and how.
    """

    def __init__(self, trainer: "GradientTrainer") -> None:
        super().__init__()
        self._own = trainer  # a plain attribute: it is no module
        self.nodes = torch.nn.ModuleList(modules_of(trainer.pipeline))
        self._several = len(trainer.measuring.loss_nodes) > 1
        self._batch: tuple[Mapping[str, Any], Context] | None = None
        self.values: dict[str, float] = {}
        self.has_learned = False
        """Whether there was a gradient in this epoch that changed weights."""
        self.epochs_trained = 0
        """Epochs that were trained, also one that is being validated yet."""
        self.pool = Pool()
        """What the batches of the pass that is under way came to: of training, or of validation within it."""

    def watch(self, train: AnyBatches, val: AnyBatches | None) -> None:
        """Have messages name the files of cubes."""
        places = {"train": place_in(train), "val": place_in(val)}
        self._guards = {
            stage: Guard(self._own.measuring, self._own.config.on_nan, place, in_epochs=True)
            for stage, place in places.items()
        }

    def new_pool(self) -> Pool:
        """Return a pool that has no batch yet."""
        self.begin_counts()
        return Pool(several=self._several)

    def begin_counts(self) -> None:
        """Have nodes that count over many batches begin anew."""
        self._own.measuring.begin()

    def on_train_epoch_start(self) -> None:
        """Give the epoch its random numbers, and have nodes behave as in training, but for frozen ones."""
        seed_everything(self._own.config.seed, self.current_epoch)
        for node in self.nodes:
            # A frozen batch normalisation in training mode would go on learning its means.
            node.train(not getattr(node, "frozen", False))

    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> Any:
        """Run a batch and return the sum of the losses, or None where the batch has nothing to learn from."""
        context = self._context(ExecutionStage.TRAIN, batch_idx)
        self._batch = batch, context
        measured = self._measure(batch, context)
        loss = None if measured is None else measured.loss
        if loss is not None and not isinstance(loss, torch.Tensor):
            raise TrainRunError(
                f"loss_nodes: the loss is an object of type {type(loss).__name__}, without a gradient: nothing "
                "could be learned from it.",
                hint="Return it as torch computed it, without float() or .item().",
                key="loss_nodes",
            )
        return loss

    def validation_step(self, batch: Mapping[str, Any], batch_idx: int) -> None:
        """Run a batch for its losses and metrics."""
        self._measure(batch, self._context(ExecutionStage.VAL, batch_idx))

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Refuse a gradient that is not a number, or leave its batch out."""
        if self._batch is None or str(self._own.config.precision).startswith("16"):
            self.has_learned = True
            return  # half precision has infinite gradients as a matter of course: its scaler leaves them out
        bad = _first(self._gradients())
        if bad is not None:
            self._guards["train"].leave_out(f"The gradient of {bad}", *self._batch)
            for parameter in self._own.parameters:
                # Without a gradient optimizers leave a parameter alone; zeros would still decay it, and move it by
                # momentum.
                parameter.grad = None
            return
        self.has_learned = True

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Step, but for a scheduler that would see a value that is not a number."""
        # ReduceLROnPlateau counts NaN as an epoch without progress, and lowers the rate for it.
        if metric is None or is_finite(torch.as_tensor(metric)):
            super().lr_scheduler_step(scheduler, metric)

    def check_weights(self) -> None:
        """Check at the end of an epoch that what was trained are numbers.

        Raises:
            TrainingError: A parameter, or a mean that a normalisation keeps, is not.
        """
        running = (
            (f"'{key}' of node '{name}'", value)
            for name, node in self._own.pipeline.nodes.items()
            for key, value in (node.named_buffers() if hasattr(node, "named_buffers") else ())
            # The names that torch's own normalisations have; other buffers may hold infinity by design.
            if "running_" in key
        )
        bad = _first([*self._named_parameters(), *running])
        if bad is not None:
            raise TrainingError(
                f"At the end of epoch {self.current_epoch + 1} {bad}.",
                hint="Lower training.optimizer.lr, set training.gradient_clip_val, or look for NaN in the data.",
            )

    def configure_optimizers(self) -> Any:
        """Return the optimizer and the scheduler of the configuration."""
        config = self._own.config
        optimizer = make_optimizer(config.optimizer, self._own.parameters)
        if config.scheduler is None:
            return optimizer
        every = config.check_val_every_n_epoch
        scheduler = make_scheduler(config.scheduler, optimizer, config.max_epochs, every)
        return {"optimizer": optimizer, "lr_scheduler": scheduler}

    def state_dict(self, *_arguments: Any, **_options: Any) -> dict[str, Any]:  # type: ignore[override]
        """Return the state of all nodes as a checkpoint holds it; a node's own `state_dict` may take no arguments."""
        state = self._own.pipeline.state_dict()
        return {
            f"{node}.{key}": for_torch(node, key, value)
            for node, values in state.items()
            for key, value in values.items()
        }

    def plain_state(self) -> dict[str, Any]:
        """Return the state of all nodes."""
        state = self._own.pipeline.state_dict()
        return {f"{node}.{key}": value for node, values in state.items() for key, value in values.items()}

    def load_state_dict(self, state_dict: Mapping[str, Any], *_arguments: Any, **_options: Any) -> None:
        """Take over what `state_dict` returned."""
        state: dict[str, dict[str, Any]] = {}
        for name, value in state_dict.items():
            # At the first dot: names of nodes have none, keys of states do.
            node, _, key = name.partition(".")
            state.setdefault(node, {})[key] = decode(value)
        self._own.pipeline.load_state_dict(state)

    def _context(self, stage: ExecutionStage, number: int) -> Context:
        return Context(stage=stage, epoch=self.current_epoch, batch_idx=number, global_step=self.global_step)

    def _measure(self, batch: Mapping[str, Any], context: Context) -> Measured | None:
        try:
            measured = self._guards[context.stage.value].measure(batch, context)
        except NodeRunError as error:
            raise too_few(error, batch) or error from error.__cause__
        if measured is None:
            return None
        if context.stage is ExecutionStage.TRAIN and not measured.losses:
            raise TrainRunError(
                "No loss node runs in the stage 'train'.", hint="Look at their execution_stages.", key="loss_nodes"
            )
        self.pool.add(measured)
        return measured

    def _named_parameters(self) -> Iterator[tuple[str, torch.Tensor]]:
        trained = set(map(id, self._own.parameters))
        for name, node in self._own.pipeline.nodes.items():
            for key, value in node.named_parameters() if hasattr(node, "named_parameters") else ():
                if id(value) in trained:
                    yield f"'{key}' of node '{name}'", value

    def _gradients(self) -> Iterator[tuple[str, torch.Tensor]]:
        return ((name, value.grad) for name, value in self._named_parameters() if value.grad is not None)


class _Pooled(pl.Callback):
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


def _first(tensors: Iterable[tuple[str, torch.Tensor]]) -> str | None:
    """Name the first tensor that holds something else than numbers."""
    named = list(tensors)
    # A sum is NaN or infinite if any value is; looking for the one comes when there is one.
    whole = [value.sum() for _, value in named]  # one question to the device instead of many
    if not whole or is_finite(torch.stack(whole)):
        return None
    return next((f"{name} is not a number" for name, value in named if not is_finite(value)), None)
