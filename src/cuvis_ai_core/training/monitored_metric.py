"""What early stopping, the best checkpoint and schedulers watch: its name, and whether more or less of it is better."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

from cuvis_ai_core._nearest import did_you_mean
from cuvis_ai_core.errors import TrainRunError
from cuvis_ai_core.training.batch_step import LOSS, Measuring
from cuvis_ai_core.training.config import TrainingConfig

logger = logging.getLogger(__name__)

LOSSES: Final = ("train_loss", "val_loss")
TRAIN: Final = "train/"
_MORE_IS_BETTER: Final = (
    *("acc", "overall", "average", "kappa", "f1", "iou", "jaccard", "dice", "auroc", "auc", "precision", "recall"),
    *("specificity", "sensitivity", "r2", "psnr", "ssim"),
)
_LESS_IS_BETTER: Final = ("loss", "error", "mse", "mae", "rmse", "perplexity", "distance")


def watched_metrics(config: TrainingConfig) -> dict[str, str]:
    """Return what is watched, each with the key that says so."""
    stopping = {each.monitor: "callbacks.early_stopping" for each in config.callbacks.early_stopping}
    best = config.callbacks.checkpoint
    checkpoint = {best.monitor: "callbacks.checkpoint"} if best and best.monitor else {}
    scheduler = {config.scheduler.monitor: "scheduler"} if config.scheduler and config.scheduler.monitor else {}
    return {**stopping, **checkpoint, **scheduler}


def in_our_words(config: TrainingConfig, loss_nodes: Sequence[str]) -> TrainingConfig:
    """Return a configuration that watches losses by our names where it has the published ones: `val/bce` of a node."""
    names: dict[str | None, str] = {}
    for node in loss_nodes:
        several = len(loss_nodes) > 1
        names |= {f"val/{node}": f"{node}/{LOSS}" if several else LOSSES[1]}
        names |= {f"train/{node}": f"{TRAIN}{node}/{LOSS}" if several else LOSSES[0]}
    callbacks, scheduler = config.callbacks, config.scheduler
    return config.model_copy(
        update={
            "callbacks": callbacks.model_copy(
                update={
                    "early_stopping": [_renamed(each, names) for each in callbacks.early_stopping],
                    "checkpoint": callbacks.checkpoint and _renamed(callbacks.checkpoint, names),
                }
            ),
            "scheduler": scheduler and _renamed(scheduler, names),
        }
    )


def _renamed(section: Any, names: Mapping[str | None, str]) -> Any:
    return section.model_copy(update={"monitor": names[section.monitor]}) if section.monitor in names else section


def check_monitors(config: TrainingConfig, measuring: Measuring, *, validates: bool) -> None:
    """Refuse before the first epoch what cannot be watched.

    Raises:
        TrainRunError: Nothing of that name can be reported, or nothing is validated.
    """
    nodes = [f"{name}/..." for name in measuring.metric_nodes]
    nodes += [f"{name}/{LOSS}" for name in measuring.loss_nodes] if len(measuring.loss_nodes) > 1 else []
    for monitor, key in watched_metrics(config).items():
        node, slash, _ = monitor.removeprefix(TRAIN).partition("/")
        if monitor not in LOSSES and not (slash and any(each.startswith(f"{node}/") for each in nodes)):
            raise unknown_monitor(monitor, key, [*LOSSES, *nodes])
        if not monitor.startswith("train") and not validates:
            raise TrainRunError(
                f"training.{key}: '{monitor}' is to be monitored, and no epoch is validated.",
                hint="Name cubes to validate on (data.val_ids), check_val_every_n_epoch no larger than max_epochs; "
                "or monitor train_loss.",
                key=f"training.{key}",
            )


def unknown_monitor(monitor: str, key: str, known: Iterable[str]) -> TrainRunError:
    """Return the error about a monitor that nothing reports."""
    names = list(known)
    return TrainRunError(
        f"training.{key}: nothing is reported as '{monitor}', which is to be monitored.{did_you_mean(monitor, names)}",
        hint=f"Reported are: {', '.join(names)}.",
        key=f"training.{key}",
    )


def direction(monitor: str, mode: Literal["min", "max"] | None) -> Literal["min", "max"]:
    """Return whether the smallest or the largest value of a metric is the best.

    Without a mode its name decides, and where that says nothing, the name of its node; a mode that its name speaks
    against is said.
    """
    node, _, name = monitor.lower().rpartition("/")
    natural = _natural(name)
    if mode is None:
        natural = natural or _natural(node)
        if natural is None:
            logger.warning("the smallest '%s' is taken for the best: say 'mode: max' if it is the largest", monitor)
        return natural or "min"
    if natural not in {None, mode}:
        logger.warning("mode: %s looks for the worst '%s'; the best is its %simum", mode, monitor, natural)
    return mode


def _natural(name: str) -> Literal["min", "max"] | None:
    words: Mapping[Literal["min", "max"], tuple[str, ...]] = {"min": _LESS_IS_BETTER, "max": _MORE_IS_BETTER}
    return next((mode for mode, known in words.items() if any(word in name for word in known)), None)
