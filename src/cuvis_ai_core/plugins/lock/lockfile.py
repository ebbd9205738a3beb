"""The lock file (`<manifest stem>.lock`): which commits and which versions of dependencies a manifest meant.

    version = 1

    [plugins.adaclip]
    repo = "https://…"            # as in the manifest, without credentials
    tag = "v0.1.1"
    commit = "…"                  # of the commit, not of an annotated tag
    content = "…"                 # hash of all files of the checkout
    isolation = "scoped"          # what it became
    # where the policy asked for a signed tag:  signer = "mira@lab.org", key = "SHA256:…"
    # where the policy put it into a process of its own:  apart_by = "policy"

    [plugins.local_dev]
    path = "../my-plugin"         # seen from the manifest
    requirements = ["scipy>=1.10"]
    isolation = "scoped"

    [environments.cpython-311-x86_64-linux-gnu.dependencies]
    local_dev = ["scipy==1.17.1"]
    # beside it, where something has no wheel: built = ["antlr4-python3-runtime==4.9.3"]

    [environments.cpython-311-x86_64-linux-gnu.hashes]
    "scipy==1.17.1" = ["sha256:…"]

    [environments.cpython-311-x86_64-linux-gnu.builds]      # once it was bundled: what builds need
    adaclip = ["hatchling==1.27.0", "packaging==25.0"]

It names no index: mirrors differ, hashes do not. Plugins of one manifest usually agree on versions, but one that cannot
agree has pins of its own.
"""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from cuvis_ai_core._atomic_writes import write_atomic
from cuvis_ai_core._printable_text import shown_in_line
from cuvis_ai_core._redact import without_credentials
from cuvis_ai_core._untrusted_files import read_toml
from cuvis_ai_core.errors import LockError
from cuvis_ai_core.plugins.manifest.manifest_schema import GitPlugin, LocalPlugin, lock_path

_VERSION: Final = 1

_COMMENT: Final = """\
# Written by `cuvis-ai plugins lock`; keep it under version control, beside its manifest. Do not edit it by hand.

"""
_LISTS: Final = frozenset({"requirements", "extras", "build"})
_FOUND: Final = frozenset({"commit", "content", "requirements", "signer", "key", "apart_by"})
"""What a lock has beside what stands in the manifest."""

_KEYS: Final = _LISTS | _FOUND | {"repo", "tag", "path", "isolation", "python", "subdirectory"}
# With a bound: a version is handed to uv, and stands in file names.
_PIN: Final = r"[a-z0-9-]+(==[A-Za-z0-9_.!+-]{1,200}| @ \S+)"
_OBJECT: Final = r"[0-9a-f]{40}|[0-9a-f]{64}"
_HASH: Final = r"sha(256:[0-9a-f]{64}|512:[0-9a-f]{128})"

_SAID: Final = 500
"""Signs that are said of what is wrong."""

Declared = GitPlugin | LocalPlugin
LockedPlugin = Mapping[str, Any]
"""What is locked of one plugin, as it stands in the file."""


def lock_schema() -> dict[str, Any]:
    """Return the JSON Schema of a lock file, which is TOML."""
    text, texts = {"type": "string"}, {"type": "array", "items": {"type": "string"}}
    entry = {key: texts if key in _LISTS else text for key in sorted(_KEYS)}
    by_name = {"type": "object", "additionalProperties": texts}
    pins = {
        "type": "object",
        "properties": {
            "dependencies": by_name,
            "hashes": by_name,
            "builds": by_name,
            "built": {"type": "array", "items": {"type": "string", "pattern": f"^({_PIN})$"}},
        },
        "additionalProperties": False,
    }
    plugin = {
        "type": "object",
        "properties": {**entry, "commit": {"type": "string", "pattern": f"^({_OBJECT})$"}},
        "additionalProperties": False,
        "oneOf": [{"required": ["repo", "tag", "commit"]}, {"required": ["path"]}],
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Lock file",
        "description": "Written by `cuvis-ai plugins lock`; not edited by hand.",
        "type": "object",
        "properties": {
            "version": {"const": _VERSION},
            "plugins": {"type": "object", "additionalProperties": plugin},
            "environments": {"type": "object", "additionalProperties": pins},
        },
        "required": ["version"],
        "additionalProperties": False,
    }


