"""Plugin framework for hyperspectral-imaging pipelines.

The two names of every script are handed on from here, each imported when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cuvis_ai_core.pipeline.pipeline import Pipeline
    from cuvis_ai_core.registry import NodeRegistry

__all__ = ["NodeRegistry", "Pipeline"]

_HOMES = {"NodeRegistry": "cuvis_ai_core.registry", "Pipeline": "cuvis_ai_core.pipeline.pipeline"}


def __getattr__(name: str) -> object:
    if name == "scoped":  # above the modules of plugins, whose names some walk part by part
        return import_module(f"{__name__}.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
