"""What a node is: ports, hyper-parameters, stages and base classes."""

from cuvis_ai_core.node.array import ArrayNode

__all__ = ["ArrayNode"]
