"""Pluggy for one registry: what is registered, and what hooks answer."""

import inspect
import threading
from collections.abc import Callable
from functools import cached_property
from types import ModuleType
from typing import Any, Final

import cuvis_ai_hookspecs
import pluggy

from cuvis_ai_core.errors import HookError
from cuvis_ai_core.node.base import is_node_class
from cuvis_ai_core.plugins.hooks.exception_guard import Heard, guard
from cuvis_ai_core.plugins.isolation.private_names import class_path, public_name, without_private_names

_PROPERTIES: Final = (property, cached_property)

_HOOKS: Final = frozenset(name for name in cuvis_ai_hookspecs.__all__ if name.startswith("cuvis_ai_"))


class HookManager(pluggy.PluginManager):
    """The pluggy manager of one registry.

    pluggy dispatches: `manager.hook.cuvis_ai_nodes()`. What an implementation raises is logged, and keeps nothing from
    the others.

    Attributes:
        generation: Counts what was registered and unregistered.
        monitored: How many monitors of hook calls there are.
    """

    def __init__(self) -> None:
        super().__init__("cuvis_ai")
        self.add_hookspecs(cuvis_ai_hookspecs)
        self.generation = 0
        self.monitored = 0
        self._asking = threading.local()

    def register(self, plugin: object, name: str | None = None) -> str | None:
        """Register a plugin as pluggy does, with a guard around each of its implementations of our hooks."""
        registered = super().register(plugin, name)
        self.generation += 1
        for caller in self.get_hookcallers(plugin) or ():
            for implementation in caller.get_hookimpls() if caller.name in _HOOKS else ():
                if implementation.plugin is plugin:
                    guard(implementation, caller.name, self.heard)
        return registered

    def unregister(self, plugin: object | None = None, name: str | None = None) -> Any:
        """Unregister a plugin as pluggy does."""
        self.generation += 1
        return super().unregister(plugin, name)

    def add_hookcall_monitoring(self, before: Callable[..., None], after: Callable[..., None]) -> Callable[[], None]:
        """Have all hook calls monitored as pluggy does, also those that nobody listens to."""
        undo = super().add_hookcall_monitoring(before, after)
        self.monitored += 1

        def undo_once() -> None:
            undo()
            self.monitored -= 1

        return undo_once

    def add(self, plugin: object, name: str) -> None:
        """Register an object with hook implementations.

        Raises:
            HookError: A hook has a wrong signature or an unknown name, or lacks its marker, or the object or name is
                registered already; nothing changes.
        """
        self._check_marks(plugin, name)
        try:
            if self.register(plugin, name) is None:
                raise HookError(
                    f"Plugin '{name}': that name is blocked.", hint=f"Call hooks.unblock({name!r}) first.", plugin=name
                )
            self._check_known(plugin)
        except ValueError as error:
            raise HookError(f"Plugin '{name}': this object or name is registered already.", plugin=name) from error
        except pluggy.PluginValidationError as error:
            self.remove(name)
            raise HookError(
                f"Plugin '{name}': {_flat(error)}",
                hint="The hooks and their exact arguments: docs/reference/hooks.md",
                plugin=name,
                hook=next((hook for hook in sorted(_HOOKS) if hook in str(error)), ""),
            ) from error

    def remove(self, name: str) -> None:
        """Unregister what was registered under a name; nothing there is fine."""
        if self.has_plugin(name):
            self.unregister(name=name)

    def answers(self, hook: str) -> list[tuple[str, Any]]:
        """Call a hook without arguments and return each plugin's name with its answer, in the order of pluggy.

        Raises:
            HookError: An implementation raised; of several the one that was called first.
        """
        heard, outer = Heard(hook), self._asked
        self._asking.heard = heard
        try:
            result = getattr(self.hook, hook)()
        finally:
            self._asking.heard = outer
        if heard.failed:
            raise heard.failed[0]
        if not heard.handed_on:
            return list(heard.answered)
        from cuvis_ai_core.plugins.hooks.hook_answers import of_plugins

        return of_plugins(heard, result)

    def heard(self, hook: str) -> Heard | None:
        """Return what takes note of the answers to a hook; None where it was called by somebody else than `answers`."""
        return self._asked if self._asked is not None and self._asked.hook == hook else None

    def parse_hookimpl_opts(self, plugin: object, name: str) -> Any:
        """Leave out what Python itself put there: pluggy inspects every attribute, which costs more than all else.

        Properties as well, which pluggy reads before 1.7.
        """
        if name.startswith("__") or _is_property(plugin, name):
            return None
        return super().parse_hookimpl_opts(plugin, name)

    def parse_hookspec_opts(self, module_or_class: Any, name: str) -> Any:
        """Look at hooks only, where we know them."""
        known = module_or_class is not cuvis_ai_hookspecs or name in _HOOKS
        return super().parse_hookspec_opts(module_or_class, name) if known else None

    @property
    def _asked(self) -> Heard | None:
        return getattr(self._asking, "heard", None)

    def _check_known(self, plugin: object) -> None:
        """Refuse hooks that there are not, as `check_pending` does, of this plugin only.

        Raises:
            pluggy.PluginValidationError: There is one.
        """
        for caller in self.get_hookcallers(plugin) or ():
            for each in caller.get_hookimpls() if caller.spec is None else ():
                if each.plugin is plugin and not each.optionalhook:
                    raise pluggy.PluginValidationError(plugin, f"unknown hook {caller.name!r} in plugin {plugin!r}")

    def _check_marks(self, plugin: object, name: str) -> None:
        for hook in _HOOKS:
            function = getattr(plugin, hook, None)
            if function is None or hasattr(function, f"{self.project_name}_spec"):
                continue
            options = getattr(function, f"{self.project_name}_impl", None)
            if options is None:
                raise HookError(
                    f"Plugin '{name}': hook {hook} is not marked with @hookimpl.",
                    hint="from cuvis_ai_hookspecs import hookimpl, and write @hookimpl above the function.",
                    plugin=name,
                    hook=hook,
                )


