"""A target directory: what was installed for one plugin."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from cuvis_ai_core.plugins.dependencies.distribution import Distribution


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
