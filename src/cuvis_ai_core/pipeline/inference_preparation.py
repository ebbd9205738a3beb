"""What nodes make of weights and device before the first inference."""

from typing import TYPE_CHECKING

from cuvis_ai_core.errors import CuvisError, NodeRunError, RemoteError
from cuvis_ai_core.node.base import overrides
from cuvis_ai_core.node.gradient_modes import without_gradients

if TYPE_CHECKING:
    from cuvis_ai_core.pipeline.pipeline import Pipeline

_METHOD = "prepare_inference"


def prepare_nodes(pipeline: "Pipeline") -> None:
    """Call `prepare_inference` of the nodes that have one, in the order in which they run.

    Raises:
        NodeRunError: A node failed.
    """
    for name in pipeline.order:
        node = pipeline.nodes[name]
        if not overrides(type(node), _METHOD):
            continue
        try:
            with without_gradients([node]):
                getattr(node, _METHOD)()
        except Exception as error:
            # What a worker's node raised comes as one of ours, and does not say which node that was.
            if isinstance(error, CuvisError) and not isinstance(error, RemoteError):
                raise
            from cuvis_ai_core._error_location import place_of, words_of

            place = place_of(error, node)
            raise NodeRunError(
                f"Node '{name}' ({type(node).__name__}) could not prepare for inference: {words_of(error)}"
                + (f" ({place})" if place else ""),
                node=name,
                place=place,
            ) from error
