"""Published configurations of a training, in their two generations, as one of ours.

The older has `TrainerConfig`, `OptimizerConfig` and `SchedulerConfig` apart; the newer is one flat `TrainingConfig`.
`TrainerConfig` is that of the schemas up to 0.7; for newer schemas, which have none, it is here.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cuvis_ai_core.errors import TrainRunError
from cuvis_ai_core.training.config import FROM_CODE, CheckpointConfig, TrainingConfig

try:
    from cuvis_ai_schemas.training import TrainerConfig as _Published
except ImportError:
    _Published = None

_ELSEWHERE: Final = {"batch_size", "num_workers"}
"""Of the data: older files repeat it here."""


if TYPE_CHECKING or _Published is None:
    from cuvis_ai_schemas.training import CallbacksConfig

    class TrainerConfig(BaseModel):
        """Arguments of Lightning's `Trainer`, and its callbacks."""

        model_config = ConfigDict(extra="forbid", validate_assignment=True)

        max_epochs: int = Field(default=100, ge=1)
        accelerator: str = "auto"
        devices: int | str | None = None
        default_root_dir: str | None = None
        precision: str | int = "32-true"
        accumulate_grad_batches: int = Field(default=1, ge=1)
        enable_progress_bar: bool = True
        enable_checkpointing: bool = False
        log_every_n_steps: int = Field(default=50, ge=1)
        val_check_interval: float | int | None = Field(default=1.0, ge=0)
        check_val_every_n_epoch: int | None = Field(default=1, ge=1)
        gradient_clip_val: float | None = Field(default=None, ge=0)
        deterministic: bool = False
        benchmark: bool = False
        callbacks: CallbacksConfig | None = None

        def to_dict(self) -> dict[str, Any]:
            """Return the values by their names."""
            return self.model_dump(mode="json")

        @classmethod
        def from_dict(cls, data: dict[str, Any]) -> "TrainerConfig":
            """Return one with values by their names."""
            return cls.model_validate(data)

else:
    TrainerConfig = _Published


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
