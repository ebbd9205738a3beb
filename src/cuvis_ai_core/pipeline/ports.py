"""The published import path of ports, which are those of the schemas."""

from cuvis_ai_schemas.pipeline import InputPort, OutputPort, PortSpec

__all__ = ["InputPort", "OutputPort", "PortSpec"]
