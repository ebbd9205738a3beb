"""The node objects of a pipeline or a graph: by name, one after the other, or as a list when they are called."""

from collections.abc import ItemsView, Iterator, KeysView, Mapping, ValuesView
from typing import Any


class NodeView:
    """The node objects of a pipeline: one after the other, by name, or as a list when it is called.

    Published software walks over nodes, and ours asks for them by name; a mapping would yield names.

    Args:
        nodes: The node objects by name.
    """

    __slots__ = ("_nodes",)

    def __init__(self, nodes: Mapping[str, Any]) -> None:
        self._nodes = nodes

    def __iter__(self) -> Iterator[Any]:
        return iter(self._nodes.values())

    def __call__(self) -> list[Any]:
        """Return the node objects."""
        return list(self)

    def __getitem__(self, name: str) -> Any:
        return self._nodes[name]

    def __contains__(self, node: object) -> bool:
        """Tell whether a name, or a node object, is one of this pipeline."""
        # By identity: two nodes of one class and the same parameters are two.
        return node in self._nodes if isinstance(node, str) else any(each is node for each in self)

    def __len__(self) -> int:
        return len(self._nodes)

    def get(self, name: str, default: Any = None) -> Any:
        """Return the node object of a name, or something else where there is none."""
        return self._nodes.get(name, default)

    def keys(self) -> KeysView[str]:
        """Return the names."""
        return self._nodes.keys()

    def values(self) -> ValuesView[Any]:
        """Return the node objects."""
        return self._nodes.values()

    def items(self) -> ItemsView[str, Any]:
        """Return names and node objects."""
        return self._nodes.items()

    def __repr__(self) -> str:
        return f"NodeView({list(self._nodes)})"


class Nodes(Mapping[str, Any]):
    """Node objects by name; called, as published software does, it is a list of them.

    Args:
        nodes: The node objects by name.
    """

    __slots__ = ("_nodes",)

    def __init__(self, nodes: Mapping[str, Any]) -> None:
        self._nodes = dict(nodes)

    def __call__(self) -> list[Any]:
        """Return the node objects."""
        return list(self._nodes.values())

    def __getitem__(self, name: str) -> Any:
        return self._nodes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._nodes)

    def __len__(self) -> int:
        return len(self._nodes)

    def __repr__(self) -> str:
        return f"Nodes({self._nodes!r})"
