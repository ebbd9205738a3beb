"""The published import path of `Context`."""

from cuvis_ai_schemas.execution import Context

__all__ = ["Context"]
