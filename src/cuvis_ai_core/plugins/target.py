"""A target directory: what was installed for one plugin, as its completion marker describes it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, Final

from cuvis_ai_core._files import read_json, write_json
from cuvis_ai_core.plugins.contents import Distribution, read_distributions, without_standard_library

MARKER: Final = "cuvis-target.json"
ENTRY_POINT_GROUP: Final = "cuvis_ai.nodes"


@dataclass(frozen=True, slots=True)
class Target:
    """An installed plugin.

    Attributes:
        folder: The target directory.
        plugin: The plugin's own distribution, with the requirements that were resolved.
        needed: The other distributions in the directory.
        code: The plugin's top-level modules and the folder that each lies in; "" is the target directory itself.
        entry_points: The plugin's entry points of group `cuvis_ai.nodes`, name to value.
        hosts: Fingerprints of the environments that this was resolved for.
    """

    folder: Path
    plugin: Distribution
    needed: tuple[Distribution, ...]
    code: Mapping[str, str]
    entry_points: Mapping[str, str]
    hosts: tuple[str, ...]

    @property
    def search_path(self) -> tuple[str, ...]:
        """Folders in which the plugin's own modules are found."""
        return tuple(dict.fromkeys(place or str(self.folder) for place in self.code.values()))


def describe(folder: Path, plugin: Distribution, code: Mapping[str, Path], host: str) -> Target:
    """Look at what was installed in a folder.

    Args:
        folder: The target directory.
        plugin: The plugin's distribution as far as it is known: name and requirements.
        code: Top-level modules that lie elsewhere (editable installs).
        host: Fingerprint of the host.
    """
    found = {each.name: each for each in read_distributions(folder)}
    own = replace(found.pop(plugin.name, plugin), requires=plugin.requires)
    here = dict.fromkeys((root.partition(".")[0] for root in own.roots), "")
    places = here | {top: str(place) for top, place in code.items()}
    return Target(
        folder=folder,
        plugin=own,
        needed=tuple(found.values()),
        code={top: places[top] for top in sorted(without_standard_library(places))},
        entry_points=_entry_points(folder, own.name),
        hosts=(host,),
    )


def complete_targets(place: Path) -> Iterator[Target]:
    """Return the finished target directories below a folder."""
    try:
        folders = sorted(place.iterdir())
    except OSError:
        return
    for folder in folders:
        marker = read_json(folder / MARKER)
        if marker is not None:
            yield _from_json(folder, marker)


def write_marker(target: Target) -> None:
    """Write the completion marker of a target directory.

    Raises:
        OSError: The directory cannot be written.
    """
    data = {
        "plugin": target.plugin.to_json(),
        "needed": [each.to_json() for each in target.needed],
        "code": dict(target.code),
        "entry_points": dict(target.entry_points),
        "hosts": list(target.hosts),
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
    )


def _entry_points(folder: Path, name: str) -> dict[str, str]:
    from packaging.utils import canonicalize_name

    return {
        point.name: point.value
        for installed in distributions(path=[str(folder)])
        if canonicalize_name(installed.metadata["Name"]) == name
        for point in installed.entry_points
        if point.group == ENTRY_POINT_GROUP
    }
