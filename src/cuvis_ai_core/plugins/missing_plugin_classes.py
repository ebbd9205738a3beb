"""What is said about a node class that a plugin is to have, and has not."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from types import ModuleType

from cuvis_ai_core.errors import InvalidNodeError


def no_class(
    plugin: str, path: str, members: Mapping[str, object], import_module: Callable[[str], ModuleType]
) -> InvalidNodeError:
    """Return the error for a class that is not in its module, or that is no node.

    Args:
        plugin: Name of the plugin.
        path: Full path of the class.
        members: What is in the module.
        import_module: Imports one of the plugin's modules.
    """
    module, _, name = path.rpartition(".")
    found = members.get(name)
    if found is None:
        # It may be a module, which is told then.
        with suppress(ImportError):
            found = import_module(path)
    if found is None:
        what = f"'{path}' is not there: module '{module}' has no '{name}'"
        hint = near(name, members, f"{module}.")
    else:
        from cuvis_ai_core.node.class_checks import no_node_class

        what, hint = no_node_class(path, found)
    return InvalidNodeError(f"Plugin '{plugin}': {what}.", hint=hint, node=path, plugin=plugin)


def no_module(plugin: str, path: str, missing: str, known: Iterable[str]) -> InvalidNodeError:
    """Return the error for a class whose module is not there.

    Args:
        plugin: Name of the plugin.
        path: Full path of the class.
        missing: Full path of the first module on the way to it that is not there.
        known: Names of the modules beside it.
    """
    parent, _, name = missing.rpartition(".")
    shown = ", ".join(names := sorted(known)) or "none"
    return InvalidNodeError(
        f"Plugin '{plugin}': '{path}' is not there: the plugin has no module '{missing}'; "
        f"{f'in {parent!r}' if parent else 'at its top'} it has: {shown}.",
        hint=near(name, names, f"{parent}." if parent else "")
        + f' If it should be there, fetch anew: NodeRegistry.clear_plugin_cache("{plugin}").',
        node=path,
        plugin=plugin,
    )


def near(name: str, known: Iterable[str], prefix: str) -> str:
    """Return what to do about a name that is not there, with the nearest one that is."""
    from cuvis_ai_core._nearest import nearest

    found = nearest(name, known)
    advice = "Correct 'provides' in the manifest, or what the plugin's entry points and hooks name."
    return f"Did you mean '{prefix}{found}'? {advice}" if found else advice


def no_node(path: str, plugin: str | None, found: object = None) -> InvalidNodeError:
    """Return the error for what is at a path and no node class; None where nothing is there."""
    from cuvis_ai_core.node.class_checks import no_node_class

    who = f"Plugin '{plugin}', hook cuvis_ai_nodes: " if plugin else ""
    problem, hint = no_node_class(path, found)
    return InvalidNodeError(
        f"{who}{problem}.",
        hint=hint,
        node=path,
        plugin=plugin,
    )
