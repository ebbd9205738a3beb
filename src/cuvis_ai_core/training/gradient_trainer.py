"""The second phase of training: parameters follow the gradient of a loss, driven by Lightning."""

import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cuvis_ai_core._nearest import did_you_mean
from cuvis_ai_core.data.dataset_batches import AnyBatches
from cuvis_ai_core.errors import CuvisError, MissingExtraError, NodeRunError, PortError, TrainingError, TrainRunError
from cuvis_ai_core.node.gradient_modes import keep_for_gradients
from cuvis_ai_core.pipeline.weights.node_weights import check_state
from cuvis_ai_core.training.batch_step import Measuring
from cuvis_ai_core.training.config import TrainingConfig
from cuvis_ai_core.training.cross_process_gradients import refuse_gradients_from_elsewhere
from cuvis_ai_core.training.epochs import AS_THEY_COME, Reading
from cuvis_ai_core.training.evaluation import pooled
from cuvis_ai_core.training.evaluation_mode import modules_of, undisturbed
from cuvis_ai_core.training.metrics_csv import Row
from cuvis_ai_core.training.monitored_metric import in_our_words
from cuvis_ai_core.training.named_nodes import check_node

if TYPE_CHECKING:
    from cuvis_ai_core.pipeline.pipeline import Pipeline
    from cuvis_ai_core.training.lightning_fit import Fit

_ACCELERATORS: Final = {"cpu": "cpu", "gpu": "cuda", "cuda": "cuda", "mps": "mps"}


class GradientTrainer:
    """Trains the parameters of torch nodes.

    Every epoch has random numbers and an order of the cubes of its own, which depend on the seed and on its number
    alone: two runs on the CPU are equal, and so is one that was interrupted and goes on.

    Given a data module of Lightning, as published software does, it is a `training.trainers.GradientTrainer`.

    Args:
        pipeline: The pipeline; it is moved to the device.
        config: Epochs, optimizer, scheduler, callbacks, device.
        loss_nodes: Nodes whose output `loss` is added up and minimised.
        metric_nodes: Nodes whose output `metrics` is reported.
        freeze_nodes: Nodes that stay as they are.
        unfreeze_nodes: Nodes whose trainable buffers are trained too.
        ignore_label: The label of pixels that say nothing, for nodes that do not say their weight.

    Raises:
        TrainRunError: There is no such node, no loss, or nothing to train.
        PipelineError: There is no such device.
    """

    def __new__(cls, pipeline: "Pipeline", *args: Any, **kwargs: Any) -> Any:  # noqa: D102 - of either generation
        if "datamodule" in kwargs or any(hasattr(each, "train_dataloader") for each in args[:1]):
            from cuvis_ai_core.training.published_gradient_trainer import GradientTrainer as Published

            return Published(pipeline, *args, **kwargs)
        # Published programs call this class with a data module; `__init__` is not run on an object of another class.
        return super().__new__(cls)

    def __init__(
        self,
        pipeline: "Pipeline",
        config: TrainingConfig,
        *,
        loss_nodes: Sequence[str],
        metric_nodes: Sequence[str] = (),
        freeze_nodes: Sequence[str] = (),
        unfreeze_nodes: Sequence[str] = (),
        ignore_label: int | None = None,
    ) -> None:
        _require_extra()
        self.pipeline = pipeline
        self.config = in_our_words(config, loss_nodes)
        self.measuring = Measuring(pipeline, loss_nodes, metric_nodes, ignore_label)
        if not loss_nodes:
            raise TrainRunError(
                "loss_nodes: no node is named whose loss is minimised.",
                hint="Name nodes with an output 'loss', or leave 'training' away to initialise nodes only.",
                key="loss_nodes",
            )
        _refuse_lazy(pipeline)
        for node in modules_of(pipeline):
            # Tensors that were made in inference mode cannot be saved for a backward pass (torch raises).
            keep_for_gradients(node)
        self._freeze(freeze_nodes, "freeze_nodes", "freeze")
        self._freeze(unfreeze_nodes, "unfreeze_nodes", "unfreeze")
        refuse_gradients_from_elsewhere(pipeline, loss_nodes)
        self._fit: Fit | None = None
        pipeline.to(_device(config))
        _refuse_half_precision(config, pipeline.device)
        self.parameters = self._parameters()

    def fit(
        self,
        train: AnyBatches,
        val: AnyBatches | None = None,
        *,
        shuffle: bool = True,
        reading: Reading = AS_THEY_COME,
        folder: Path | None = None,
        observer: Callable[[Row], None] | None = None,
    ) -> list[Row]:
        """Train, and leave the pipeline as the last epoch, or the best one, left it.

        Args:
            train: The data to train on.
            val: The data to validate on, if any.
            shuffle: Whether each epoch has another order of the cubes.
            reading: What becomes of a last short batch, how cubes are drawn, and whether they are read ahead.
            folder: Where checkpoints go, and where an interrupted training goes on from; by default nothing is kept.
            observer: Told what each epoch came to.

        Returns:
            What each epoch came to.

        Raises:
            TrainRunError: There are no data to train on, or something is configured that does not work.
            TrainingError: A loss, a gradient or a weight is not finite, or training failed.
            PortError: The data do not fit the pipeline.
            NodeRunError: A node failed.
        """
        if not len(train):
            raise TrainRunError(
                "There are no cubes to train on.", hint="Name them: data.train_ids.", key="data.train_ids"
            )
        from cuvis_ai_core.training.lightning_fit import Fit

        check_state(dict(self.pipeline.nodes.items()))
        # A folder for the best epoch, where nothing is to be kept.
        with undisturbed(self.pipeline), tempfile.TemporaryDirectory() as temporary:
            try:
                fit = self._fit = Fit(self, Path(temporary), folder, observer)
                fit.run(train, val, reading, shuffle=shuffle)
            except (PortError, NodeRunError) as error:
                if not str(self.config.precision).startswith("32"):
                    advice = "with 32-true nodes compute in what their ports say, mostly float32"
                    hints = (error.hint, f"training.precision is {self.config.precision}: {advice}.")
                    error.hint = "\n".join(filter(None, hints))
                raise
            except CuvisError:
                raise
            except Exception as error:
                raise _explained(error) from error
            fit.restore_best()
        return fit.history

    def history(self) -> list[Row]:
        """Return what each epoch came to so far, also of a training that failed."""
        return [] if self._fit is None else self._fit.history

    def epochs_trained(self) -> int:
        """Return how many epochs were trained, also one whose validation failed."""
        return 0 if self._fit is None else max(len(self._fit.history), self._fit.epochs_trained)

    def evaluate(self, batches: AnyBatches, stage: str = "val") -> dict[str, float]:
        """Return losses and metrics over data, as `evaluation.evaluate` does."""
        return pooled(self.measuring, batches, stage, self.config.on_nan).values()

    def _freeze(self, names: Sequence[str], key: str, method: str) -> None:
        for name in names:
            check_node(self.pipeline, name, key)
            action = getattr(self.pipeline.nodes[name], method, None)
            if action is None:
                raise TrainRunError(
                    f"{key}: node '{name}' ({type(self.pipeline.nodes[name]).__name__}) has no parameters.",
                    hint="Only torch nodes are trained by gradient.",
                    key=key,
                )
            action()

    def _parameters(self) -> list[Any]:
        found = [each for node in modules_of(self.pipeline) for each in node.parameters() if each.requires_grad]
        if not found:
            raise TrainRunError(
                "No node of the pipeline has a parameter that can be trained.",
                hint="Name nodes with TRAINABLE_BUFFERS in unfreeze_nodes, or leave 'training' away.",
                key="unfreeze_nodes",
            )
        # Two nodes may share a parameter; torch's optimizers warn of doubles, and step them twice.
        return list(dict.fromkeys(found))


