"""The typed dataflow pipeline: file, validated graph, run."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cuvis_ai_core.pipeline.pipeline import Pipeline

__all__ = ["Pipeline"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("cuvis_ai_core.pipeline.pipeline"), name)
