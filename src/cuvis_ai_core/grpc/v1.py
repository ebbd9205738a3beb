"""The published import path of the messages and stubs of the installed cuvis-ai-schemas."""

from importlib import import_module
from typing import TYPE_CHECKING

from cuvis_ai_core.grpc.missing_extra import explain_missing

if TYPE_CHECKING:
    from cuvis_ai_schemas.grpc.v1 import cuvis_ai_pb2, cuvis_ai_pb2_grpc

__all__ = ["cuvis_ai_pb2", "cuvis_ai_pb2_grpc"]


# By PEP 562: only who uses the messages must have the extra `grpc`.
def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with explain_missing():
        return import_module(f"cuvis_ai_schemas.grpc.v1.{name}")
