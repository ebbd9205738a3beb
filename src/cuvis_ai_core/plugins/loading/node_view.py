"""The mapping of node classes that a registry shows of its plugins."""

from collections.abc import Iterator, Mapping
from typing import Any

from cuvis_ai_core.plugins.loading.registered_plugins import Members
from cuvis_ai_core.plugins.node_lookup import Catalogue, checked_name


class PluginNodes(Mapping[str, type]):
    """Read-only view of the node classes of a registry's plugins, asked anew at every access."""

    def __init__(self, members: Members) -> None:
        self._members = members

    def __getitem__(self, name: str) -> type:
        nodes = self._nodes()
        entry = nodes.find(checked_name(name))
        if entry is None:
            raise self._members.not_found(name, nodes.names())
        return nodes.load(entry)

    def get(self, name: str, default: object = None, /) -> Any:
        """Return the class of a name, or `default` where no plugin provides it.

        Raises:
            AmbiguousNodeError: Several plugins provide it.
        """
        if name not in self:
            return default
        return self[name]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._nodes().knows(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._nodes().names())

    def __len__(self) -> int:
        return len(self._nodes().names())

    def _nodes(self) -> Catalogue:
        self._members.complete()
        return self._members.catalogue()
