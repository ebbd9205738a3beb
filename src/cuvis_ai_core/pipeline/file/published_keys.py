"""Keys that published pipeline files spell otherwise, and the content of a file in that spelling."""

from collections.abc import Collection, Mapping
from typing import Any, Final

SPELLINGS: Final[Mapping[object, str]] = {
    "class": "class_name",
    "hparams": "params",
    "connections": "edges",
    "from": "source",
    "to": "target",
}
"""Published spelling to ours."""


def with_hparams(content: Mapping[str, Any], nodes: Collection[str]) -> dict[str, Any]:
    """Return the content of a pipeline file in which some nodes have `hparams` for `params`."""

    def spelled(node: Mapping[str, Any]) -> dict[str, Any]:
        change = node["name"] in nodes
        return {"hparams" if change and key == "params" else key: value for key, value in node.items()}

    return {**content, "nodes": [spelled(node) for node in content["nodes"]]}


def in_published_spelling(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a pipeline file with the published keys: `hparams`, `connections`."""
    renamed = {"connections" if key == "edges" else key: value for key, value in content.items()}
    return with_hparams(renamed, {node["name"] for node in content["nodes"]})
