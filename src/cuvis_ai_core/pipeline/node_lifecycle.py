"""What nodes are told around the runs of a pipeline: to prepare before the first inference, to let go at the end."""

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cuvis_ai_core.errors import CuvisError, NodeRunError, RemoteError
from cuvis_ai_core.node.base import overrides
from cuvis_ai_core.node.gradient_modes import without_gradients

if TYPE_CHECKING:
    from cuvis_ai_core.pipeline.pipeline import Pipeline

logger = logging.getLogger(__name__)

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


def close_nodes(nodes: Mapping[str, Any]) -> None:
    """Call `cleanup` and `close` of the nodes that have them; what one raises is logged."""
    for name, node in nodes.items():
        for method in ("cleanup", "close"):
            if callable(end := getattr(node, method, None)):
                try:
                    end()
                except Exception:
                    # What one raises keeps none of the others from ending.
                    logger.exception("node '%s' failed in %s", name, method)
