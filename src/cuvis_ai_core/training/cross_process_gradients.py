"""Whether training would need gradients from nodes in another process, from which none come."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from cuvis_ai_core.errors import TrainRunError
from cuvis_ai_core.node.proxy_nodes import is_elsewhere
from cuvis_ai_core.node.torch_modules import is_module

if TYPE_CHECKING:
    from cuvis_ai_core.pipeline.pipeline import Pipeline


def refuse_gradients_from_elsewhere(pipeline: "Pipeline", loss_nodes: Iterable[str]) -> None:
    """Refuse to train a node in another process, or one whose gradient would come through such a node.

    Raises:
        TrainRunError: A loss depends on that.
    """
    deciding = {each for name in loss_nodes for each in _feeders(pipeline, name)}
    for name in pipeline.order:
        node = pipeline.nodes[name]
        if name not in deciding or not is_elsewhere(node):
            continue
        if node.has_trainable_parameters and not node.frozen:
            raise TrainRunError(
                f"Node '{name}' would be trained, but it is in a process of its own, from which no gradients come.",
                hint=f"Freeze it (freeze_nodes: [{name}]), or load its plugin with isolation: scoped.",
                key="freeze_nodes",
            )
        trained = [each for each in _feeders(pipeline, name) if each != name and _is_trained(pipeline, each)]
        if trained:
            raise TrainRunError(
                f"Node '{trained[0]}' would be trained through node '{name}', which is in a process of its own, from "
                "which no gradients come.",
                hint=f"Freeze it (freeze_nodes: [{trained[0]}]), or load the other's plugin with isolation: scoped.",
                key="freeze_nodes",
            )


def _feeders(pipeline: "Pipeline", name: str) -> list[str]:
    """Return a node and all nodes whose values reach it, in the order in which they run."""
    found = {name}
    # Backwards: whatever a node feeds was looked at before it.
    for each in reversed(pipeline.order):
        if each in found:
            found |= {edge.source for edge in pipeline.edges if edge.target == each}
    return [each for each in pipeline.order if each in found]


def _is_trained(pipeline: "Pipeline", name: str) -> bool:
    node: Any = pipeline.nodes[name]
    return is_module(node) and any(each.requires_grad for each in node.parameters())
