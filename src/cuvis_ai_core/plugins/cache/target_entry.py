"""A target directory in the plugin cache: what was installed for one plugin, and the marker that says so.

A warm load has its own look at files and needs the class alone: what reads and writes is imported where it is needed.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

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
        watched: Size and time of some of its files (see `altered_files`).
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
    watched: Mapping[str, list[int]] = MappingProxyType({})
    built_from: str = ""
    stamp: str = ""

    @property
    def packages(self) -> Path:
        """The folder with what is installed."""
        return self.folder

    @property
    def search_path(self) -> tuple[str, ...]:
        """Folders in which the plugin's own modules are found."""
        # Each once, in the order of the modules: a path that stands twice is searched twice.
        return tuple(dict.fromkeys(place or str(self.folder) for place in self.code.values()))

    def to_json(self) -> dict[str, Any]:
        """Return this as plain data, without the folder, which may be moved."""
        data = self._asdict()
        del data["folder"]
        return {
            **data,
            "plugin": self.plugin._asdict(),
            "needed": [each._asdict() for each in self.needed],
            "code": dict(self.code),
            "entry_points": dict(self.entry_points),
            "hosts": list(self.hosts),
            "watched": dict(self.watched),
        }

    @classmethod
    def from_json(cls, folder: Path, data: Mapping[str, Any]) -> "Target":
        """Build from what `to_json` gave.

        Raises:
            KeyError: Something is missing.
            TypeError, ValueError, AttributeError: Something is of another kind.
        """
        fields = {
            **{key: data[key] for key in cls._fields if key != "folder"},
            "plugin": Distribution.from_json(data["plugin"]),
            "needed": tuple(map(Distribution.from_json, data["needed"])),
            "hosts": tuple(data["hosts"]),
            "watched": dict(data["watched"]),
        }
        return cls(folder=folder, **fields)


def target_for(place: Path, key: str, *, write: bool = True) -> Target | None:
    """Return the finished target directory below a folder that was chosen (see `Versions.keys`).

    Args:
        place: The folder.
        key: What was chosen for it.
        write: Whether its marker may be written anew, where its files have other times.

    Raises:
        CacheMismatchError: It is there, but was altered.
    """
    from cuvis_ai_core.plugins.cache import altered_entries

    found = next((target for target in complete_targets(place) if key in target.hosts and not is_stale(target)), None)
    if found is None:
        return None
    keep = _write if write else None
    return altered_entries.unless_removed(found.folder, lambda: altered_entries.looked_at(found, _watching, keep))


def read_target(folder: Path) -> Target | None:
    """Return what the completion marker in a folder describes, or None where there is none that can be read."""
    from cuvis_ai_core._untrusted_files import read_json

    marker = read_json(folder / MARKER)
    if marker is not None and marker.get("format") == _FORMAT:
        # Whatever somebody did to the file: what cannot be understood is built anew.
        with suppress(KeyError, TypeError, ValueError, AttributeError):
            return Target.from_json(folder, marker)
    return None


def complete_targets(place: Path) -> Iterator[Target]:
    """Return the finished target directories below a folder; one that this version cannot read does not count."""
    try:
        folders = sorted(place.iterdir())
    except OSError:
        return
    yield from filter(None, map(complete_target, folders))


def complete_target(folder: Path) -> Target | None:
    """Return what lies in a folder, or None if that is no finished target directory, or lacks a module."""
    target = read_target(folder)
    whole = target is not None and all(_is_there(folder, top, where) for top, where in target.code.items())
    return target if whole else None


def _is_there(folder: Path, top: str, where: str) -> bool:
    base = Path(where) if where else folder
    # Modules of a local plugin may come and go; what was installed here must be here.
    # A module may be a package, a `.py`, or a compiled file with a tag of the system in its name.
    return bool(where) or (base / top).exists() or any(base.glob(f"{top}.*"))


def is_stale(target: Target) -> bool:
    """Tell whether a local project was edited since it was built; elsewhere edits are seen without a build."""
    from cuvis_ai_core.plugins.disk import altered_files

    return bool(target.built_from) and altered_files.source_stamp(Path(target.built_from)) != target.stamp


def write_marker(target: Target) -> None:
    """Write the completion marker of a target directory, with what tells later whether it was altered.

    Raises:
        CacheMismatchError: It had a marker before, and was altered since.
        OSError: The directory cannot be written.
    """
    from cuvis_ai_core.plugins.cache import altered_entries
    from cuvis_ai_core.plugins.disk import altered_files

    if not target.content:
        recorded = altered_files.installed_files(target.folder)
        target = target._replace(content=altered_files.digest_of(recorded), watched=_watch(target, recorded))
    elif not altered_files.looks_unchanged(target.folder, target.watched):
        altered_entries.refuse_altered(target)
        target = _watching(target)
    _write(target)


def _watching(target: Target) -> Target:
    from cuvis_ai_core.plugins.disk import altered_files

    return target._replace(watched=_watch(target, altered_files.installed_files(target.folder)))


def _watch(target: Target, recorded: Mapping[str, str]) -> dict[str, list[int]]:
    """Watch the plugin's own modules, and of the others what says which files they have."""
    from cuvis_ai_core.plugins.disk import altered_files

    own = {top for top, place in target.code.items() if not place}
    # RECORDs stand for dependencies: one costs a look, the files of SciPy alone would cost milliseconds.
    chosen = [name for name in recorded if name.endswith("/RECORD") or name.partition("/")[0].partition(".")[0] in own]
    return altered_files.watch(target.folder, chosen)


def _write(target: Target) -> None:
    from cuvis_ai_core._atomic_writes import write_json

    write_json(target.folder / MARKER, {"format": _FORMAT, **target.to_json()})
