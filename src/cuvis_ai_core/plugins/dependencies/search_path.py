"""What lies on this program's search path: distributions and top-level names, from the names of files alone.

Every load asks for each dependency whether the host has it. One listing of each folder answers all, and holds until a
folder changes.
"""

import os
import re
import sys
import time
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib.metadata import (
    Distribution,
    DistributionFinder,
    MetadataPathFinder,
    PackageMetadata,
    PathDistribution,
)
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, cast

from cuvis_ai_core.plugins.dependencies.distribution import normalised

_State: TypeAlias = tuple[tuple[str, int], ...]

_METADATA = (".dist-info", ".egg-info")

_MODULE_SUFFIXES = (".py", ".pyc", ".so", ".pyd")

# Within an installed package, such as what setuptools brings along for itself and puts at the end of the path: the
# environment's own is found before. Eggs are folders of that kind, too, but hold what is installed.
_INSIDE = re.compile(r"[\\/]((site|dist)-packages|\.targets[\\/][^\\/]+[\\/][^\\/]+)[\\/](?!.*\.egg$)")

_STANDARD_LIBRARY = os.path.dirname(os.__file__)

_TICK = 2 * 10**9
"""Nanoseconds between two times of the coarsest file system (FAT): two changes in one have the same time."""


class ReadOnce(Distribution):
    """A distribution whose metadata is parsed once, but for its description, however often it is asked for.

    `importlib.metadata` parses it anew for each question, with the description, which is most of it: among hundreds of
    distributions that is seconds.

    Args:
        found: The distribution.
    """

    def __init__(self, found: Distribution) -> None:
        self._found = found

    def read_text(self, filename: str) -> str | None:  # noqa: D102 -- as in Distribution
        return self._found.read_text(filename)

    def locate_file(self, path: str | os.PathLike[str]) -> Any:  # noqa: D102 -- as in Distribution
        return self._found.locate_file(path)

    @property
    def metadata(self) -> PackageMetadata:
        """What METADATA says, or what older formats have in its place."""
        texts = map(self.read_text, ("METADATA", "PKG-INFO", ""))
        return _parsed(next(filter(None, texts), "").partition("\n\n")[0])


class SearchPath(NamedTuple):
    """What the folders of `sys.path` hold.

    Attributes:
        metadata: The folder with the metadata of each distribution, by normalised name; the first on the path counts.
        tops: The names of all modules and packages, and of whatever else lies there.
    """

    metadata: Mapping[str, str]
    tops: frozenset[str]

    def distribution(self, name: str) -> PathDistribution | None:
        """Return an installed distribution by its normalised name."""
        folder = self.metadata.get(name)
        return None if folder is None else PathDistribution(Path(folder))

    def version(self, name: str) -> str | None:
        """Return the version of an installed distribution, or None."""
        folder = self.metadata.get(name)
        return None if folder is None else _version(folder)


def interpreter() -> str:
    """Return what a target directory depends on: implementation, version and platform."""
    # glibc and musl, and the processor, are in `_multiarch` where there is one; `sys.platform` is "linux" for all.
    return f"{sys.implementation.cache_tag}-{getattr(sys.implementation, '_multiarch', sys.platform)}"


def search_path() -> SearchPath:
    """Return what lies on the search path now."""
    state = tuple(_folders())
    now = time.time_ns()
    # What is installed a moment after a listing would not be seen for good.
    is_settled = all(abs(now - changed) > _TICK for _, changed in state)
    return _listed(state) if is_settled else _listed.__wrapped__(state)


def entries() -> list[str]:
    """Return the entries of `sys.path` that count; the import system passes over a `Path` that somebody put there."""
    return [entry for entry in cast("list[object]", sys.path) if isinstance(entry, str)]


def site_folders() -> list[str]:
    """Return the folders of the path in which distributions are installed."""
    return [entry for entry in entries() if entry.endswith(("site-packages", "dist-packages")) and os.path.isdir(entry)]


