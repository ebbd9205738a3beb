"""What node classes look like from outside, as data: a worker tells its host, which makes `proxy_classes` of it."""

import importlib
import inspect
import os
import pkgutil
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import distributions
from typing import Any, Final

from cuvis_ai_core._nearest import nearest
from cuvis_ai_core.node.base import NodeMixin, is_node_class, overrides
from cuvis_ai_core.node.constructor_keywords import parameters_of
from cuvis_ai_core.node.dtypes import TORCH, dtype_name, library_of
from cuvis_ai_core.node.ports import as_port_spec, read_ports
from cuvis_ai_core.node.tiling_declaration import tiles_elsewhere
from cuvis_ai_core.node.torch_modules import is_module
from cuvis_ai_core.plugins.hooks.discovery import load_entry_point, node_path
from cuvis_ai_core.plugins.hooks.hook_answers import checked_nodes
from cuvis_ai_core.plugins.hooks.manager import HookManager, NodePlugin, contribution
from cuvis_ai_core.plugins.isolation.private_names import class_path
from cuvis_ai_core.plugins.missing_plugin_classes import no_class, no_module
from cuvis_ai_core.plugins.worker import METHODS

_PLAIN: Final = (bool, int, float, str, type(None))
_METADATA: Final = ("_category", "_tags", "_icon_name", "TRAINABLE_BUFFERS", "STATE", "EXECUTION_STAGES")
_GROUP: Final = "cuvis_ai.nodes"
_SERVED: Final = frozenset({"cuvis_ai_nodes", "cuvis_ai_config_dirs"})


def describe_nodes(plugin: str, distribution: str, provides: Iterable[str]) -> dict[str, Any]:
    """Import the node classes of a plugin, and return what they look like.

    Args:
        plugin: Name of the plugin.
        distribution: Name of its distribution, whose entry points contribute too; empty where there is none.
        provides: Full paths of its node classes.

    Raises:
        InvalidNodeError: There is no such class, or it is no node.
    """
    declared, hooks = list(provides), HookManager()
    hooks.add(NodePlugin(lambda: list(declared)), plugin)
    for name, value in _entry_points(distribution).items():
        hooks.add(_contribution(name, value), f"{plugin}:{name}")
    # In the order of the registry's catalogue, with the same rules for answers.
    # pluggy calls the last registered first (LIFO).
    answers = reversed(hooks.answers("cuvis_ai_nodes"))
    nodes = [node for label, answer in answers for node in checked_nodes(label, answer)]
    paths = dict.fromkeys(node if isinstance(node, str) else class_path(node) for node in nodes)
    folders = [os.fspath(each) for _, answer in hooks.answers("cuvis_ai_config_dirs") for each in answer]
    return {
        "classes": _unique({path: _face(find_class(plugin, path)) for path in paths}),
        "config_dirs": folders,
        "not_served": [
            name for name, caller in sorted(vars(hooks.hook).items()) if caller.get_hookimpls() and name not in _SERVED
        ],
    }


def find_class(plugin: str, path: str) -> type:
    """Import a node class by its full path.

    Raises:
        InvalidNodeError: There is none.
    """
    module_name, _, class_name = path.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        known = _beside(missing) if f"{module_name}.".startswith(f"{missing}.") else None
        if known is None:
            raise
        raise no_module(plugin, path, missing, known) from error
    found = getattr(module, class_name, None)
    if isinstance(found, type) and is_node_class(found):
        return found
    raise no_class(plugin, path, vars(module), importlib.import_module)


def _beside(missing: str) -> list[str] | None:
    """Return the names of the modules beside one that is not there; at the top, with all libraries, the nearest."""
    parent = missing.rpartition(".")[0]
    if parent:
        # A plugin may be one file, which has no `__path__`.
        return [each.name for each in pkgutil.iter_modules(getattr(sys.modules[parent], "__path__", []))]
    near = nearest(missing, [each.name for each in pkgutil.iter_modules()])
    return None if near is None else [near]


