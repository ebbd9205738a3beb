"""The plugin objects that take part in one registry: built-in, discovered, declared; and the view of their nodes."""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from cuvis_ai_core.builtin import plugin as builtin_readers
from cuvis_ai_core.errors import DiscoveryError, HookError, NodeNotFoundError, NotAllowedError
from cuvis_ai_core.node.base import is_node_class
from cuvis_ai_core.plugins.hooks.discovery import DiscoveredPlugin, discover, strict
from cuvis_ai_core.plugins.hooks.manager import HookManager, NodePlugin, contribution
from cuvis_ai_core.plugins.missing_plugin_classes import no_node
from cuvis_ai_core.plugins.node_lookup import Catalogue, Owner, checked_name, host_node, not_found
from cuvis_ai_core.plugins.plugin_info import PluginState
from cuvis_ai_core.plugins.policy.file_location import none_is_there

if TYPE_CHECKING:
    from cuvis_ai_core.plugins.loading.scoped_plugin import LoadedPlugin

logger = logging.getLogger(__name__)

BUILTIN: Final = "builtin"
"""The name under which the built-in plugin is registered."""

_BUILTIN_NODES: Final = "builtin nodes"


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
        # Reentrant: importing a plugin may register another one, or ask this registry.
        self._lock = threading.RLock()
        self._hooks: HookManager | None = None
        self._owners: dict[str, Owner] = {}
        self._nodes: Catalogue | None = None
        self._generation = 0
        self._discovered: dict[str, DiscoveredPlugin] = {}
        self._unseen: dict[str, DiscoveredPlugin] = {}
        self._broken: dict[str, Exception] = {}

    @property
    def discovered(self) -> Mapping[str, DiscoveredPlugin]:
        """The discovered plugins that take part, by the name they have in this environment (see `discover`)."""
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
            generation = hooks.generation  # users may register and unregister there as well
            if self._nodes is None or self._generation != generation:
                self._nodes, self._generation = Catalogue(hooks, self._owner_of), generation
            return self._nodes

    def not_found(self, name: str, known: Iterable[str]) -> NodeNotFoundError:
        """Return the error for a node that nobody knows, where these short names would have been found."""
        return not_found(name, known, self._builtin_nodes, list(self.declared), self.discovered)

    def answers(self, hook: str) -> list[tuple[str, Any]]:
        """Ask a hook of all plugins and return each one's name with its answer.

        Raises:
            HookError: An implementation raised.
        """
        self.complete()
        return self._manager().answers(hook)

    def owner(self, label: str) -> str:
        """Return the name of the plugin that was registered under a label; of a discovered one, of its distribution."""
        with self._lock:
            owner = self._owners.get(label)
            name = owner.plugin if owner is not None else label
            discovered = None if name in self.declared else self._discovered.get(name)
            return discovered.distribution if discovered is not None else name

    def _owner_of(self, label: str) -> Owner | None:
        """Return whom a registered object belongs to; None for the built-in nodes, which are in no catalogue."""
        if label == _BUILTIN_NODES:
            return None
        return self._owners.get(label) or Owner(label, partial(host_node, label))

    def announce(self, plugin: str, state: PluginState, detail: str) -> None:
        """Tell the observers that a declared plugin entered a state."""
        logger.info("plugin '%s': %s %s", plugin, state, detail)
        self._manager().hook.cuvis_ai_plugin_state(plugin=plugin, state=state, detail=detail)

    def add(self, plugin: object, label: str, owner: Owner | None = None) -> None:
        """Register an object with hook implementations.

        Raises:
            HookError: An implementation does not fit its hook; nothing is registered.
        """
        with self._lock:
            self._manager().add(plugin, label)
            self._owners.pop(label, None)
            if owner is not None:
                self._owners[label] = owner

    def remove(self, label: str) -> None:
        """Unregister what was registered under a label."""
        with self._lock:
            self._manager().remove(label)
            self._owners.pop(label, None)
            self._nodes = None  # which holds classes, and by them all of an unloaded plugin

    def take_out(self, plugin: object) -> None:
        """Unregister an object of the user's own.

        Raises:
            HookError: It is not registered, or is a part of a loaded plugin, which is unloaded as a whole.
        """
        with self._lock:
            label = self._manager().get_name(plugin)
            if label is None or label in self._owners or label in {BUILTIN, _BUILTIN_NODES}:
                raise HookError(
                    f"No object of type {type(plugin).__name__} was registered here by register_hooks.",
                    hint="A plugin of a manifest is taken out by unload_plugin.",
                )
            self.remove(label)

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
                        # Now, not at first use: a class that is no node refuses the whole plugin, as a broken import
                        # does.
                        nodes.load(entry)
            # Ctrl-C too: half of a plugin would stay registered.
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
            DiscoveryError: One is broken, and `CUVIS_STRICT_PLUGINS=1`; of several the first by name.
        """
        with self._lock:
            self._manager()
            while (name := self._next_unseen()) is not None:
                try:
                    self._import(name, self._unseen.pop(name))
                except DiscoveryError as error:
                    self._blame(name, error)
                    if not strict():
                        logger.warning("%s", error)
            if self._broken and strict():
                # Raised again and again: each time Python would add to the traceback that is there.
                raise self._broken[min(self._broken)].with_traceback(None)

    def hooks(self) -> HookManager:
        """Return the pluggy manager."""
        return self._manager()

    def _manager(self) -> HookManager:
        with self._lock:
            if self._hooks is None:
                self._hooks = HookManager()
                self._hooks.add(NodePlugin(lambda: list(self._builtin_nodes.values())), _BUILTIN_NODES)
                self._hooks.add(builtin_readers, BUILTIN)
                self._admit_discovered()
            return self._hooks

    def _admit_discovered(self) -> None:
        """Have the discovered plugins take part, except those that are declared here as well."""
        declared = {each.info.distribution for each in self.declared.values()}
        # Anew each time: a declared plugin takes the place of the same distribution, and gives it back.
        found = self._allowed(discover(self._block)) if self._discovering else {}
        wanted = {name: each for name, each in found.items() if each.normalised_distribution not in declared}
        for name in [name for name, each in self._discovered.items() if wanted.get(name) != each]:
            self._forget(name)
        for name in [name for name, each in wanted.items() if self._discovered.get(name) != each]:
            self._expect(name, wanted[name])
        self._discovered = wanted

    def _allowed(self, found: Mapping[str, DiscoveredPlugin]) -> dict[str, DiscoveredPlugin]:
        """Return those that the policy allows; of the others it is noted why they take no part."""
        if none_is_there():
            return dict(found)
        from cuvis_ai_core.plugins.cache import policy_checks

        refused = policy_checks.refused_distributions({name: each.distribution for name, each in found.items()})
        for name, error in refused.items():
            if str(self.failed.get(name)) != str(error):
                logger.warning("%s", error)
                self.failed[name] = error
        for name in [
            name for name in found if name not in refused and isinstance(self.failed.get(name), NotAllowedError)
        ]:
            del self.failed[name]
        return {name: each for name, each in found.items() if name not in refused}

    def _forget(self, name: str) -> None:
        self.remove(_label(name))
        self._unseen.pop(name, None)
        self._absolve(name)

    def _expect(self, name: str, plugin: DiscoveredPlugin) -> None:
        """Register a discovered node class; hook implementations wait until something asks for them."""
        self._unseen[name] = plugin
        path = plugin.node_path
        if path is not None:
            self._add_discovered(name, plugin, NodePlugin(lambda: [path]), lambda _: self._node_class(name, plugin))

    def _next_unseen(self) -> str | None:
        """Return the first plugin that has to be imported: one that is no class; in strict mode any."""
        everyone = strict()
        # By name: the order of imports, and so of errors, does not depend on that of folders.
        return min((name for name, each in self._unseen.items() if everyone or each.node_path is None), default=None)

    def _import(self, name: str, plugin: DiscoveredPlugin) -> None:
        """Import a discovered plugin, and register it unless that was possible before.

        Raises:
            DiscoveryError: It is broken, or contributes nothing.
        """
        try:
            if plugin.node_path is None:
                self._admit_loaded(name, plugin)
            else:
                self._node_class(name, plugin)
        except DiscoveryError:
            raise
        except Exception as error:
            raise plugin.broken(error) from error

    def _admit_loaded(self, name: str, plugin: DiscoveredPlugin) -> None:
        contributed = contribution(plugin.load())
        try:
            self._add_discovered(name, plugin, contributed, partial(host_node, name))
            self.catalogue()
        except Exception:
            self.remove(_label(name))
            raise

    def _add_discovered(
        self, name: str, plugin: DiscoveredPlugin, contributed: object, importer: Callable[[str], type]
    ) -> None:
        owner = Owner(name, importer, distribution=plugin.normalised_distribution)
        self.add(contributed, _label(name), owner)

    def _node_class(self, name: str, plugin: DiscoveredPlugin) -> type:
        """Import the node class that an entry point names.

        Raises:
            DiscoveryError: It cannot be imported.
            InvalidNodeError: It is no node.
        """
        try:
            found = _loaded_class(name, plugin)
        except Exception as error:
            self._blame(name, error)
            raise
        self._absolve(name)
        return found

    def _blame(self, name: str, error: Exception) -> None:
        self._broken[name] = self.failed[name] = error

    def _absolve(self, name: str) -> None:
        error = self._broken.pop(name, None)
        # A declared plugin may have failed under the same name.
        if error is not None and self.failed.get(name) is error:
            del self.failed[name]


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


def _loaded_class(name: str, plugin: DiscoveredPlugin) -> type:
    found = plugin.load()
    if isinstance(found, type) and is_node_class(found):
        return found
    raise no_node(plugin.node_path or plugin.value, name, found)


def _label(name: str) -> str:
    return f"discovered {name}"
