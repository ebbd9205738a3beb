"""What a training can be made of: optimizers, schedulers, callbacks, and what each takes."""

from typing import Any, Final

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from cuvis_ai_core.grpc.messages.schema_generations import messages
from cuvis_ai_core.training.config import (
    CheckpointConfig,
    EarlyStoppingConfig,
    OptimizerConfig,
    SchedulerConfig,
)

OPTIMIZERS: Final = (
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "ASGD",
    "NAdam",
    "RAdam",
    "RMSprop",
    "Rprop",
    "SGD",
)
"""Those of `torch.optim` that train any parameter; a test compares them with the installed torch."""

SCHEDULERS: Final = ("cosine", "exponential", "plateau", "step")
"""The short names; every scheduler of `torch.optim.lr_scheduler` is known by its own."""

_CALLBACKS: Final[dict[str, type[BaseModel] | None]] = {
    "early_stopping": EarlyStoppingConfig,
    "checkpoint": CheckpointConfig,
    "learning_rate_monitor": None,
}


def capabilities() -> Any:
    """Return what a training can be made of, as a message."""
    m = messages()
    return m.GetTrainingCapabilitiesResponse(
        supported_optimizers=OPTIMIZERS,
        supported_schedulers=SCHEDULERS,
        supported_callbacks=[
            m.CallbackTypeInfo(type=name, description=_first_line(model), parameters=_params(model))
            for name, model in _CALLBACKS.items()
        ],
        optimizer_params=m.OptimizerParamsSchema(parameters=_params(OptimizerConfig)),
        scheduler_params=m.SchedulerParamsSchema(parameters=_params(SchedulerConfig)),
    )


def _first_line(model: type[BaseModel] | None) -> str:
    return (model.__doc__ or "").partition("\n")[0] if model is not None else "The learning rate of each epoch."


def _params(model: type[BaseModel] | None) -> list[Any]:
    fields = model.model_fields if model is not None else {}
    return [
        messages().ParamSpec(
            name=name,
            type=str(getattr(field.annotation, "__name__", field.annotation)),
            required=field.is_required(),
            default_value="" if field.default in (None, PydanticUndefined) else str(field.default),
            validation=", ".join(map(str, field.metadata)),
        )
        for name, field in fields.items()
    ]
