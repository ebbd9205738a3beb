"""The plugin objects that take part in one registry: built-in, discovered, declared."""

import logging
import threading
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from cuvis_ai_core.builtin import plugin as builtin_readers
from cuvis_ai_core.errors import DiscoveryError
from cuvis_ai_core.plugins.catalogue import Catalogue, Owner, checked_nodes, host_node
from cuvis_ai_core.plugins.discovery import DiscoveredPlugin, discover, strict
from cuvis_ai_core.plugins.manager import HookManager, NodePlugin, PluginState

if TYPE_CHECKING:
    from cuvis_ai_core.plugins.loader import LoadedPlugin

logger = logging.getLogger(__name__)

BUILTIN: Final = "builtin"
"""The name under which the built-in plugin is registered."""


class Members:
    """Who takes part in one registry: objects in its pluggy manager, and what they contribute.

    The manager is made when it is first needed, so that a registry costs nothing before.

    Args:
        builtin_nodes: The table of built-in nodes, which the built-in plugin's hook answers from.
        discovering: Whether discovered plugins take part.
        block: Names of entry points or distributions that do not.

    Attributes:
        declared: The declared plugins that are loaded, by name.
        failed: What could not be loaded, with the reason.
    """

    def __init__(self, builtin_nodes: Mapping[str, type | str], block: frozenset[str], *, discovering: bool) -> None:
        self.declared: dict[str, LoadedPlugin] = {}
        self.failed: dict[str, Exception] = {}
        self._builtin_nodes = builtin_nodes
        self._block = block
        self._discovering = discovering
        self._lock = threading.RLock()
        self._hooks: HookManager | None = None
        self._owners: dict[str, Owner] = {}
        self._nodes: Catalogue | None = None
        self._discovered: dict[str, DiscoveredPlugin] = {}
        self._pending: dict[str, DiscoveredPlugin] = {}

    @property
    def discovered(self) -> Mapping[str, DiscoveredPlugin]:
        """The discovered plugins that take part, by entry-point name."""
        with self._lock:
            self._manager()
            return dict(self._discovered)

    def catalogue(self) -> Catalogue:
        """Return the nodes of plugins that are known without importing plugin code.

        Raises:
            HookError: A plugin's hook answered something else.
        """
        with self._lock:
            hooks = self._manager()
            if self._nodes is None:
                self._nodes = Catalogue(hooks, self._owners)
            return self._nodes

    def answers(self, hook: str) -> Iterator[tuple[str, Any]]:
        """Ask a hook of all plugins and return each one's name with its answer.

        Raises:
            HookError: An implementation raised.
        """
        self.complete()
        return self._manager().answers(hook)

    def announce(self, plugin: str, state: PluginState, detail: str) -> None:
        """Tell the observers that a declared plugin entered a state."""
        self._manager().tell("cuvis_ai_plugin_state", plugin=plugin, state=state, detail=detail)

    def add(self, plugin: object, label: str, owner: Owner | None = None) -> None:
        """Register an object with hook implementations.

        Raises:
            HookError: An implementation does not fit its hook; nothing is registered.
        """
        with self._lock:
            self._manager().add(plugin, label)
            self._owners[label] = owner or Owner(label, partial(host_node, label))
            self._nodes = None

    def remove(self, label: str) -> None:
        """Unregister what was registered under a label."""
        with self._lock:
            self._manager().remove(label)
            self._owners.pop(label, None)
            self._nodes = None

    def admit(self, plugin: "LoadedPlugin") -> None:
        """Register the objects of a declared plugin, or none of them.

        Raises:
            HookError: A hook implementation is wrong.
            InvalidNodeError: It contributes a class that is no node.
        """
        name = plugin.info.name
        with self._lock:
            try:
                for label, each in plugin.plugin_objects():
                    self.add(each, label, Owner(name, plugin.import_node, plugin.classes))
                self.declared[name] = plugin
                self._admit_discovered()
                nodes = self.catalogue()
                for entry in nodes.entries():
                    if entry.plugin == name:
                        nodes.load(entry)
            except BaseException:
                self.dismiss(plugin)
                raise

    def dismiss(self, plugin: "LoadedPlugin") -> None:
        """Unregister the objects of a declared plugin."""
        with self._lock:
            self.declared.pop(plugin.info.name, None)
            for label, _ in plugin.plugin_objects():
                self.remove(label)
            self._admit_discovered()

    def complete(self) -> None:
        """Import the discovered plugins whose contributions cannot be known otherwise, each under a guard.

        Raises:
            DiscoveryError: One is broken, and `CUVIS_STRICT_PLUGINS=1`.
        """
        with self._lock:
            self._manager()
            while self._pending:
                name, plugin = self._pending.popitem()
                try:
                    self._admit_hooks(plugin)
                except DiscoveryError as error:
                    self.failed[name] = error
                    if strict():
                        raise
                    logger.warning("%s", error)

    def _manager(self) -> HookManager:
        with self._lock:
            if self._hooks is None:
                self._hooks = HookManager()
                self._hooks.add(NodePlugin(lambda: list(self._builtin_nodes.values())), "builtin nodes")
                self._hooks.add(builtin_readers, BUILTIN)
                self._admit_discovered()
            return self._hooks

    def _admit_discovered(self) -> None:
        """Have the discovered plugins take part, except those that are declared here as well."""
        declared = {each.info.distribution for each in self.declared.values()}
        found = discover(self._block) if self._discovering else {}
        wanted = {name: each for name, each in found.items() if each.normalised_distribution not in declared}
        for name in self._discovered.keys() - wanted.keys():
            self.remove(_label(name))
        for name in wanted.keys() - self._discovered.keys():
            self._expect(wanted[name])
        self._pending = {name: each for name, each in self._pending.items() if name in wanted}
        self._discovered = wanted
        self._nodes = None

    def _expect(self, plugin: DiscoveredPlugin) -> None:
        """Register a discovered node class; hook implementations wait until something asks for them."""
        if plugin.node_path is None or strict():
            self._pending[plugin.name] = plugin
        if plugin.node_path is not None:
            path = plugin.node_path
            owner = Owner(plugin.name, lambda _: self._discovered_class(plugin))
            self.add(NodePlugin(lambda: [path]), _label(plugin.name), owner)

    def _admit_hooks(self, plugin: DiscoveredPlugin) -> None:
        loaded = plugin.load()
        if plugin.node_path is not None:
            return
        try:
            self.add(loaded, _label(plugin.name), Owner(plugin.name, partial(host_node, plugin.name)))
            self.catalogue()
        except Exception as error:
            self.remove(_label(plugin.name))
            raise plugin.broken(error) from error

    def _discovered_class(self, plugin: DiscoveredPlugin) -> type:
        try:
            found = plugin.load()
            (node,) = checked_nodes(plugin.name, [found])
        except Exception as error:
            self.failed[plugin.name] = error
            raise
        assert isinstance(node, type)
        return node


def _label(name: str) -> str:
    return f"discovered {name}"
