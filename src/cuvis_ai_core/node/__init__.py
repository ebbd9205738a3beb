"""What a node is: ports, hyper-parameters, stages and base classes.

`PortSpec`, `Context` and `Metric` are those of `cuvis_ai_schemas`. `Node` needs torch; all but `ArrayNode` is imported
when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

from cuvis_ai_core.node.array import ArrayNode

if TYPE_CHECKING:
    from cuvis_ai_schemas.execution import Context, Metric
    from cuvis_ai_schemas.pipeline import PortSpec

    from cuvis_ai_core.node.node import Node

__all__ = ["ArrayNode", "Context", "Metric", "Node", "PortSpec"]

_PLACES: Final = {
    "Context": "cuvis_ai_schemas.execution",
    "Metric": "cuvis_ai_schemas.execution",
    "Node": "cuvis_ai_core.node.node",
    "PortSpec": "cuvis_ai_schemas.pipeline",
}


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(_PLACES[name]), name)
    return found
