"""The built-in nodes: those of this package, and those that a program registers for every registry."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from cuvis_ai_core.builtin import BUILTIN_NODES
from cuvis_ai_core.errors import DuplicateNodeError
from cuvis_ai_core.node.base import is_node_class
from cuvis_ai_core.plugins.isolation.private_names import PREFIX, class_path
from cuvis_ai_core.plugins.missing_plugin_classes import no_node
from cuvis_ai_core.plugins.node_lookup import checked_name, host_class, not_found

if TYPE_CHECKING:
    from cuvis_ai_core.node.base import NodeMixin


class BuiltinNodes:
    """What a registry's class has: nodes that every instance finds, registered by the class itself."""

    _builtin_registry: ClassVar[dict[str, type | str]] = dict(BUILTIN_NODES)

    @classmethod
    def register(cls, node_class: type) -> type:
        """Register a class as a built-in node (a decorator).

        A class of a declared plugin is returned as it is: what is built in is there for every registry, and such a
        class only where its plugin is loaded. The plugin's `provides`, or its hooks, contribute it. A class that is
        written anew, as when a notebook's cell runs again or a module is reloaded, takes the place of the one before.

        Raises:
            DuplicateNodeError: There is another built-in node of that name, of another path.
            InvalidNodeError: The class is no node.
        """
        if not is_node_class(node_class):
            raise no_node(getattr(node_class, "__qualname__", repr(node_class)), None, node_class)
        if node_class.__module__.startswith(PREFIX):
            return node_class
        name, path = node_class.__name__, class_path(node_class)
        known = cls._builtin_registry.get(name)
        # Its path stands there, as text, until somebody asks for the class.
        if known is not None and (known if isinstance(known, str) else class_path(known)) != path:
            raise DuplicateNodeError(
                f"A built-in node '{name}' is registered already: {known!r}; {path} cannot take its name.",
                hint="Rename the class, or contribute it by a plugin.",
                node=name,
            )
        cls._builtin_registry[name] = node_class
        return node_class

    @classmethod
    def auto_register_package(cls, package_name: str, base_class_path: str = "cuvis_ai_core.node.node.Node") -> int:
        """Import all modules of an installed package, and register the node classes that they define as built-in ones.

        A class takes the short name of a built-in node from it, which is logged; full paths keep naming both. A module
        that cannot be imported is left out, which is logged.

        Args:
            package_name: The package: `cuvis_ai.node`.
            base_class_path: Only classes that derive from this one count.

        Returns:
            How many node classes of the package are registered.

        Raises:
            InvalidNodeError: There is no such package, or no such base class.
        """
        from cuvis_ai_core.plugins.package_nodes import node_classes

        found = node_classes(package_name, base_class_path)
        return sum(cls._take(each) for each in found)

    @classmethod
    def _take(cls, node_class: type) -> bool:
        from cuvis_ai_core.plugins.package_nodes import say_replaced

        known = cls._builtin_registry.get(node_class.__name__)
        if known is not None and known not in (node_class, class_path(node_class)):
            say_replaced(node_class, known)
        cls._builtin_registry[node_class.__name__] = node_class
        return True

    @classmethod
    def clear(cls) -> None:
        """Forget the nodes that were registered; those of this package stay."""
        # In place: the registries that there are hold this very dictionary.
        cls._builtin_registry.clear()
        cls._builtin_registry.update(BUILTIN_NODES)

    @classmethod
    def list_builtin_nodes(cls) -> list[str]:
        """Return the short names of the built-in nodes."""
        return sorted(cls._builtin_registry)

    @classmethod
    def get_builtin_class(cls, class_name: str) -> type[NodeMixin]:
        """Return a built-in node by its short name.

        Raises:
            NodeNotFoundError: There is none.
        """
        found = cls._builtin(checked_name(class_name))
        if found is None:
            raise not_found(class_name, cls._builtin_registry, cls._builtin_registry)
        return found

    @classmethod
    def _get_builtin(cls, name: str, *, importing: bool) -> type:
        found = cls._builtin(checked_name(name)) or host_class(name, importing=importing)
        if found is None:
            raise not_found(name, cls._builtin_registry, cls._builtin_registry)
        return found

    @classmethod
    def _builtin(cls, name: str) -> type | None:
        known = cls._builtin_registry.get(name)
        if isinstance(known, str):
            known = cls._builtin_registry[name] = host_class(known) or known
        return known if isinstance(known, type) else None
