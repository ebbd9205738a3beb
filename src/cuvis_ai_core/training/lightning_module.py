"""A pipeline as Lightning takes it: the steps of training and validation, the optimizer, and its state.

Importing this module imports torch and Lightning.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from cuvis_ai_schemas.enums import ExecutionStage
from cuvis_ai_schemas.execution import Context

from cuvis_ai_core.data.dataset_batches import AnyBatches
from cuvis_ai_core.errors import NodeRunError, TrainingError, TrainRunError
from cuvis_ai_core.pipeline.weights.plain_values import decode
from cuvis_ai_core.pipeline.weights.torch_file import for_torch
from cuvis_ai_core.training.batch_step import Measured
from cuvis_ai_core.training.evaluation import place_in
from cuvis_ai_core.training.evaluation_mode import modules_of
from cuvis_ai_core.training.metric_pooling import Pool
from cuvis_ai_core.training.nan_guard import Guard, is_finite
from cuvis_ai_core.training.optimizers import make_optimizer, make_scheduler
from cuvis_ai_core.training.seeding import seed_everything
from cuvis_ai_core.training.small_batches import too_few

if TYPE_CHECKING:
    from cuvis_ai_core.training.gradient_trainer import GradientTrainer


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


def _first(tensors: Iterable[tuple[str, torch.Tensor]]) -> str | None:
    """Name the first tensor that holds something else than numbers."""
    named = list(tensors)
    # A sum is NaN or infinite if any value is; looking for the one comes when there is one.
    whole = [value.sum() for _, value in named]  # one question to the device instead of many
    if not whole or is_finite(torch.stack(whole)):
        return None
    return next((f"{name} is not a number" for name, value in named if not is_finite(value)), None)
