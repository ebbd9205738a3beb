"""What a node is: ports, hyper-parameters, stages and base classes.

`Node` needs torch, which is imported when that name is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from cuvis_ai_core.node.array import ArrayNode

if TYPE_CHECKING:
    from cuvis_ai_core.node.node import Node

__all__ = ["ArrayNode", "Node"]


def __getattr__(name: str) -> object:
    if name != "Node":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module("cuvis_ai_core.node.node").Node
