"""Published import paths."""

from typing import TYPE_CHECKING

from cuvis_ai_core._lazy_imports import late

if TYPE_CHECKING:
    from cuvis_ai_core.utils.restore import restore_pipeline, restore_trainrun

__all__ = ["restore_pipeline", "restore_trainrun"]

__getattr__, __dir__ = late(__name__, dict.fromkeys(__all__, "cuvis_ai_core.utils.restore"))
