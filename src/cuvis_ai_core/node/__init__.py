"""What a node is: ports, hyper-parameters, stages and base classes.

`PortSpec`, `Context` and `Metric` are those of `cuvis_ai_schemas`. `Node` needs torch; all but `ArrayNode` is imported
when it is first asked for.
"""

from typing import TYPE_CHECKING

from cuvis_ai_core._lazy_imports import late
from cuvis_ai_core.node.array_node import ArrayNode

if TYPE_CHECKING:
    from cuvis_ai_schemas.execution import Context, Metric
    from cuvis_ai_schemas.pipeline import PortSpec

    from cuvis_ai_core.node.node import Node

__all__ = ["ArrayNode", "Context", "Metric", "Node", "PortSpec"]

__getattr__, __dir__ = late(
    __name__,
    {
        "Context": "cuvis_ai_schemas.execution",
        "Metric": "cuvis_ai_schemas.execution",
        "Node": "cuvis_ai_core.node.node",
        "PortSpec": "cuvis_ai_schemas.pipeline",
    },
)
