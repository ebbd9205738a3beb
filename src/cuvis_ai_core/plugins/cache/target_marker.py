"""The completion marker of a target directory: reading and writing it, and whether what it describes is still there."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from cuvis_ai_core._atomic_writes import write_json
from cuvis_ai_core._untrusted_files import read_json
from cuvis_ai_core.plugins.cache.target_entry import Target
from cuvis_ai_core.plugins.disk import altered_files

MARKER: Final = "cuvis-target.json"

_FORMAT: Final = 3
"""Raised when what a marker holds changes; a target of another format is built anew."""


def target_for(place: Path, key: str, *, write: bool = True) -> Target | None:
    """Return the finished target directory below a folder that was chosen (see `Versions.keys`).

    Args:
        place: The folder.
        key: What was chosen for it.
        write: Whether its marker may be written anew, where its files have other times.

    Raises:
        CacheMismatchError: It is there, but was altered.
    """
    found = next((target for target in complete_targets(place) if key in target.hosts and not is_stale(target)), None)
    if found is None:
        return None
    keep = _write if write else None
    return altered_files.unless_removed(found.folder, lambda: altered_files.looked_at(found, _watching, keep))


def read_target(folder: Path) -> Target | None:
    """Return what the completion marker in a folder describes, or None where there is none that can be read."""
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
    return bool(target.built_from) and altered_files.source_stamp(Path(target.built_from)) != target.stamp


def write_marker(target: Target) -> None:
    """Write the completion marker of a target directory, with what tells later whether it was altered.

    Raises:
        CacheMismatchError: It had a marker before, and was altered since.
        OSError: The directory cannot be written.
    """
    if not target.content:
        recorded = altered_files.installed_files(target.folder)
        target = target._replace(content=altered_files.digest_of(recorded), watched=_watch(target, recorded))
    elif not altered_files.looks_unchanged(target.folder, target.watched):
        altered_files.refuse_altered(target)
        target = _watching(target)
    _write(target)


def _watching(target: Target) -> Target:
    return target._replace(watched=_watch(target, altered_files.installed_files(target.folder)))


def _watch(target: Target, recorded: Mapping[str, str]) -> dict[str, list[int]]:
    """Watch the plugin's own modules, and of the others what says which files they have."""
    own = {top for top, place in target.code.items() if not place}
    # RECORDs stand for dependencies: one costs a look, the files of SciPy alone would cost milliseconds.
    chosen = [name for name in recorded if name.endswith("/RECORD") or name.partition("/")[0].partition(".")[0] in own]
    return altered_files.watch(target.folder, chosen)


def _write(target: Target) -> None:
    write_json(target.folder / MARKER, {"format": _FORMAT, **target.to_json()})
