"""The section `training` of a trainrun file: optimizer, scheduler, callbacks, and what Lightning's `Trainer` takes."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from cuvis_ai_core.training.section_base import Section

_METRIC: Final = r"\{(?!\.|[\w./ -]*\.\.)[\w][\w./ -]*(:0?\d{0,2}(\.\d{1,2})?[defgEG%]?)?\}"
"""What may stand in braces in the name of a checkpoint."""


class OptimizerConfig(Section):
    """An optimizer of `torch.optim` by name, in upper or lower case, and its arguments by their names there."""

    name: str = "AdamW"
    lr: float = Field(default=1e-3, gt=0)
    weight_decay: float | None = Field(default=None, ge=0)
    momentum: float | None = None
    dampening: float | None = None
    nesterov: bool | None = None
    betas: tuple[float, float] | None = None
    eps: float | None = None
    amsgrad: bool | None = None
    alpha: float | None = None
    rho: float | None = None
    lr_decay: float | None = None
    centered: bool | None = None


class SchedulerConfig(Section):
    """A scheduler of `torch.optim.lr_scheduler` by name, or `cosine`, `step`, `exponential`, `plateau`.

    Its arguments are called as there, in lower case (`t_max`); `min_lr` is `eta_min` of cosine schedulers. After
    `warmup_epochs`, in which the learning rate rises to its value, the scheduler begins. `monitor` is the metric that
    `plateau` watches.
    """

    name: str
    warmup_epochs: int = Field(default=0, ge=0, strict=True)
    monitor: str | None = None
    min_lr: float | None = None
    t_max: int | None = None
    step_size: int | None = None
    gamma: float | None = None
    mode: str | None = None
    factor: float | None = None
    patience: int | None = None
    threshold: float | None = None
    threshold_mode: str | None = None
    cooldown: int | None = None
    eps: float | None = None
    milestones: list[int] | None = None
    total_iters: int | None = None
    start_factor: float | None = None
    end_factor: float | None = None
    power: float | None = None
    t_0: int | None = None
    t_mult: int | None = None
    verbose: bool | None = None


class EarlyStoppingConfig(Section):
    """When to stop early: no better value of a metric for `patience` validations."""

    monitor: str
    mode: Literal["min", "max"] | None = None
    patience: int = Field(default=10, ge=1, strict=True)
    min_delta: float = Field(default=0.0, ge=0)
    stopping_threshold: float | None = None
    divergence_threshold: float | None = None
    check_finite: bool = True
    strict: bool = True
    verbose: bool = True
    check_on_train_epoch_end: bool | None = None
    log_rank_zero_only: bool = False


FROM_CODE: Final = {"from": "code"}
"""The context in which a program's own configuration is validated; a file's may name no folder elsewhere."""


class CheckpointConfig(Section):
    """Which of the epochs is kept as the result: the last one, or with `monitor` the best one."""

    monitor: str | None = None
    mode: Literal["min", "max"] | None = None
    dirpath: str | None = None
    filename: str | None = None
    save_top_k: int = 1
    every_n_epochs: int | None = Field(default=None, ge=1)
    every_n_train_steps: int | None = None
    train_time_interval: timedelta | None = None
    save_last: bool | Literal["link"] | None = None
    save_weights_only: bool = False
    save_on_exception: bool = False
    save_on_train_epoch_end: bool | None = None
    auto_insert_metric_name: bool = True
    enable_version_counter: bool = True
    verbose: bool = False

    @field_validator("filename")
    @classmethod
    def _is_no_path(cls, filename: str | None) -> str | None:
        if filename is None:
            return None
        rest = re.sub(_METRIC, "", filename)
        if {"/", "\\"} & set(re.sub(r"\{[^}]*\}", "", filename)):
            raise ValueError(f"is '{filename}', a path; the folder is named by 'dirpath'")
        if re.search(r"[{}\x00-\x1f\x7f]", rest):
            raise ValueError(f"is {filename!r}; in braces stand a metric and its digits, as in {{val_loss:.3f}}")
        return filename

    @field_validator("dirpath")
    @classmethod
    def _is_below(cls, dirpath: str | None, info: ValidationInfo) -> str | None:
        if info.context == FROM_CODE:
            return dirpath  # it is the program's own folder
        if re.search(r"(^|[/\\])\.\.([/\\]|$)|^[A-Za-z]:|^[~/\\]|[\x00-\x1f]", dirpath or ""):
            raise ValueError(f"is {dirpath!r}, which leads out of the output directory; name a folder in it")
        return dirpath


class CallbacksConfig(Section):
    """What watches the training."""

    early_stopping: Annotated[
        list[EarlyStoppingConfig],
        BeforeValidator(
            lambda value: [value] if isinstance(value, Mapping) else value,
            json_schema_input_type=EarlyStoppingConfig | list[EarlyStoppingConfig],
        ),
    ] = Field(default_factory=list)
    checkpoint: CheckpointConfig | None = None
    learning_rate_monitor: dict[str, Any] | None = None

    @model_validator(mode="before")
    @classmethod
    def _published_spelling(cls, data: object) -> object:
        if isinstance(data, Mapping) and "model_checkpoint" in data:
            data = {("checkpoint" if key == "model_checkpoint" else key): value for key, value in data.items()}
        return data


_BESIDE_TRAINER: Final = frozenset({"trainer", "batch_size", "num_workers"})
"""What files with `trainer` have beside it; the last two came with the first published schemas, and `data` has them."""


class TrainingConfig(Section):
    """The gradient training: seed, optimizer, scheduler, callbacks, and arguments of Lightning's `Trainer`.

    `on_nan` says what becomes of a batch whose loss or gradient is not a number. By default it is an error, but cubes
    that hold such values themselves are left out; `error` takes these for an error too, `skip` leaves any such batch
    out.

    In older files the arguments of the `Trainer` and the callbacks stand under `trainer`.
    """

    seed: int = Field(default=42, ge=0, strict=True)
    on_nan: Literal["error", "skip"] | None = None
    max_epochs: int = Field(default=100, ge=1, strict=True)
    optimizer: OptimizerConfig = Field(default_factory=OptimizerConfig)
    scheduler: SchedulerConfig | None = None
    callbacks: CallbacksConfig = Field(default_factory=CallbacksConfig)
    accelerator: str = "auto"
    devices: int | str | list[int] | None = None
    precision: str | int = "32-true"
    accumulate_grad_batches: int = Field(default=1, ge=1, strict=True)
    gradient_clip_val: float | None = Field(default=None, ge=0)
    check_val_every_n_epoch: int | None = Field(default=1, ge=1)
    val_check_interval: int | float | None = None
    limit_train_batches: int | float | None = Field(default=None, gt=0)
    limit_val_batches: int | float | None = None
    num_sanity_val_steps: int | None = None
    log_every_n_steps: int | None = None
    enable_progress_bar: bool = True
    enable_checkpointing: bool = True
    deterministic: bool = False
    benchmark: bool = False
    default_root_dir: str | None = None
    release_cuda_cache_on_validation: bool = False

    @model_validator(mode="before")
    @classmethod
    def _nested_trainer(cls, data: object) -> object:
        """Lift what older files have under `trainer`."""
        nested = data.get("trainer") if isinstance(data, Mapping) else None
        if isinstance(nested, BaseModel):
            nested = nested.model_dump(exclude_unset=True)
        if not isinstance(data, Mapping) or not isinstance(nested, Mapping):
            return data
        flat = {key: value for key, value in data.items() if key not in _BESIDE_TRAINER}
        said = {key: value for key, value in nested.items() if value is not None or key not in flat}
        # What the first published schemas wrote has some of the keys in both places, with one value.
        doubled = [key for key, value in said.items() if flat.get(key) is not None and flat[key] != value]
        if doubled:
            change = f"to change it: --override training.{doubled[0]}=..."
            raise ValueError(f"has '{doubled[0]}' twice, here and under 'trainer'; keep one, or {change}")
        return {**flat, **said}

    @classmethod
    def from_dict_config(cls, config: Mapping[str, Any]) -> Self:
        """Return the section with this content, as earlier published versions call `from_dict`."""
        return cls.from_dict(config)
