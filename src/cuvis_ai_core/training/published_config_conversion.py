"""Published configurations of a training, in their two generations, as one of ours.

The older has `TrainerConfig`, `OptimizerConfig` and `SchedulerConfig` apart; the newer is one flat `TrainingConfig`.
"""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from cuvis_ai_core.errors import TrainRunError
from cuvis_ai_core.training.config import FROM_CODE, CheckpointConfig, TrainingConfig

_ELSEWHERE: Final = {"batch_size", "num_workers"}
"""Of the data: older files repeat it here."""


def training_config(
    trainer: object = None, optimizer: object = None, scheduler: object = None, training: object = None
) -> TrainingConfig:
    """Return the configuration of a training.

    Args:
        trainer: Arguments of Lightning's `Trainer`, a model or a mapping; or a whole flat configuration.
        optimizer: Name and arguments of the optimizer.
        scheduler: Name and arguments of the scheduler.
        training: A whole configuration, over which the others are laid.

    Raises:
        TrainRunError: A value breaks a rule.
    """
    whole = {**_given(training), **_given(trainer)}
    nested = _given(whole.pop("trainer", None))
    parts = {"optimizer": _given(optimizer), "scheduler": _given(scheduler)}
    merged = {**nested, **whole, **{name: part for name, part in parts.items() if part}}
    try:
        return TrainingConfig.model_validate(
            {key: _known(key, value) for key, value in merged.items() if key not in _ELSEWHERE}, context=FROM_CODE
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(["training", *map(str, first["loc"])])
        raise TrainRunError(f"{place}: {first['msg']}; it is {first['input']!r:.60}.", key=place) from error


def _given(config: object) -> dict[str, Any]:
    """Return what was given of a configuration, without what was left at its default."""
    if config is None:
        return {}
    if isinstance(config, Mapping):
        return dict(config)
    dump: Any = getattr(config, "model_dump", None)
    if dump is None:
        raise TrainRunError(
            f"A configuration of a training is a mapping or a model, not {config!r:.60}.", key="training"
        )
    return {key: value for key, value in dump(exclude_unset=True).items() if value is not None}


def _known(key: str, value: Any) -> Any:
    """Return the callbacks of the schemas without the one argument that is none of ours."""
    if key != "callbacks" or not isinstance(value, Mapping) or not isinstance(value.get("checkpoint"), Mapping):
        return value
    kept = {name: each for name, each in value["checkpoint"].items() if name in CheckpointConfig.model_fields}
    return {**value, "checkpoint": kept}
