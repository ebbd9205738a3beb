"""The nodes that a registry's plugins contribute, by full path and by short name."""

import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import NamedTuple

from cuvis_ai_core.errors import AmbiguousNodeError, InvalidNodeError, NodeNotFoundError
from cuvis_ai_core.node.base import is_node_class
from cuvis_ai_core.plugins.hooks.discovery import is_path, refuse_module
from cuvis_ai_core.plugins.hooks.hook_answers import checked_nodes
from cuvis_ai_core.plugins.hooks.manager import HookManager
from cuvis_ai_core.plugins.isolation.private_names import PREFIX, class_path, public_name, without_private_names
from cuvis_ai_core.plugins.missing_plugin_classes import no_node

_CORE = "cuvis_ai_core"


class NodeEntry(NamedTuple):
    """One node, known without importing it where its plugin names it by path.

    Attributes:
        name: Short name: the class name.
        path: Public full path.
        plugin: Name of the plugin that contributes it; None for built-in nodes.
    """

    name: str
    path: str
    plugin: str | None


class Owner(NamedTuple):
    """Whom a registered plugin object belongs to.

    Attributes:
        plugin: Name of the plugin.
        importer: Imports one of its node classes by public path.
        paths: Classes by the paths under which they were declared, where these say more than the class does.
        distribution: Of a discovered plugin. Its entry points may name one class twice.
    """

    plugin: str
    importer: Callable[[str], type]
    paths: Mapping[str, type] = MappingProxyType({})
    distribution: str | None = None

    def shares_nodes(self, other: "Owner") -> bool:
        """Tell whether equal paths of the two mean one class."""
        if self.distribution or other.distribution:
            return self.distribution == other.distribution
        return self.plugin == other.plugin


class Catalogue:
    """What the hook `cuvis_ai_nodes` answers for the plugins of one manager.

    Args:
        manager: The manager to ask.
        owner_of: Returns the owner of what is registered under a name; None for what is left out.

    Raises:
        HookError: An answer is no collection of classes and import paths.
    """

    def __init__(self, manager: HookManager, owner_of: Callable[[str], Owner | None]) -> None:
        self._by_path: dict[str, list[NodeEntry]] = {}
        self._by_name: dict[str, list[NodeEntry]] = {}
        self._classes: dict[NodeEntry, type] = {}
        self._owners: dict[NodeEntry, Owner] = {}
        # From the first one registered on: what a manifest says of a class goes before what hooks say of it.
        for registered, answer in reversed(manager.answers("cuvis_ai_nodes")):
            owner = owner_of(registered)
            if owner is not None:
                for node in checked_nodes(registered, answer):
                    self._add(owner, node)

    def entries(self) -> list[NodeEntry]:
        """Return all nodes, sorted by name."""
        return sorted(self._owners, key=lambda entry: (entry.name, entry.path))

    def names(self) -> list[str]:
        """Return the short names."""
        return sorted(self._by_name)

    def knows(self, name: str) -> bool:
        """Tell whether some plugin provides a node of that short name or full path."""
        return bool(self._matches(name))

    def find(self, name: str) -> NodeEntry | None:
        """Return the node of a full path or a short name; a path that matches none may fall back to its class name.

        Raises:
            AmbiguousNodeError: Several plugins provide it.
        """
        found = self._matches(name)
        return self._single(name, found) if found else None

    def by_last_component(self, name: str) -> NodeEntry | None:
        """Return the node whose class name ends a dotted path, with a warning: a last resort.

        Raises:
            AmbiguousNodeError: Several plugins provide it.
        """
        found = self._by_name.get(name.rpartition(".")[2])
        if not found:
            return None
        entry = self._single(name, found)
        warnings.warn(
            f"There is no package '{name.partition('.')[0]}'; using '{entry.path}' of plugin '{entry.plugin}' "
            f"for '{name}'.",
            # Past `_get_node` and `get`: the warning names the line of the program that asked.
            stacklevel=4,
        )
        return entry

    def load(self, entry: NodeEntry) -> type:
        """Return the class of a node.

        Raises:
            InvalidNodeError: It cannot be imported, or is no node.
        """
        if entry not in self._classes:
            self._classes[entry] = self._owners[entry].importer(entry.path)
        return self._classes[entry]

    def path_of(self, node_class: type) -> str | None:
        """Return the path under which a plugin declared a class."""
        return next((entry.path for entry, known in self._classes.items() if known is node_class), None)

    def names_of(self, plugin: str) -> set[str]:
        """Return the short names and the full paths of a plugin's nodes."""
        mine = [entry for entry in self._owners if entry.plugin == plugin]
        return {name for entry in mine for name in (entry.name, entry.path)}

    def _matches(self, name: str) -> list[NodeEntry]:
        exact = self._by_path.get(name) or self._by_name.get(name)
        if exact or not is_path(name):
            return exact or []
        top, last = name.partition(".")[0], name.rpartition(".")[2]
        return [entry for entry in self._by_name.get(last, ()) if entry.path.partition(".")[0] == top]

    def _single(self, name: str, found: list[NodeEntry]) -> NodeEntry:
        if len(found) > 1:
            candidates = tuple(f"{entry.path} (plugin '{entry.plugin}')" for entry in found)
            distinct = len({entry.path for entry in found}) == len(found)
            way = "Use the full path" if distinct else "Unload or block all but one of them"
            raise AmbiguousNodeError(
                f"Node '{name}' is ambiguous: {' and '.join(candidates)} provide it.",
                hint=f"{way}, or load the plugins into registries of their own.",
                node=name,
                candidates=tuple(entry.path for entry in found),
            )
        return found[0]

    def _add(self, owner: Owner, node: type | str) -> None:
        if isinstance(node, str):
            # A plugin may build a path from its `__name__`, which is private.
            paths = [public_name(node)]
        else:
            paths = [*(path for path, known in owner.paths.items() if known is node), class_path(node)]
        entry = NodeEntry(paths[0].rpartition(".")[2], paths[0], owner.plugin)
        if any(owner.shares_nodes(self._owners[known]) for path in paths for known in self._by_path.get(path, ())):
            return
        self._owners[entry] = owner
        if not isinstance(node, str):
            self._classes[entry] = node
        for path in dict.fromkeys(paths):
            self._by_path.setdefault(path, []).append(entry)
        self._by_name.setdefault(entry.name, []).append(entry)


