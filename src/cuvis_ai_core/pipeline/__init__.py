"""The typed dataflow pipeline: file, validated graph, run."""

from typing import TYPE_CHECKING

from cuvis_ai_core._lazy_imports import late

if TYPE_CHECKING:
    from cuvis_ai_core.pipeline.pipeline import Pipeline

__all__ = ["Pipeline"]

__getattr__, __dir__ = late(__name__, {"Pipeline": "cuvis_ai_core.pipeline.pipeline"})