class NodePlugin:
    """A plugin object that contributes node classes, each given as a class or as its import path."""

    def __init__(self, nodes: Callable[[], list[type | str]]) -> None:
        self._nodes = nodes

    @cuvis_ai_hookspecs.hookimpl
    def cuvis_ai_nodes(self) -> list[type | str]:
        """Return the node classes."""
        return self._nodes()


def contribution(loaded: object) -> object:
    """Return the plugin object that contributes what an entry point names: a node class, or hook implementations.

    Raises:
        HookError: It is neither.
    """
    if isinstance(loaded, type) and is_node_class(loaded):
        return NodePlugin(lambda: [loaded])
    names = (name for name in dir(loaded) if not name.startswith("__") and not _is_property(loaded, name))
    # As pluggy does, and not statically: the mark of a static method, or of a class's, is on the function in it.
    if any(_is_hook(name, getattr(loaded, name, None)) for name in names):
        return loaded
    if isinstance(loaded, type):
        what = f"class '{class_path(loaded)}'"
    elif isinstance(loaded, ModuleType):
        what = f"module '{public_name(loaded.__name__)}'"
    else:
        what = f"an object of class '{class_path(type(loaded))}'"
    raise HookError(
        f"{what} contributes neither a node class nor a hook.",
        hint="Name a class with INPUT_SPECS, OUTPUT_SPECS and forward, or a module with functions marked @hookimpl.",
    )


def _is_property(plugin: object, name: str) -> bool:
    """Tell whether an attribute is a property, which is no hook, and whose code may load a model or raise."""
    return isinstance(inspect.getattr_static(plugin, name, None), _PROPERTIES)


def _is_hook(name: str, function: object) -> bool:
    """Tell whether something is marked as an implementation, or has the name of a hook and no mark at all."""
    if name in _HOOKS:
        return function is not None and not hasattr(function, "cuvis_ai_spec")
    return inspect.isroutine(function) and hasattr(function, "cuvis_ai_impl")


def _flat(error: Exception) -> str:
    return without_private_names(" ".join(str(error).split()))


def __getattr__(name: str) -> object:
    """Have `PluginState` here too, from where authors of observers were told to import it."""
    if name != "PluginState":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from cuvis_ai_core._deprecated import say_once
    from cuvis_ai_core.plugins import plugin_info

    say_once(f"{__name__}.{name}", f"{plugin_info.__name__}.{name}")
    return plugin_info.PluginState
