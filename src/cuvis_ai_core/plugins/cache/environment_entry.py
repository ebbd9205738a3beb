"""The virtual environment of a plugin in the plugin cache: found there, or made.

    .envs/adaclip@<content>/<key>/      marker cuvis-environment.json; the key stands for Python, this package and pins

It is made in a temporary folder and moved into place when it is whole, like every entry of the cache.
"""

import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import distributions
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from cuvis_ai_core._atomic_writes import write_json
from cuvis_ai_core._untrusted_files import read_json
from cuvis_ai_core.plugins.cache import altered_entries
from cuvis_ai_core.plugins.cache.store import Store
from cuvis_ai_core.plugins.dependencies.distribution import normalised
from cuvis_ai_core.plugins.dependencies.search_path import installed_in
from cuvis_ai_core.plugins.disk import altered_files

MARKER: Final = "cuvis-environment.json"

_FORMAT: Final = 1


class Environment(NamedTuple):
    """A virtual environment with a plugin in it.

    Attributes:
        folder: The environment.
        distribution: Name of the plugin's distribution; empty where the plugin has no project file.
        version: Its version.
        pins: `name==version` of everything that is installed, but for the plugin and this package.
        paths: Folders with modules that are not installed.
        editable: The folder with the plugin's code, where that lies elsewhere and somebody may be editing it.
        core: Folder of this package where somebody may be editing it; such an environment replaces those before it.
        refused: Fingerprints of hosts that could not load the plugin themselves.
        faces: What its node classes look like (see `describe_nodes`); None where nobody has looked yet.
        stamp: What its code was like when somebody looked.
        content: Hash of what the installers recorded.
        watched: Size and time of some of its files (see `altered_files`).
    """

    folder: Path
    distribution: str
    version: str
    pins: tuple[str, ...]
    paths: tuple[str, ...] = ()
    editable: str = ""
    core: str = ""
    refused: tuple[str, ...] = ()
    faces: Mapping[str, Any] | None = None
    stamp: str = ""
    content: str = ""
    watched: altered_files.Watched = MappingProxyType({})

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")

    @property
    def packages(self) -> Path:
        """The folder with what is installed."""
        return packages_of(self.folder)

    def requirements(self) -> list[str]:
        """Read what the plugin says that it needs."""
        found = distributions(name=self.distribution, path=[str(self.packages)]) if self.distribution else ()
        return [requirement for each in found for requirement in each.requires or ()]


def packages_of(folder: Path) -> Path:
    """Return the folder with what is installed in a virtual environment."""
    # By looking: the environment may be of another Python than this one.
    return next(iter(sorted(folder.glob("lib/python3.*/site-packages"))), folder / "Lib" / "site-packages")


def usable_environment(folder: Path, store: Store, *, write: bool = True) -> Environment | None:
    """Return the finished environment in a folder, counted as in use from now on; None where there is none.

    Args:
        folder: The folder.
        store: The plugin cache.
        write: Whether its marker may be written anew, where its files have other times.

    Raises:
        CacheMismatchError: It is there, but was altered.
    """
    read = read_environment(folder)
    if read is None or not read.python.exists():  # its Python may have been uninstalled
        return None
    keep = write_environment if write else None
    found = altered_entries.unless_removed(folder, lambda: altered_entries.looked_at(read, _watching, keep))
    return found if found is not None and store.use(folder) else None


def read_environment(folder: Path) -> Environment | None:
    """Return what the completion marker in a folder describes, or None where there is none that can be read."""
    marker = read_json(folder / MARKER)
    if marker is None or marker.pop("format", None) != _FORMAT:
        return None
    with suppress(TypeError, AttributeError):  # whatever somebody did to the file
        # JSON knows no tuples; keys that this version does not know are a TypeError, so that such a marker counts as
        # none.
        tuples = {key: tuple(value) for key, value in marker.items() if isinstance(value, list)}
        return Environment(folder=folder, **{**marker, **tuples})
    return None


def write_environment(environment: Environment) -> None:
    """Write the completion marker of an environment.

    Raises:
        OSError: The environment cannot be written.
    """
    data = environment._asdict()
    data.pop("folder")
    write_json(environment.folder / MARKER, {"format": _FORMAT, **data})


def described(folder: Path, distribution: str) -> Environment:
    """Return what is installed in a folder, with what tells later whether it was altered."""
    packages = packages_of(folder)
    recorded = altered_files.installed_files(packages)
    installed = {name: each.version for name, each in installed_in([str(packages)]).items()}
    own = {normalised(distribution), "cuvis-ai-core", "cuvis-ai-hookspecs"}
    return Environment(
        folder=folder,
        distribution=normalised(distribution),
        version=installed.get(normalised(distribution), "0"),
        pins=tuple(sorted(f"{name}=={version}" for name, version in installed.items() if name not in own)),
        content=altered_files.digest_of(recorded),
        watched=_watch(packages),
    )


def _watching(environment: Environment) -> Environment:
    return environment._replace(watched=_watch(environment.packages))


def _watch(packages: Path) -> dict[str, list[int]]:
    # A RECORD for each distribution, not every file: an environment with torch has some ten thousand.
    return altered_files.watch(packages, (path.relative_to(packages).as_posix() for path in packages.glob("*/RECORD")))


def code_stamp(environment: Environment) -> str:
    """Return what changes when somebody edits the plugin's code; nothing where it lies in the environment."""
    if not environment.editable:
        return ""
    from cuvis_ai_core.plugins.cache.store import short_hash

    folder = Path(environment.editable)
    # Code alone, as its ports are what is remembered; a `.venv` within has thousands of files.
    states = ((path, path.stat()) for path in sorted(folder.rglob("*.py")) if ".venv" not in path.parts)
    return short_hash(*(f"{path}:{state.st_size}:{state.st_mtime_ns}" for path, state in states))
