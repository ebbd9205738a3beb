"""Optimizers and schedulers by name, without a training."""

from typing import Any

import pytest

from cuvis_ai_core.errors import TrainRunError
from cuvis_ai_core.training.config import OptimizerConfig, SchedulerConfig
from cuvis_ai_core.training.optimizers import make_optimizer, make_scheduler

torch = pytest.importorskip("torch")


def _optimizer(**config: Any) -> Any:
    return make_optimizer(OptimizerConfig.model_validate({"name": "sgd", "lr": 1.0, **config}), [_parameter()])


def _parameter() -> Any:
    return torch.nn.Parameter(torch.ones(1))


def _scheduler(epochs: int = 4, every: int | None = None, **config: Any) -> dict[str, Any]:
    return make_scheduler(SchedulerConfig.model_validate(config), _optimizer(), epochs, every)


@pytest.mark.parametrize("name", ["optimizer", "Optimizer", "no", "lr_scheduler"])
def test_what_is_no_optimizer(name: str) -> None:
    """Neither is the class that all of them derive from."""
    with pytest.raises(TrainRunError, match=f"there is no optimizer '{name}'"):
        _optimizer(name=name)


@pytest.mark.parametrize("name", ["lrscheduler", "LRScheduler", "no", "adam"])
def test_what_is_no_scheduler(name: str) -> None:
    """Neither is the class that all of them derive from."""
    with pytest.raises(TrainRunError, match=f"there is no scheduler '{name}'"):
        _scheduler(name=name)


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("cosine", "CosineAnnealingLR"),
        ("CosineAnnealingLR", "CosineAnnealingLR"),
        ("cosineannealinglr", "CosineAnnealingLR"),
        ("plateau", "ReduceLROnPlateau"),
        ("reduce_on_plateau", "ReduceLROnPlateau"),
        ("ReduceLROnPlateau", "ReduceLROnPlateau"),
    ],
)
def test_names_of_schedulers(name: str, made: str) -> None:
    """Short ones, and those of torch in any case."""
    assert type(_scheduler(name=name)["scheduler"]).__name__ == made


@pytest.mark.parametrize(("epochs", "warmup", "over"), [(4, 0, 4), (4, 1, 3), (4, 4, 1), (1, 3, 1)])
def test_a_cosine_falls_over_the_epochs_that_there_are(epochs: int, warmup: int, over: int) -> None:
    """After the warm-up, which may take all of them; unless somebody said over how many."""
    scheduler = _scheduler(epochs, name="cosine", warmup_epochs=warmup)["scheduler"]
    cosine = scheduler._schedulers[1] if warmup else scheduler
    assert cosine.T_max == over
    assert _scheduler(epochs, name="cosine", t_max=9, min_lr=0.5)["scheduler"].T_max == 9


@pytest.mark.parametrize(
    ("every", "monitor", "frequency"),
    [(None, None, 1), (3, None, 3), (3, "m/f1", 3), (3, "train_loss", 1), (0, None, 1)],
)
def test_what_a_plateau_watches_and_when(every: int | None, monitor: str | None, frequency: int) -> None:
    """The loss of validation where nothing is named; it warms nothing up, and waits where its measure is not there."""
    found = _scheduler(every=every, name="plateau", monitor=monitor, warmup_epochs=2)
    assert type(found.pop("scheduler")).__name__ == "ReduceLROnPlateau"
    assert found == {
        "interval": "epoch", "frequency": frequency, "monitor": monitor or "val_loss", "strict": False
    }  # fmt: skip
    assert set(_scheduler(every=3, name="exponential", gamma=0.5)) == {"scheduler", "interval", "frequency"}
    assert _scheduler(every=3, name="exponential", gamma=0.5)["frequency"] == 1


def test_arguments_are_those_of_torch() -> None:
    """What nobody gave is torch's own default; what is ours is not handed on."""
    group = _optimizer(momentum=0.9, weight_decay=None).param_groups[0]
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (1.0, 0.9, 0)
    with pytest.raises(TrainRunError, match="StepLR has no argument 'factor'") as error:
        _scheduler(name="step", step_size=3, factor=2.0)
    assert error.value.key == "training.scheduler.factor"
