"""A target directory: what was installed for one plugin, as its completion marker describes it."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from cuvis_ai_core._files import read_json, write_json
from cuvis_ai_core.plugins.cache import integrity
from cuvis_ai_core.plugins.dependencies.distribution import Distribution

MARKER: Final = "cuvis-target.json"

_FORMAT: Final = 3
"""Raised when what a marker holds changes; a target of another format is built anew."""


class Target(NamedTuple):
    """An installed plugin.

    Attributes:
        folder: The target directory.
        plugin: The plugin's own distribution, with the requirements that were resolved.
        needed: The other distributions in the directory.
        code: The plugin's top-level modules and the folder that each lies in; "" is the target directory itself.
        entry_points: The plugin's entry points of group `cuvis_ai.nodes`, name to value.
        hosts: Keys of the choices that led to this: for which environment, with which plugins or which lock file.
        title: What its modules are called after: plugin name and tag, or plugin name and a hash of its path.
        editable: Whether its code lies elsewhere, where somebody may be editing it.
        content: Hash of what the installers recorded.
        watched: Size and time of some of its files (see `integrity`).
        built_from: Folder of the local project that was built, where its code could not stay there.
        stamp: What that project was like.
    """

    folder: Path
    plugin: Distribution
    needed: tuple[Distribution, ...]
    code: Mapping[str, str]
    entry_points: Mapping[str, str]
    hosts: tuple[str, ...]
    title: str = ""
    editable: bool = False
    content: str = ""
    watched: integrity.Watched = MappingProxyType({})
    built_from: str = ""
    stamp: str = ""

    @property
    def search_path(self) -> tuple[str, ...]:
        """Folders in which the plugin's own modules are found."""
        return tuple(dict.fromkeys(place or str(self.folder) for place in self.code.values()))


def target_for(place: Path, key: str) -> Target | None:
    """Return the finished target directory below a folder that was chosen (see `Versions.keys`).

    Raises:
        CacheMismatchError: It is there, but was altered.
    """
    found = next((target for target in complete_targets(place) if key in target.hosts and not is_stale(target)), None)
    if found is None or integrity.looks_unchanged(found.folder, found.watched):
        return found
    checked = _checked(found)
    with suppress(OSError):  # a copy of a cache has other times; so that the next look is cheap again
        _write(checked)
    return checked


def refuse_altered_target(target: Target) -> None:
    """Read all files of a target directory, and raise if they are not what was installed.

    Raises:
        CacheMismatchError: A file was changed or removed, or a module was added.
    """
    integrity.refuse_altered(target.folder, target.folder, target.content)


def read_target(folder: Path) -> Target | None:
    """Return what the completion marker in a folder describes, or None where there is none that can be read."""
    marker = read_json(folder / MARKER)
    if marker is not None and marker.get("format") == _FORMAT:
        # Whatever somebody did to the file: what cannot be understood is built anew.
        with suppress(KeyError, TypeError, ValueError, AttributeError):
            return _from_json(folder, marker)
    return None


def complete_targets(place: Path) -> Iterator[Target]:
    """Return the finished target directories below a folder; one that this version cannot read does not count."""
    try:
        folders = sorted(place.iterdir())
    except OSError:
        return
    for folder in folders:
        target = read_target(folder)
        if target is not None and all(_is_there(folder, top, where) for top, where in target.code.items()):
            yield target


def _is_there(folder: Path, top: str, where: str) -> bool:
    base = Path(where) if where else folder
    # Modules of a local plugin may come and go; what was installed here must be here.
    return bool(where) or (base / top).exists() or any(base.glob(f"{top}.*"))


def is_stale(target: Target) -> bool:
    """Tell whether a local project was edited since it was built; elsewhere edits are seen without a build."""
    return bool(target.built_from) and integrity.source_stamp(Path(target.built_from)) != target.stamp


def write_marker(target: Target) -> None:
    """Write the completion marker of a target directory, with what tells later whether it was altered.

    Raises:
        CacheMismatchError: It had a marker before, and was altered since.
        OSError: The directory cannot be written.
    """
    if not target.content:
        recorded = integrity.installed_files(target.folder)
        target = target._replace(content=integrity.digest_of(recorded), watched=_watch(target, recorded))
    elif not integrity.looks_unchanged(target.folder, target.watched):
        target = _checked(target)
    _write(target)


def _checked(target: Target) -> Target:
    refuse_altered_target(target)
    return target._replace(watched=_watch(target, integrity.installed_files(target.folder)))


def _watch(target: Target, recorded: Mapping[str, str]) -> dict[str, list[int]]:
    """Watch the plugin's own modules, and of the others what says which files they have."""
    own = {top for top, place in target.code.items() if not place}
    chosen = [name for name in recorded if name.endswith("/RECORD") or name.partition("/")[0].partition(".")[0] in own]
    return integrity.watch(target.folder, chosen)


def _write(target: Target) -> None:
    data = {
        "format": _FORMAT,
        "plugin": target.plugin.to_json(),
        "needed": [each.to_json() for each in target.needed],
        "code": dict(target.code),
        "entry_points": dict(target.entry_points),
        "hosts": list(target.hosts),
        "title": target.title,
        "editable": target.editable,
        "content": target.content,
        "watched": dict(target.watched),
        "built_from": target.built_from,
        "stamp": target.stamp,
    }
    write_json(target.folder / MARKER, data)


def _from_json(folder: Path, data: Mapping[str, Any]) -> Target:
    return Target(
        folder=folder,
        plugin=Distribution.from_json(data["plugin"]),
        needed=tuple(map(Distribution.from_json, data["needed"])),
        code=data["code"],
        entry_points=data["entry_points"],
        hosts=tuple(data["hosts"]),
        title=data["title"],
        editable=data["editable"],
        content=data["content"],
        watched=dict(data["watched"]),
        built_from=data["built_from"],
        stamp=data["stamp"],
    )