def _unique(classes: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Leave out classes that an entry point names by another path than `provides` does."""
    seen: dict[tuple[str, str], str] = {}
    for path, face in classes.items():
        # A package may import its class from a submodule: one class, two paths.
        seen.setdefault((face["module"], face["qualname"]), path)
    return {path: classes[path] for path in seen.values()}


def _entry_points(distribution: str) -> dict[str, str]:
    """Return the entry points by name; of a distribution whose metadata is there twice, those that are found first."""
    found = distributions(name=distribution) if distribution else ()
    points = [point for each in found for point in each.entry_points if point.group == _GROUP]
    # Reversed: of two that have one name the first one found stays, as for an import.
    return {point.name: point.value for point in reversed(points)}


def _contribution(name: str, value: str) -> object:
    path = node_path(name, value)
    if path is not None:
        return NodePlugin(lambda: [path])
    return contribution(load_entry_point(value, importlib.import_module))


def _face(node_class: type) -> dict[str, Any]:
    return {
        "name": node_class.__name__,
        "qualname": node_class.__qualname__,
        "module": node_class.__module__,
        "doc": node_class.__doc__,
        "signature": _signature(node_class),
        "parameters": [_parameter(each) for each in parameters_of(node_class).values()],
        "forward": _signature(getattr(node_class, "forward")),  # noqa: B009 - the type says nothing of it
        "forward_doc": getattr(node_class, "forward").__doc__,  # noqa: B009
        "inputs": _specs(node_class, "INPUT_SPECS"),
        "outputs": _specs(node_class, "OUTPUT_SPECS"),
        # What it has of the base class, the class over there has too; as its own it would be a declaration.
        "metadata": {
            name: _data(getattr(node_class, name))
            for name in _METADATA
            if getattr(node_class, name, None) is not getattr(NodeMixin, name, None)
        }
        | tiles_elsewhere(node_class),
        "methods": [name for name in METHODS if overrides(node_class, name)],
        "torch": is_module(node_class),
    }


def _signature(function: Any) -> list[dict[str, Any]]:
    return [_parameter(each) for each in inspect.signature(function).parameters.values()]


def _parameter(parameter: inspect.Parameter) -> dict[str, Any]:
    found: dict[str, Any] = {"name": parameter.name, "kind": parameter.kind.name}
    if parameter.default is not parameter.empty:
        found["default"] = _data(parameter.default)
    if parameter.annotation is not parameter.empty:
        annotation = parameter.annotation
        # As text: a class of the worker's libraries need not exist here.
        shown = {"kind": "shown", "of": inspect.formatannotation(annotation)}
        found["annotation"] = annotation if isinstance(annotation, str) else shown
    return found


def _data(value: Any) -> Any:
    """Return a value as data: as it is where JSON has it, else what people read."""
    # By exact type: an IntEnum is an int to `isinstance`, and would cross as a bare number.
    if type(value) in _PLAIN:
        return value
    if isinstance(value, tuple | list | set | frozenset):
        kind = next(each.__name__ for each in (tuple, list, set, frozenset) if isinstance(value, each))
        # The order of a set of texts differs from process to process (PYTHONHASHSEED); what is remembered must not.
        of = [_data(each) for each in (sorted(value, key=str) if kind.endswith("set") else value)]
        return of if kind == "list" else {"kind": kind, "of": of}
    if type(value) is dict and all(isinstance(key, str) for key in value):
        return {"kind": "dict", "of": {key: _data(each) for key, each in value.items()}}
    if hasattr(value, "value") and type(value).__module__.startswith("cuvis_ai_schemas."):
        return {"kind": "enum", "class": type(value).__name__, "of": value.value}
    return {"kind": "shown", "of": repr(value)}


def _specs(node_class: type, direction: str) -> dict[str, dict[str, Any]]:
    ports = read_ports(node_class, direction)
    specs = getattr(node_class, direction)
    return {name: _spec(specs[name], ports[name].shape) for name in ports}


def _spec(spec: Any, shape: Iterable[int | str]) -> dict[str, Any]:
    declared = as_port_spec(spec)
    library = library_of(declared.dtype)
    dtype = dtype_name(declared.dtype)
    return {
        "form": "list" if isinstance(spec, list) else "mapping" if isinstance(spec, Mapping) else "spec",
        "dtype": dtype if library is None else f"{library}.{dtype}",
        "declared": _declared(declared.dtype),
        "shape": list(shape),
        "description": str(getattr(declared, "description", "")),
        "optional": bool(getattr(declared, "optional", False)),
        "variadic": bool(getattr(declared, "variadic", False)),
    }


def _declared(dtype: object) -> list[str]:
    """Return how a dtype was declared: as a text, or as a class of a module; nothing for what is neither."""
    if isinstance(dtype, str):
        return ["", dtype]
    if isinstance(dtype, type):
        return [dtype.__module__.partition(".")[0], dtype.__name__]
    # A dtype of torch is no class, but named like one.
    return str(dtype).split(".") if library_of(dtype) == TORCH else []
