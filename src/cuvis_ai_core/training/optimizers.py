"""Optimizers and schedulers of torch by name."""

import inspect
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from cuvis_ai_core._nearest import did_you_mean
from cuvis_ai_core.errors import TrainRunError
from cuvis_ai_core.training.config import OptimizerConfig, SchedulerConfig

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

_ALIASES: Final = {
    "cosine": "CosineAnnealingLR",
    "step": "StepLR",
    "exponential": "ExponentialLR",
    "plateau": "ReduceLROnPlateau",
    "reduce_on_plateau": "ReduceLROnPlateau",
}
_PLATEAU: Final = "ReduceLROnPlateau"
_OTHER_NAMES: Final = {"min_lr": "eta_min", "t_max": "T_max", "t_0": "T_0", "t_mult": "T_mult"}
_OURS: Final = frozenset({"name", "warmup_epochs", "monitor", "verbose"})
_WARMUP_START: Final = 0.1


def make_optimizer(config: OptimizerConfig, parameters: "Iterable[nn.Parameter]") -> "Optimizer":
    """Return an optimizer of `torch.optim`.

    Raises:
        TrainRunError: There is none of that name, or it has no such argument.
    """
    from torch import optim

    known = {name.lower(): each for name, each in vars(optim).items() if _is_a(each, optim.Optimizer)}
    made = _find("optimizer", config.name, known, known)
    arguments = _given(config)
    _check_arguments("training.optimizer", made, arguments)
    optimizer: Optimizer = made(parameters, **arguments)
    return optimizer


def make_scheduler(
    config: SchedulerConfig, optimizer: "Optimizer", epochs: int, validates_every: int | None = None
) -> dict[str, Any]:
    """Return a scheduler of `torch.optim.lr_scheduler` as Lightning takes it.

    It steps once in an epoch; one that watches the validation, in epochs that are validated.

    Args:
        config: Name and arguments.
        optimizer: The optimizer whose learning rate it changes.
        epochs: Epochs of the training, over which `cosine` falls by default.
        validates_every: The number of epochs from one validation to the next, by default 1.

    Raises:
        TrainRunError: There is none of that name, it has no such argument, or one is missing or out of its range.
    """
    from torch.optim import lr_scheduler

    classes = {name: each for name, each in vars(lr_scheduler).items() if _is_a(each, lr_scheduler.LRScheduler)}
    known = {name.lower(): each for name, each in classes.items()}
    known |= {alias: classes[name] for alias, name in _ALIASES.items()}
    made = _find("scheduler", config.name, known, [*_ALIASES, *classes])
    arguments = _scheduler_arguments(config, made, epochs - config.warmup_epochs)
    try:
        scheduler: Any = made(optimizer, **arguments)
        # SequentialLR steps without a metric, and this one needs it.
        if config.warmup_epochs and made.__name__ != _PLATEAU:
            rise = lr_scheduler.LinearLR(optimizer, _WARMUP_START, total_iters=config.warmup_epochs)
            scheduler = lr_scheduler.SequentialLR(optimizer, [rise, scheduler], [config.warmup_epochs])
    except (TypeError, ValueError) as error:
        raise TrainRunError(
            f"training.scheduler: {made.__name__} refuses its arguments: {error}.",
            hint=f"Its arguments: {', '.join(_parameters(made))}.",
            key="training.scheduler",
        ) from error
    lightning = {"scheduler": scheduler, "interval": "epoch", "frequency": 1}
    if made.__name__ != _PLATEAU:
        return lightning
    monitor = config.monitor or "val_loss"
    # Lightning keeps the last value: an epoch without validation would count as one without progress.
    frequency = 1 if monitor.startswith("train") else validates_every or 1
    return {**lightning, "frequency": frequency, "monitor": monitor, "strict": False}


def _scheduler_arguments(config: SchedulerConfig, made: type, epochs: int) -> dict[str, Any]:
    accepted = _parameters(made)
    given = {
        name if name in accepted else _OTHER_NAMES.get(name, name): value for name, value in _given(config).items()
    }
    if made.__name__ == _ALIASES["cosine"]:
        given.setdefault("T_max", max(1, epochs))
    _check_arguments("training.scheduler", made, given)
    return given


def _given(config: OptimizerConfig | SchedulerConfig) -> dict[str, Any]:
    return {name: value for name, value in config.model_dump(exclude=set(_OURS)).items() if value is not None}


def _is_a(candidate: object, base: type) -> bool:
    return isinstance(candidate, type) and issubclass(candidate, base) and candidate is not base


def _find(kind: str, name: str, known: Mapping[str, Any], names: Iterable[str]) -> Any:
    if name.lower() in known:
        return known[name.lower()]
    raise TrainRunError(
        f"training.{kind}.name: there is no {kind} '{name}'." + did_you_mean(name.lower(), known),
        hint=f"There are: {', '.join(sorted(names))}.",
        key=f"training.{kind}.name",
    )


def _parameters(made: type) -> list[str]:
    return [name for name in inspect.signature(made).parameters if name not in {"params", "optimizer"}]


def _check_arguments(place: str, made: type, arguments: Mapping[str, Any]) -> None:
    accepted = _parameters(made)
    for name in arguments:
        if name not in accepted:
            raise TrainRunError(
                f"{place}: {made.__name__} has no argument '{name}'." + did_you_mean(name, accepted),
                hint=f"Its arguments: {', '.join(accepted)}.",
                key=f"{place}.{name}",
            )
