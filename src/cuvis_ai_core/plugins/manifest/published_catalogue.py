"""Manifests of newer published catalogues: a file for each plugin, with `capabilities` and metadata for editors."""

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

_Keys: TypeAlias = tuple[str | int, ...]

_FOR_OTHERS: Final = frozenset({"name", "package_name", "capabilities", "weights", "description"})
"""What is read, and not needed to load it."""


def with_plugins(data: object) -> object:
    """Return the content of a manifest of any generation with the key `plugins`, each plugin as we have it."""
    if not isinstance(data, Mapping):
        return data
    if "plugins" not in data and isinstance(data.get("name"), str) and ("repo" in data or "path" in data):
        return {"plugins": {data["name"]: plugin_entry({key: each for key, each in data.items() if key != "name"})}}
    if isinstance(data.get("plugins"), Mapping):
        return {**data, "plugins": {name: plugin_entry(entry) for name, entry in data["plugins"].items()}}
    return data


def plugin_entry(entry: object) -> object:
    """Return the entry of a plugin with `provides` and `data_modules` in place of `capabilities`."""
    if not isinstance(entry, Mapping):
        return entry
    if not isinstance(entry.get("capabilities"), list):
        # A published plugin may have data modules alone; ours names its nodes.
        return {"provides": [], **entry} if entry.get("data_modules") else entry
    kept = {key: value for key, value in entry.items() if key not in _FOR_OTHERS and value is not None}
    provides = entry.get("provides") or class_paths(entry) or []
    modules = kept.get("data_modules") or data_modules(entry)
    return {**kept, "provides": provides, **({"data_modules": modules} if modules else {})}


def keys_in_file(data: object, keys: _Keys) -> _Keys:
    """Return where in the content of a file that stands which `with_plugins` has at `keys`."""
    if not isinstance(data, Mapping) or keys[:1] != ("plugins",) or len(keys) == 1:
        return keys
    if "plugins" not in data:
        return _keys_in_entry(data, keys[2:])
    return (*keys[:2], *_keys_in_entry(data["plugins"].get(keys[1]), keys[2:]))


def _keys_in_entry(entry: object, keys: _Keys) -> _Keys:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("capabilities"), list) or not keys:
        return keys
    if keys[0] not in {"provides", "data_modules"} or entry.get(keys[0]):
        return keys
    if len(keys) == 1:
        return ("capabilities",)
    capabilities = entry["capabilities"]
    if keys[0] == "provides":
        found = [number for number, each in enumerate(capabilities) if _is_node(each)][int(keys[1])]
    else:
        modules = module_capabilities(entry)
        # Of two with one name the last counts.
        meant = [each for each in modules if str(each["data_module_name"]) == keys[1]][-1]
        found = next(number for number, each in enumerate(capabilities) if each is meant)
    return ("capabilities", found, "class_name")


def data_modules(entry: Mapping[str, Any]) -> dict[str, str]:
    """Return the data modules among the `capabilities` of an entry: name to the full path of the class."""
    return {str(each["data_module_name"]): str(each["class_name"]) for each in module_capabilities(entry)}


def module_capabilities(entry: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what an entry says of each of its data modules."""
    return [
        each
        for each in entry.get("capabilities") or ()
        if isinstance(each, Mapping)
        and each.get("kind") == "data_module"
        and {"data_module_name", "class_name"} <= {*each}
    ]


def class_paths(entry: Mapping[str, Any]) -> list[str] | None:
    """Return the full paths of the node classes that an entry names, None where it names no classes of any kind."""
    provides = entry.get("provides")
    if provides:
        return [str(each["class_name"] if isinstance(each, Mapping) else each) for each in provides]
    capabilities = entry.get("capabilities")
    if not isinstance(capabilities, list):
        return None
    return [str(each.get("class_name")) for each in capabilities if _is_node(each)]


def _is_node(capability: object) -> bool:
    return isinstance(capability, Mapping) and capability.get("kind", "node") == "node" and "class_name" in capability
