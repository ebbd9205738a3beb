"""The published import path of what runs are told and tell, which is that of the schemas."""

from importlib import import_module
from typing import TYPE_CHECKING

from cuvis_ai_core._deprecated import say_once

if TYPE_CHECKING:
    from cuvis_ai_schemas.enums import ArtifactType, ExecutionStage
    from cuvis_ai_schemas.execution import Artifact, Context, InputStream, Metric

__all__ = ["Artifact", "ArtifactType", "Context", "ExecutionStage", "InputStream", "Metric"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = f"cuvis_ai_schemas.{'enums' if name in {'ArtifactType', 'ExecutionStage'} else 'execution'}"
    # When a name is asked for: importing the module alone says nothing.
    say_once(f"{__name__}.{name}", f"{home}.{name}")
    return getattr(import_module(home), name)