def _refuse_lazy(pipeline: "Pipeline") -> None:
    """Refuse layers that learn their size from a first batch: neither optimizers nor files take them before it."""
    from torch.nn.parameter import is_lazy

    for name, node in pipeline.nodes.items():
        if not hasattr(node, "named_parameters"):
            continue
        for key, value in (*node.named_parameters(), *node.named_buffers()):
            if is_lazy(value):
                raise TrainRunError(
                    f"Node '{name}' ({type(node).__name__}): '{key}' has no size yet, as it belongs to a lazy layer.",
                    hint="Give the layer its size, as a parameter of the node: LazyLinear(8) is Linear(channels, 8).",
                    key="pipeline",
                )


def _refuse_half_precision(config: TrainingConfig, device: str) -> None:
    """Refuse before the first epoch what the CPU would compute in another precision than was asked for."""
    # Lightning switches to bfloat16 there with a warning, which nobody sees.
    if device == "cpu" and str(config.precision).startswith("16"):
        raise TrainRunError(
            f"training.precision: {config.precision} is for GPUs; the training runs on the CPU.",
            hint="Set training.precision to 32-true, or training.accelerator to a GPU.",
            key="training.precision",
        )


def _require_extra() -> None:
    for package in ("torch", "pytorch_lightning"):
        try:
            # Imported, not looked for: a package that is there and broken has to say so now.
            __import__(package)
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                f"Training by gradient needs the package '{package}', which is not installed.",
                hint="Install the extra: pip install 'cuvis-ai-core[train]'",
                extra="train",
            ) from error


def _device(config: TrainingConfig) -> str:
    """Return the one device that is trained on."""
    import torch

    number = config.devices
    if isinstance(number, list) and len(number) == 1:
        index = number[0]
    elif not isinstance(number, list) and number in {None, 1, "1", "auto"}:
        index = 0
    else:
        raise TrainRunError(
            f"training.devices: {number!r} is not one device.",
            hint="Training runs on one device: 1, or the list of its number, as in [0].",
            key="training.devices",
        )
    kind = config.accelerator.lower()
    if kind == "auto":
        kind = "cuda" if torch.cuda.is_available() else "cpu"
    if kind not in _ACCELERATORS:
        raise TrainRunError(
            f"training.accelerator: there is no accelerator '{config.accelerator}'."
            + did_you_mean(kind, _ACCELERATORS),
            hint=f"Accelerators: auto, {', '.join(_ACCELERATORS)}.",
            key="training.accelerator",
        )
    name = _ACCELERATORS[kind]
    return f"cuda:{index}" if name == "cuda" else name


def _explained(error: Exception) -> CuvisError:
    """Return Lightning's errors in our words."""
    text = " ".join(str(error).split())
    # By name: its home moved between versions of Lightning.
    if type(error).__name__ == "MisconfigurationException" or isinstance(error, ValueError):
        return TrainRunError(f"The training cannot be set up: {text}", key="training")
    # torch has no type of its own for this: "element 0 of tensors does not require grad".
    if re.search(r"does not require grad", text):
        return TrainRunError(
            "The loss does not depend on any parameter that is trained.",
            hint="Connect a node with parameters to the loss, or name it in unfreeze_nodes.",
            key="loss_nodes",
        )
    return TrainingError(f"Training failed: {type(error).__name__}: {text}")
