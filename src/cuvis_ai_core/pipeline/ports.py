"""The published import path of `PortSpec`."""

from cuvis_ai_schemas.pipeline import PortSpec

__all__ = ["PortSpec"]
