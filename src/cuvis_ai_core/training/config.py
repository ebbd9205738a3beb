"""The trainrun file: its schema, in the published spellings and ours."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Discriminator, Field, Tag, ValidationError, field_validator

from cuvis_ai_core._atomic_writes import write_atomic
from cuvis_ai_core._deprecated import say_once
from cuvis_ai_core._untrusted_files import load_yaml
from cuvis_ai_core.errors import TrainRunError, YamlError
from cuvis_ai_core.training.data_section import CUBES, MODULE, SPLITS, DataConfig, ModuleDataConfig, kind_of_data
from cuvis_ai_core.training.section_base import Section, Texts
from cuvis_ai_core.training.training_section import (
    FROM_CODE,
    CallbacksConfig,
    CheckpointConfig,
    EarlyStoppingConfig,
    OptimizerConfig,
    SchedulerConfig,
    TrainingConfig,
)

__all__ = [
    "FROM_CODE",
    "MODULE",
    "SPLITS",
    "CallbacksConfig",
    "CheckpointConfig",
    "DataConfig",
    "EarlyStoppingConfig",
    "ModuleDataConfig",
    "OptimizerConfig",
    "SchedulerConfig",
    "Section",
    "Texts",
    "TrainRunConfig",
    "TrainingConfig",
    "trainrun_schema",
]


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
        Annotated[DataConfig, Tag(CUBES)] | Annotated[ModuleDataConfig, Tag(MODULE)],
        Discriminator(kind_of_data),
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

    def save_to_file(self, path: str | Path) -> None:
        """Write a file that `load_from_file` and `restore-trainrun` read."""
        import yaml

        write_atomic(Path(path), yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True))


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
    # A file that names others need not say everything itself.
    complete = schema.pop("required")
    schema["anyOf"] = [{"required": ["defaults"]}, {"required": complete}]
    return schema


_OF_SCHEMAS: Final = {
    "LearningRateMonitorConfig": "cuvis_ai_schemas.training",
    "ModelCheckpointConfig": "cuvis_ai_schemas.training",
    "PipelineMetadata": "cuvis_ai_schemas.pipeline",
    "TrainerConfig": "cuvis_ai_core.training.published_training_config",
}
"""Published names that are those of the schemas, each with its home."""


def __getattr__(name: str) -> object:
    if name not in _OF_SCHEMAS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if _OF_SCHEMAS[name].startswith("cuvis_ai_schemas."):
        say_once(f"{__name__}.{name}", f"{_OF_SCHEMAS[name]}.{name}")
    return getattr(import_module(_OF_SCHEMAS[name]), name)