def added_below(folder: str) -> list[str]:
    """Return what lies below a folder and was put on `sys.path` before the standard library, in its order.

    Where that folder itself stands on the path, as in a plain environment, code finds these first: OpenCV puts a folder
    of its own there, and imports itself again from it.
    """
    inside = _as_written(folder)
    found = []
    for entry in entries():
        # What stands behind it does not come before an installed package in a plain environment either.
        if entry == _STANDARD_LIBRARY:
            break
        if entry.startswith(inside):
            found.append(entry)
    return found


def installed_in(folders: Iterable[str]) -> dict[str, Distribution]:
    """Return the distributions in some folders by their normalised names; of two of a name that of the first folder."""
    found: dict[str, Distribution] = {}
    # The folders alone, not our finder, which adds what live plugins have.
    for each in map(ReadOnce, MetadataPathFinder.find_distributions(DistributionFinder.Context(path=list(folders)))):
        # An interrupted uninstall leaves a folder without METADATA; to ask it for its name is deprecated.
        # Of one with an empty METADATA, newer releases of the package importlib_metadata, where imported, answer None.
        if "Name" in (each.metadata or ()):
            found.setdefault(normalised(each.metadata["Name"]), each)
    return found


def top_level_modules(folder: Path) -> set[str]:
    """Return the names of the modules and regular packages that lie directly in a folder."""
    if not folder.is_dir():
        return set()
    names = {
        entry.name.partition(".")[0]
        for entry in folder.iterdir()
        if (entry.suffix in _MODULE_SUFFIXES and entry.is_file()) or (entry / "__init__.py").is_file()
    }
    # `__pycache__` and `my-scripts.py` are no modules that a statement could name.
    return {name for name in names if name.isidentifier()}


def without_standard_library(names: Iterable[str]) -> frozenset[str]:
    """Drop names that the standard library owns: they come first on every `sys.path`, so no plugin means its own."""
    return frozenset(names) - sys.stdlib_module_names


@lru_cache(4096)
def _as_written(folder: str) -> tuple[str, ...]:
    """Return how what lies below a folder may be written: many a library resolves links in its own path first."""
    return (os.path.join(folder, ""), os.path.join(os.path.realpath(folder), ""))


def _folders() -> list[tuple[str, int]]:
    folders = []
    for folder in entries():
        try:
            # A folder's own time changes when an entry is added or goes, which is all that is read of it.
            folders.append((os.path.abspath(folder), os.stat(folder or ".").st_mtime_ns))
        except OSError:
            continue  # as the import system passes over what is not there
    return folders


# Few, as an entry has all names of a path; the last states are asked for in turns while plugins load.
@lru_cache(4)
def _listed(state: _State) -> SearchPath:
    metadata: dict[str, str] = {}
    tops: set[str] = set()
    for folder in (folder for folder, _ in state if not _INSIDE.search(folder)):
        names = os.listdir(folder) if os.path.isdir(folder) else []
        tops.update(name.partition(".")[0] for name in names)
        for name in sorted(names):
            if name.endswith(_METADATA):
                # The first on the path counts, as for importlib.metadata.
                metadata.setdefault(normalised(name.rpartition(".")[0].partition("-")[0]), f"{folder}/{name}")
    return SearchPath(metadata, frozenset(tops))


class _Text(Distribution):
    def __init__(self, metadata: str) -> None:
        self._metadata = metadata

    def read_text(self, filename: str) -> str | None:
        return self._metadata if filename == "METADATA" else ""

    def locate_file(self, path: str | os.PathLike[str]) -> Any:
        raise NotImplementedError


# By the text itself, which an installation may have replaced in its place.
@lru_cache(1024)
def _parsed(text: str) -> PackageMetadata:
    return _Text(text).metadata


# By the folder, which has the version in its name; METADATA is read once.
@lru_cache(4096)
def _version(folder: str) -> str | None:
    return PathDistribution(Path(folder)).version
