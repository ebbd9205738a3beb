"""Manifests of newer published catalogues: a file for each plugin, with `capabilities` and metadata for editors."""

from collections.abc import Mapping
from typing import Any, Final

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
    """Return the entry of a plugin with `provides` in place of `capabilities`."""
    if not isinstance(entry, Mapping) or not isinstance(entry.get("capabilities"), list):
        return entry
    kept = {key: value for key, value in entry.items() if key not in _FOR_OTHERS and value is not None}
    return {**kept, "provides": entry.get("provides") or class_paths(entry) or []}


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
