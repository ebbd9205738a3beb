"""The manifests that clients send, as JSON, in the forms of all generations."""

import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from cuvis_ai_core.errors import ServiceError
from cuvis_ai_core.plugins.manifest.published_catalogue import data_modules

_KEYS: Final = ("repo", "tag", "path", "isolation", "extras", "build", "subdirectory", "python", "data_modules")
"""What an entry has beside the classes that it provides; newer schemas have more, for editors."""

MANY: Final = (0, 4)
CLASSES: Final = (0, 5)
_MOST_PARTS: Final = 50_000
"""Mappings and lists in a configuration: each takes its time, wherever it is looked at."""

ONE: Final = (0, 6)
"""The generation that each form belongs to: many plugins with texts, with mappings, one plugin."""


class Sent(NamedTuple):
    """A manifest that a client sent.

    Attributes:
        plugins: Name of each plugin to its entry as our manifests have it.
        generation: The newest version of the schemas that has this form.
    """

    plugins: Mapping[str, Mapping[str, Any]]
    generation: tuple[int, int]


def read_json(data: bytes, what: str) -> dict[str, Any]:
    """Return the mapping that a client sent.

    Raises:
        ServiceError: It is empty, no JSON, or no mapping.
    """
    if not data.strip():
        raise ServiceError(f"{what}: config_bytes is empty.", code="INVALID_ARGUMENT")
    # Counted in bytes: parsing them is what takes the time.
    if data.count(b"[") + data.count(b"{") > _MOST_PARTS:  # those in texts, too
        raise ServiceError(f"{what}: more than {_MOST_PARTS} mappings and lists.", code="INVALID_ARGUMENT")
    try:
        content = json.loads(data)
        # `\ud800` in JSON is read as half of a pair, and fails later, wherever it is first written.
        json.dumps(content, ensure_ascii=False).encode()  # half a surrogate pair can be no name, and no text
    except (ValueError, RecursionError) as error:
        raise ServiceError(f"{what}: config_bytes is no JSON: {str(error)[:200]}.", code="INVALID_ARGUMENT") from error
    if not isinstance(content, dict):
        raise ServiceError(f"{what}: config_bytes holds no mapping.", code="INVALID_ARGUMENT")
    return content


def read_manifest(data: bytes) -> Sent:
    """Return the plugins of a manifest.

    Raises:
        ServiceError: It cannot be read, or has the form of no generation.
    """
    content = read_json(data, "manifest")
    plugins = content.get("plugins")
    if isinstance(plugins, dict):
        entries = {name: _mapping(entry, name) for name, entry in plugins.items()}
        by_class = any(isinstance(each, Mapping) for entry in entries.values() for each in _listed(entry, "provides"))
        return Sent({name: _entry(each) for name, each in entries.items()}, CLASSES if by_class else MANY)
    if isinstance(content.get("name"), str):
        return Sent({content["name"]: _entry(content)}, ONE)
    raise ServiceError(
        "The manifest has neither 'plugins' nor 'name'.",
        hint='Send {"plugins": {NAME: {...}}} or {"name": NAME, "path" or "repo" and "tag", "capabilities": [...]}.',
        code="INVALID_ARGUMENT",
    )


def _entry(content: Mapping[str, Any]) -> dict[str, Any]:
    provided = content.get("provides") or content.get("capabilities") or []
    # Newer clients send every key, most of them empty, which older rules call unknown or wrong.
    kept = {key: content[key] for key in _KEYS if content.get(key) not in (None, [], {})}
    if isinstance(content.get("capabilities"), list) and (modules := data_modules(content)):
        kept["data_modules"] = modules
    if not isinstance(provided, list):
        return {**kept, "provides": provided}
    return {**kept, "provides": [each for each in map(_class_path, provided) if each is not None]}


def _class_path(provided: object) -> object:
    """Return the path of a class that an entry provides, None for what is no node."""
    if not isinstance(provided, Mapping):
        return provided
    return provided.get("class_name") if provided.get("kind", "node") == "node" else None


def _mapping(entry: object, name: str) -> Mapping[str, Any]:
    if not isinstance(entry, Mapping):
        raise ServiceError(f"The manifest's entry of '{name}' is no mapping.", code="INVALID_ARGUMENT")
    return entry


def _listed(entry: Mapping[str, Any], key: str) -> list[Any]:
    return entry[key] if isinstance(entry.get(key), list) else []