def host_class(path: str, *, importing: bool = True) -> type | None:
    """Return the node class at a dotted path of an installed distribution, or None where there is nothing.

    Args:
        path: The path, which may come from a file.
        importing: Whether its module may be imported; without it the class is found where the program has done so.

    Raises:
        InvalidNodeError: What is there cannot be imported, is no node class, or is no part of a distribution.
        NotAllowedError: It is of a pip-installed plugin that the policy does not allow.
    """
    if not is_path(path) or path.startswith(PREFIX):
        return None
    refuse_module(path)
    module = path.rpartition(".")[0]
    top = module.partition(".")[0]
    if module in sys.modules or top == _CORE:
        # To import the `__main__` of a package is to run it as a program.
        return None if "__main__" in module.split(".")[1:] else _class_at(path)
    from cuvis_ai_core.plugins.allowed_imports import is_importable, place_of_package

    if is_importable(module):
        return _class_at(path) if importing else None
    place = place_of_package(module)
    if place is None or not importing:
        return None
    raise InvalidNodeError(
        f"'{path}' was not imported: '{top}' ({place}) is no part of an installed distribution or of a loaded plugin.",
        hint="Files name classes of these alone. If the code is yours, declare it as a plugin ('path:' in a manifest), "
        "install it, or import it before the pipeline is loaded.",
        node=path,
    )


def _class_at(path: str) -> type | None:
    module_name, _, class_name = path.rpartition(".")
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        # Only where the module itself is not there: what it imports in vain is a fault of its own.
        if error.name and f"{module_name}.".startswith(f"{error.name}."):
            return None
        raise _broken(path, error) from error
    except (Exception, SystemExit) as error:
        raise _broken(path, error) from error
    found = getattr(module, class_name, None)
    if found is None:
        return None
    if not is_node_class(found):
        raise no_node(path, None, found)
    assert isinstance(found, type)
    return found


def host_node(plugin: str, path: str) -> type:
    """Return the node class that a plugin of the host environment names by its import path.

    Raises:
        InvalidNodeError: There is none.
    """
    found = _class_at(path) if is_path(path) and not path.startswith(PREFIX) else None
    if found is None:
        raise no_node(path, plugin)
    return found


def checked_name(name: object) -> str:
    """Return the name of a node that somebody asks for.

    Raises:
        InvalidNodeError: It is no text.
    """
    if isinstance(name, str):
        return name
    raise InvalidNodeError(
        f"{name!r} is no name of a node: a node is named by text.",
        hint='For example: registry.get("RXDetector")',
        node=repr(name),
    )


def not_found(
    name: str,
    known: Iterable[str],
    builtin: Mapping[str, type | str],
    declared: Iterable[str] = (),
    discovered: Iterable[str] = (),
) -> NodeNotFoundError:
    """Return the error for a node that nobody knows, with near names and the way to load plugins.

    Args:
        name: What was asked for.
        known: The short names that would have been found.
        builtin: The built-in nodes.
        declared: Names of the declared plugins that are loaded.
        discovered: Names of the discovered plugins.
    """
    names, loaded, installed = sorted(known), sorted(declared), sorted(discovered)
    text = f"Node '{name}' not found in registry."
    from cuvis_ai_core._nearest import did_you_mean

    if meant := did_you_mean(name.rpartition(".")[2], names, most=3):
        text += f"\n{meant.strip()}"
    text += f"\nLoaded plugins: {', '.join(loaded) or 'none'}."
    if installed:
        text += f" Discovered plugins: {', '.join(installed)}."
    text += f" Known nodes: {', '.join(names) or 'none'}."
    if name in builtin:
        text += f"\n'{name}' is a built-in node: NodeRegistry.get({name!r})"
    elif not loaded and not name.startswith("cuvis_ai_core."):
        text += _EXTERNAL
    return NodeNotFoundError(text, node=name)


_EXTERNAL = """

⚠️  This appears to be an external plugin node!
Did you forget to load plugins?

For CLI usage:
  uv run restore-pipeline --pipeline-path <path> --plugins-path plugins.yaml

For Python usage:
  registry = NodeRegistry()
  registry.load_plugins('path/to/plugins.yaml')"""


def _broken(path: str, error: BaseException) -> InvalidNodeError:
    reason = without_private_names(f"{type(error).__name__}: {error}")
    return InvalidNodeError(f"'{path}' could not be imported: {reason}", node=path)
