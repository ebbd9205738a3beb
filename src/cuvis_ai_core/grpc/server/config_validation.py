"""Configurations that clients send: what each kind may hold, and what is wrong with one."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from cuvis_ai_core.errors import PipelineError, ServiceError
from cuvis_ai_core.grpc.server.config_resolution import check_kind, without_resolvers
from cuvis_ai_core.pipeline.file.interpolation import resolve

if TYPE_CHECKING:
    from pydantic import BaseModel

_MOST_PROBLEMS: Final = 1000


def schema_of(kind: str) -> "type[BaseModel]":
    """Return the model of a kind of configuration.

    Raises:
        ServiceError: There is no such kind.
    """
    from cuvis_ai_core.pipeline.file.config_models import PipelineConfig
    from cuvis_ai_core.training import config

    models: dict[str, type[BaseModel]] = {
        "pipeline": PipelineConfig,
        "trainrun": config.TrainRunConfig,
        "data": config.DataConfig,
        "training": config.TrainingConfig,
        "optimizer": config.OptimizerConfig,
        "scheduler": config.SchedulerConfig,
        "callbacks": config.CallbacksConfig,
    }
    check_kind(kind, list(models))
    return models[kind]


def problems(kind: str, content: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a configuration, a sentence each.

    Raises:
        ServiceError: There is no such kind.
    """
    from pydantic import ValidationError

    model = schema_of(kind)
    try:
        model.model_validate(_without_files(resolve(without_resolvers(content))))
    except ValidationError as error:
        # pydantic's addresses name its own version and site.
        found = error.errors(include_url=False)
        told = [
            f"{key_of(each['loc']) or kind}: {each['msg'].removeprefix('Value error, ')}"
            for each in found[:_MOST_PROBLEMS]
        ]
        return [*told, *([f"{len(found) - _MOST_PROBLEMS} more are left out."] if len(found) > _MOST_PROBLEMS else [])]
    except (PipelineError, ServiceError) as error:
        return [error.message]
    return []


def key_of(location: Sequence[object]) -> str:
    """Return the key that pydantic means, without the names of the members of a union."""
    return ".".join(part for part in map(str, location) if not part.startswith("["))


def _without_files(content: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration that is checked, without the file of splits that it names: whoever uses it reads that."""
    data = content.get("data")
    if not isinstance(data, dict) or not isinstance(data.get("splits"), str):
        return content
    return {**content, "data": {**data, "splits": None}}
