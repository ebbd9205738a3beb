"""The trainrun file: its schema, in the published spellings and ours."""

import re
from collections.abc import Mapping
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from cuvis_ai_core._deprecated import say_once
from cuvis_ai_core._yaml import load_yaml
from cuvis_ai_core.data.splits_io import split_config
from cuvis_ai_core.errors import MissingExtraError, TrainRunError, YamlError

SPLITS: Final = ("train", "val", "test")
"""The parts of the data, named like the execution stages in which they are used."""


MODULE: Final = "[module]"
"""What stands in the place of an error about data of a data module, as a member of a union."""
_CUBES: Final = "[cubes]"
_METRIC: Final = r"\{(?!\.|[\w./ -]*\.\.)[\w][\w./ -]*(:0?\d{0,2}(\.\d{1,2})?[defgEG%]?)?\}"
"""What may stand in braces in the name of a checkpoint."""


def _several(value: object) -> object:
    return [value] if isinstance(value, str) else value


Texts = Annotated[list[str], BeforeValidator(_several, json_schema_input_type=str | list[str])]
"""A list of texts; one text stands for a list of one."""


class Section(BaseModel):
    """A part of the file; keys that it does not know are errors, and nothing behind a colon means the default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nothing(cls, data: object) -> object:
        if not isinstance(data, Mapping):
            return data
        return {key: value for key, value in data.items() if value is not None or not cls._has_default(key)}

    @classmethod
    def _has_default(cls, key: object) -> bool:
        field = cls.model_fields.get(str(key))
        return field is not None and not field.is_required()


class DataConfig(Section):
    """Which cubes are learned from, and what is known about them.

    Attributes:
        cubes: Files, folders or patterns.
        cu3s_file_path: The published name of `cubes` for one session file.
        annotation_json_path: A COCO file, for all cubes.
        masks: A PNG mask or a folder of masks; or one for each of `train`, `val` and `test`, where the parts of data
            are pixels of the same cubes.
        train_ids: Numbers of the cubes to train on; likewise `val_ids` and `test_ids`. Without any of the three every
            part is all cubes.
        train_split: Which share of the cubes, from the first on, is trained on, where no ids are given.
        val_split: Which share, behind these, is validated on; the rest is tested on.
        batch_size: Cubes in a batch.
        shuffle: Whether training sees the cubes in another order in each epoch.
        drop_last: Whether training leaves out a last batch that is not full.
        sampling: `balanced` draws cubes to train on, with replacement, so that pixels of every class are seen equally
            often.
        ignore_label: The label of pixels that say nothing, where losses and metrics do not say their own weight, and
            for balanced sampling.
        num_workers: Threads that read cubes ahead while one batch is trained on.
        processing_mode: What to make of session files.
    """

    cubes: Texts = Field(default_factory=list)
    cu3s_file_path: str | None = None
    annotation_json_path: str | None = None
    masks: str | dict[Literal["train", "val", "test"], str] | None = None
    train_ids: list[Annotated[int, Field(ge=0, strict=True)]] | None = None
    val_ids: list[Annotated[int, Field(ge=0, strict=True)]] | None = None
    test_ids: list[Annotated[int, Field(ge=0, strict=True)]] | None = None
    train_split: float | None = Field(default=None, ge=0, le=1)
    val_split: float | None = Field(default=None, ge=0, le=1)
    batch_size: int = Field(default=1, ge=1, strict=True)
    shuffle: bool = True
    drop_last: bool = False
    sampling: Literal["balanced"] | None = None
    ignore_label: int | None = Field(default=None, strict=True)
    num_workers: int = Field(default=0, ge=0, strict=True)
    processing_mode: str | None = None

    data_module: ClassVar[None] = None

    @model_validator(mode="after")
    def _names_its_cubes_and_masks_once(self) -> "DataConfig":
        if bool(self.cubes) == (self.cu3s_file_path is not None):
            raise ValueError("names the data once: by 'cubes', or by 'cu3s_file_path'")
        if (self.train_split or 0) + (self.val_split or 0) > 1:
            raise ValueError("has shares 'train_split' and 'val_split' of more than 1 together")
        if self.annotation_json_path is not None and self.masks is not None:
            raise ValueError("has both 'annotation_json_path' and 'masks'; keep one")
        return self

    @property
    def places(self) -> list[str]:
        """Files, folders or patterns of cubes."""
        return self.cubes or [str(self.cu3s_file_path)]

    def ids(self, split: str) -> list[int] | None:
        """Return the numbers of the cubes in a part of the data; None means all."""
        given = {name: getattr(self, f"{name}_ids") for name in SPLITS}
        if all(each is None for each in given.values()):
            return None
        return list(given[split] or ())

    def share(self, split: str, count: int) -> range | None:
        """Return the numbers of the cubes in a part of the data by its share; None where there are no shares."""
        if self.train_split is None and self.val_split is None:
            return None
        first = round(count * (self.train_split or 0))
        second = min(count, first + round(count * (self.val_split or 0)))
        return {"train": range(first), "val": range(first, second), "test": range(second, count)}[split]

    def annotations(self, split: str) -> str | None:
        """Return where the annotations of a part of the data are."""
        if isinstance(self.masks, dict):
            return self.masks.get(split)  # type: ignore[call-overload, no-any-return]
        return self.masks or self.annotation_json_path


class ModuleDataConfig(Section):
    """Data of a data module that a plugin or an installed package brings along, as newer published trainruns name it.

    Attributes:
        data_module: The name by which a manifest knows it (`data_module_name`), or the full path of its class.
        splits: Which samples are trained on, validated on and tested on: `train`, `val` and `test`, each a list of
            selectors; or `splits_path`, a file beside this one.
        batch_size: Samples in a batch.
        num_workers: Threads that read samples ahead while one batch is trained on.
        params: What else its constructor takes.
    """

    data_module: str = Field(default="cu3s", min_length=1)
    splits: Any = None
    batch_size: int = Field(default=1, ge=1, strict=True)
    num_workers: int = Field(default=0, ge=0, strict=True)
    params: dict[str, Any] = Field(default_factory=dict)

    @field_validator("splits")
    @classmethod
    def _are_those_of_the_schemas(cls, splits: Any) -> Any:
        try:
            return None if splits is None else split_config(splits)
        except MissingExtraError:  # older schemas know none; whoever needs them says so
            return splits

    shuffle: ClassVar[bool] = True
    drop_last: ClassVar[bool] = False
    sampling: ClassVar[None] = None
    ignore_label: ClassVar[None] = None


def _kind_of_data(data: object) -> str:
    own = {"data_module", "splits", "params"}
    named = own & {*data} if isinstance(data, Mapping) else isinstance(data, ModuleDataConfig)
    return MODULE if named else _CUBES


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
        if not isinstance(data, Mapping) or not isinstance(nested := data.get("trainer"), Mapping):
            return data
        doubled = [key for key in nested if key in data]
        if doubled:
            raise ValueError(f"has '{doubled[0]}' twice, here and under 'trainer'; keep one")
        return {**{key: value for key, value in data.items() if key != "trainer"}, **nested}


class TrainRunConfig(Section):
    """A whole trainrun file, composed and with every interpolation resolved.

    Attributes:
        name: What the run is called.
        pipeline: The content of a pipeline file; or the path of one, beside this file or in the working directory, or
            the name of one that a plugin brings along.
        initial_weights: A file of weights from which training begins; by default those beside a pipeline that is named
            by its path, if there are any.
        weights: A file of trained weights, for validating and testing; by default those in `output_dir`.
        plugins_path: The manifest of the plugins that the nodes come from.
        data: The data.
        training: The gradient training; without it nodes are only initialised from statistics of the data.
        loss_nodes: Nodes whose output `loss` is added up and minimised.
        metric_nodes: Nodes whose output `metrics` is reported.
        freeze_nodes: Nodes that the gradient training leaves as they are.
        unfreeze_nodes: Nodes that it changes. By default these are all that have parameters.
        output_dir: Folder of the results.
        tags: Words about the run, for people.
    """

    name: str = Field(min_length=1)
    pipeline: dict[str, Any] | str
    initial_weights: str | None = None
    weights: str | None = None
    plugins_path: str | None = None
    data: Annotated[
        Annotated[DataConfig, Tag(_CUBES)] | Annotated[ModuleDataConfig, Tag(MODULE)],
        Discriminator(_kind_of_data),
    ]
    training: TrainingConfig | None = None
    loss_nodes: Texts = Field(default_factory=list)
    metric_nodes: Texts = Field(default_factory=list)
    freeze_nodes: Texts = Field(default_factory=list)
    unfreeze_nodes: Texts = Field(default_factory=list)
    output_dir: str = "outputs"
    tags: dict[str, str] = Field(default_factory=dict)

    @field_validator("unfreeze_nodes")
    @classmethod
    def _are_not_frozen_too(cls, unfrozen: list[str], info: Any) -> list[str]:
        both = set(unfrozen) & set(info.data.get("freeze_nodes", ()))
        if both:
            raise ValueError(f"node '{min(both)}' is in 'freeze_nodes' too")
        return unfrozen

    @classmethod
    def load_from_file(cls, path: str | Path) -> "TrainRunConfig":
        """Return the configuration of a file that says all by itself, as published programs read one.

        Raises:
            TrainRunError: It cannot be read, or breaks a rule; `read_trainrun` composes files and says where.
        """
        try:
            return cls.model_validate(load_yaml(Path(path)).data)
        except (YamlError, ValidationError) as error:
            raise TrainRunError(f"Trainrun file {path}: {error}", path=Path(path)) from error

    def to_dict(self) -> dict[str, Any]:
        """Return the content of the file, without what is left at its default."""
        return self.model_dump(mode="json", exclude_unset=True)


def trainrun_schema(pipeline: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON Schema of a trainrun file; the list `defaults`, which Hydra composes files by, is valid.

    Args:
        pipeline: The JSON Schema of a pipeline file.
    """
    schema = TrainRunConfig.model_json_schema()
    inner = {key: value for key, value in pipeline.items() if key not in {"$defs", "$schema"}}
    schema["$schema"] = pipeline["$schema"]
    schema["$defs"] = {**schema["$defs"], **pipeline["$defs"], "Pipeline": inner}
    schema["properties"]["pipeline"]["anyOf"] = [{"$ref": "#/$defs/Pipeline"}, {"type": "string"}]
    callbacks, training = (schema["$defs"][name]["properties"] for name in ("CallbacksConfig", "TrainingConfig"))
    callbacks["model_checkpoint"] = callbacks["checkpoint"]
    training["trainer"] = {"type": "object", "description": "Where older files have arguments of the `Trainer`."}
    composed = "Names of other files, whose content this one is laid over, as Hydra composes them."
    schema["properties"]["defaults"] = {"type": "array", "description": composed}
    complete = schema.pop("required")
    schema["anyOf"] = [{"required": ["defaults"]}, {"required": complete}]
    return schema


_OF_SCHEMAS: Final = {
    "LearningRateMonitorConfig": "cuvis_ai_schemas.training",
    "ModelCheckpointConfig": "cuvis_ai_schemas.training",
    "PipelineMetadata": "cuvis_ai_schemas.pipeline",
    "TrainerConfig": "cuvis_ai_core.training.trainer_config",
}
"""Published names that are those of the schemas, each with its home."""


def __getattr__(name: str) -> object:
    if name not in _OF_SCHEMAS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if _OF_SCHEMAS[name].startswith("cuvis_ai_schemas."):
        say_once(f"{__name__}.{name}", f"{_OF_SCHEMAS[name]}.{name}")
    return getattr(import_module(_OF_SCHEMAS[name]), name)
