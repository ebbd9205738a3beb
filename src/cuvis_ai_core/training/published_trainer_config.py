"""The published `TrainerConfig`: that of the schemas up to 0.7, the same one for newer schemas, which have none."""

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

try:
    from cuvis_ai_schemas.training import TrainerConfig as _Published
except ImportError:
    _Published = None

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
