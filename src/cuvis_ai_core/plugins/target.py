"""A target directory: what was installed for one plugin, as its completion marker describes it."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from cuvis_ai_core._files import read_json, write_json
from cuvis_ai_core.plugins import host
from cuvis_ai_core.plugins.distribution import Distribution

MARKER: Final = "cuvis-target.json"

_FORMAT: Final = 2
"""Raised when what a marker holds changes; a target of another format is built anew."""


class Target(NamedTuple):
    """An installed plugin.

    Attributes:
        folder: The target directory.
        plugin: The plugin's own distribution, with the requirements that were resolved.
        needed: The other distributions in the directory.
        code: The plugin's top-level modules and the folder that each lies in; "" is the target directory itself.
        entry_points: The plugin's entry points of group `cuvis_ai.nodes`, name to value.
        hosts: Fingerprints of the environments that this was resolved for.
        title: What its modules are called after: plugin name and tag, or plugin name and a hash of its path.
        editable: Whether its code lies elsewhere, where somebody may be editing it.
    """

    folder: Path
    plugin: Distribution
    needed: tuple[Distribution, ...]
    code: Mapping[str, str]
    entry_points: Mapping[str, str]
    hosts: tuple[str, ...]
    title: str = ""
    editable: bool = False

    @property
    def search_path(self) -> tuple[str, ...]:
        """Folders in which the plugin's own modules are found."""
        return tuple(dict.fromkeys(place or str(self.folder) for place in self.code.values()))


def target_for_this_host(place: Path) -> Target | None:
    """Return the finished target directory below a folder that was resolved for this environment."""
    fingerprint = host.fingerprint()
    return next((target for target in complete_targets(place) if fingerprint in target.hosts), None)


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


def write_marker(target: Target) -> None:
    """Write the completion marker of a target directory.

    Raises:
        OSError: The directory cannot be written.
    """
    data = {
        "format": _FORMAT,
        "plugin": target.plugin.to_json(),
        "needed": [each.to_json() for each in target.needed],
        "code": dict(target.code),
        "entry_points": dict(target.entry_points),
        "hosts": list(target.hosts),
        "title": target.title,
        "editable": target.editable,
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
    )
