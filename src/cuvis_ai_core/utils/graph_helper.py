"""The published rearrangement of what a pipeline answers."""

from collections.abc import Mapping
from typing import Any


def restructure_output_to_node_dict(outputs: Mapping[tuple[str, str], Any]) -> dict[str, dict[str, Any]]:
    """Return outputs by node and then by port, of outputs by both.

    Args:
        outputs: What `Pipeline.forward` returned.
    """
    nodes: dict[str, dict[str, Any]] = {}
    for (node, port), value in outputs.items():
        nodes.setdefault(node, {})[port] = value
    return nodes