class LockedPins(NamedTuple):
    """What is locked for one interpreter on one platform.

    Attributes:
        dependencies: Pins by plugin name, `name==version` or `name @ address`, sorted.
        hashes: Hashes of the wheels of each pin; of none for a pin that names a commit.
        built: Pins that are built from source; their hashes are those of the source.
        builds: Pins of what it takes to build each plugin, and what is built for it; known once it was bundled.
    """

    dependencies: Mapping[str, tuple[str, ...]]
    hashes: Mapping[str, tuple[str, ...]]
    built: tuple[str, ...] = ()
    builds: Mapping[str, tuple[str, ...]] = MappingProxyType({})

    def names_built(self) -> frozenset[str]:
        """Return the names of the distributions that are built from source."""
        return frozenset(pin.partition("==")[0] for pin in self.built)


class Lock(NamedTuple):
    """A lock file.

    Attributes:
        path: The file.
        plugins: What is locked of each plugin.
        environments: What is locked for each interpreter and platform.
    """

    path: Path
    plugins: Mapping[str, LockedPlugin]
    environments: Mapping[str, LockedPins]


def read_lock(manifest: Path) -> Lock | None:
    """Return the lock file of a manifest, or None where there is none.

    Raises:
        LockError: The file cannot be read, or is no lock file.
    """
    # Read without looking first whether it is there: between the two it could go.
    path = lock_path(manifest)
    try:
        return _lock(path, read_toml(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(path, str(error.strerror or error)) from error
    # Any shape that TOML allows: a number for a table is an AttributeError at its first use.
    except (ValueError, TypeError, AttributeError) as error:
        raise _unreadable(path, str(error)) from error


def write_lock(lock: Lock) -> None:
    """Write a lock file, in a stable order, so that versions of it can be compared line by line.

    Raises:
        LockError: The file cannot be written; the old one is as it was.
    """
    import tomli_w

    data = {
        "version": _VERSION,
        "plugins": {name: _sorted(entry) for name, entry in sorted(lock.plugins.items())},
        "environments": {
            name: {
                **({"built": list(each.built)} if each.built else {}),
                "dependencies": _sorted(each.dependencies),
                "hashes": _sorted(each.hashes),
                **({"builds": _sorted(each.builds)} if any(each.builds.values()) else {}),
            }
            for name, each in sorted(lock.environments.items())
        },
    }
    try:
        # Through a link, which several folders may share: replacing the link would leave the others with the old file.
        write_atomic(lock.path.resolve(), _COMMENT + tomli_w.dumps(data, indent=2))
    except OSError as error:
        raise LockError(
            f"The lock file {lock.path} cannot be written: {error.strerror or error}.",
            hint="Make its folder writable, or copy the manifest to a folder that is.",
            path=lock.path,
        ) from error


def entry_of(declared: Declared, manifest: Path) -> dict[str, Any]:
    """Return what a manifest entry and its lock have in common; the lock adds what was found."""
    entry: dict[str, Any] = {
        "extras": list(declared.extras),
        "build": list(declared.build),
        "python": declared.python,
        "subdirectory": declared.subdirectory,
    }
    if isinstance(declared, GitPlugin):
        entry |= {"repo": without_credentials(declared.repo), "tag": declared.tag}
    else:
        entry |= {"path": _seen_from(manifest.absolute().parent.resolve(), declared.path)}
    # Empty ones are left out, so that a key that comes with a later version changes no lock file that is there.
    return {key: value for key, value in entry.items() if value}


def differences(lock: Lock, plugins: Mapping[str, Declared], manifest: Path) -> list[str]:
    """Return in which ways a manifest and its lock file differ, one sentence each."""
    found = [f"plugin '{name}' is not locked" for name in plugins if name not in lock.plugins]
    found += [f"plugin '{name}' is locked, but not in the manifest" for name in lock.plugins if name not in plugins]
    for name, declared in plugins.items():
        locked, meant = lock.plugins.get(name, {}), entry_of(declared, manifest)
        if locked:
            apart = "apart_by" in locked and locked["isolation"] == "process"
            # What a policy did is no difference to the manifest; on a machine without one the lock still holds.
            open_choice = declared.isolation == "auto" or apart
            meant["isolation"] = locked["isolation"] if open_choice else declared.isolation
            common = set(meant) | (_KEYS & set(locked)) - _FOUND
            found += [
                f"{key} of '{name}' is {_shown(meant.get(key))}, but locked as {_shown(locked.get(key))}"
                for key in sorted(common)
                if meant.get(key) != locked.get(key)
            ]
    return list(map(shown_in_line, found))


def refuse_differences(lock: Lock, plugins: Mapping[str, Declared], manifest: Path) -> None:
    """Raise if a manifest no longer matches its lock file.

    Raises:
        LockError: It does not; the message names all differences.
    """
    found = differences(lock, plugins, manifest)
    if found:
        texts = "\n".join(f"  {each}" for each in found)
        raise LockError(
            f"{manifest} and its lock file {lock.path.name} differ:\n{texts}",
            hint=f"If the manifest is right: cuvis-ai plugins lock {manifest}",
            path=lock.path,
        )


def _seen_from(folder: Path, path: Path) -> str:
    """Return a path relative to a folder, with '/', unless they have nothing in common."""
    try:
        # With only the root in common, `../../../data` says less than `/data`, and breaks when the manifest moves.
        related = os.path.commonpath([folder, path]) != Path(path.anchor).as_posix()
    except ValueError:  # two drives
        related = False
    return Path(os.path.relpath(path, folder)).as_posix() if related else path.as_posix()


def _lock(path: Path, data: Mapping[str, Any]) -> Lock:
    if data.get("version") != _VERSION:
        raise ValueError(f"it has version {data.get('version')!r}; this version of cuvis-ai-core reads {_VERSION}")
    missing = {"plugins", "environments"} - set(data)
    if missing:
        raise ValueError(f"it has no table '{min(missing)}'")
    plugins = {name: _checked_entry(name, entry) for name, entry in data["plugins"].items()}
    environments = {name: _environment(name, each) for name, each in data["environments"].items()}
    return Lock(path, plugins, environments)


def _checked_entry(name: str, entry: Mapping[str, Any]) -> LockedPlugin:
    unknown = set(entry) - _KEYS
    if unknown:
        raise ValueError(f"plugins.{name} has an unknown key '{min(unknown)}'")
    needed = {"repo", "tag", "commit", "content"} if "repo" in entry else {"path", "requirements"}
    missing = (needed | {"isolation"}) - set(entry)
    if missing:
        raise ValueError(f"plugins.{name} has no '{min(missing)}'")
    for key, value in entry.items():
        if not (_are_texts(value) if key in _LISTS else isinstance(value, str)):
            raise ValueError(f"plugins.{name}.{key} is {value!r}")
    for key in ("commit", "content"):
        if key in entry and not re.fullmatch(_OBJECT, entry[key]):
            raise ValueError(f"plugins.{name}.{key} is {entry[key]!r}, no hash")
    return entry


def _environment(name: str, data: Mapping[str, Any]) -> LockedPins:
    if not {"dependencies", "hashes"} <= set(data):
        raise ValueError(f"environments.{name} has no dependencies or no hashes")
    dependencies = {plugin: _texts(f"{name}: {plugin}", _PIN, pins) for plugin, pins in data["dependencies"].items()}
    hashes = {pin: _texts(f"{name}: {pin}", _HASH, each) for pin, each in data["hashes"].items()}
    builds = {plugin: _texts(f"{name}: {plugin}", _PIN, pins) for plugin, pins in data.get("builds", {}).items()}
    for pin in (pin for pins in (*dependencies.values(), *builds.values()) for pin in pins):
        # A commit is a hash; nothing else may go without.
        if not hashes.get(pin) and " @ git+" not in pin:
            raise ValueError(f"environments.{name} has no hash for {pin}")
    return LockedPins(dependencies, hashes, _texts(f"{name}: built", _PIN, data.get("built", [])), builds)


def _texts(where: str, pattern: str, values: object) -> tuple[str, ...]:
    if not isinstance(values, list):
        raise TypeError(f"{where} is {values!r}, not a list")
    wrong = [each for each in values if not (isinstance(each, str) and re.fullmatch(pattern, each))]
    if wrong:
        raise ValueError(f"{where} has {wrong[0]!r}")
    return tuple(values)


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _sorted(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in sorted(table.items())}


def _shown(value: object) -> str:
    if isinstance(value, Iterable) and not isinstance(value, str):
        return f"[{', '.join(map(str, value))}]"
    return f"'{value}'" if value else "not given"


def _unreadable(path: Path, why: str) -> LockError:
    why = shown_in_line(" ".join(why.split()).rstrip("."))[:_SAID]
    return LockError(
        f"The lock file {path} cannot be read: {why}.",
        hint="Take it from version control again, or remove it and write it anew: cuvis-ai plugins lock",
        path=path,
    )
