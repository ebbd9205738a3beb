"""Whether an installed entry of the plugin cache is as it was put there, asked without a lock."""

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol, TypeVar

from cuvis_ai_core.errors import CacheMismatchError
from cuvis_ai_core.plugins.disk.altered_files import (
    Watched,
    altered_files,
    digest_of,
    installed_files,
    looks_unchanged,
)

_SHOWN: Final = 3
"""Altered files that an error names."""


class InstalledPlace(Protocol):
    """A target directory or an environment, below the folder of its plugin in the plugin cache."""

    @property
    def folder(self) -> Path:
        """The whole of it."""

    @property
    def packages(self) -> Path:
        """The folder in it with what is installed."""

    @property
    def content(self) -> str:
        """Hash of what the installers recorded."""

    @property
    def watched(self) -> Watched:
        """Size and time of some of its files."""


_Place = TypeVar("_Place", bound=InstalledPlace)
_Found = TypeVar("_Found")


def refuse_altered(place: InstalledPlace) -> None:
    """Read all installed files of a place, and raise if they are not what was installed.

    Raises:
        CacheMismatchError: A file was changed or removed, or a module was added.
    """
    recorded = installed_files(place.packages)
    altered = list(altered_files(place.packages, recorded))
    if altered or digest_of(recorded) != place.content:
        name = place.folder.parent.name.partition("@")[0]
        which = f" ({', '.join(altered[:_SHOWN])}{', …' if len(altered) > _SHOWN else ''})" if altered else ""
        raise CacheMismatchError(
            f"Tag mismatch in cache for plugin '{name}': installed files in {place.folder} were changed, added or "
            f"removed{which}.",
            hint=f'Somebody changed what was installed. Install it anew: NodeRegistry.clear_plugin_cache("{name}").',
            plugin=name,
            location=str(place.folder),
            path=place.folder,
        )


def unless_removed(entry: Path, look: Callable[[], _Found]) -> _Found | None:
    """Return what a look at an entry of the store finds; None where somebody removed it, or made it anew, meanwhile.

    Who looks has no lock, and is not counted as a user yet.

    Raises:
        CacheMismatchError: It was altered.
    """
    # Taken before the look: a folder that was made anew meanwhile is another one, and was not altered.
    before = _instance(entry)
    try:
        return look()
    except CacheMismatchError:
        if _is_still(entry, before):
            raise
    except OSError as error:
        # A folder of another machine (NFS) says ESTALE of what was removed there.
        gone = error.errno in {errno.ENOENT, errno.ESTALE}
        if not gone or _is_still(entry, before):
            raise
    return None


def _is_still(entry: Path, before: tuple[int, ...] | None) -> bool:
    try:
        # To open a folder asks the server that has it; `stat` may answer from memory, for a minute.
        os.scandir(entry).close()
    except OSError:
        return False
    return before is not None and _instance(entry) == before


def _instance(entry: Path) -> tuple[int, ...] | None:
    try:
        state = os.stat(entry)
    except OSError:
        return None
    return state.st_dev, state.st_ino, state.st_mtime_ns  # numbers of files are used again


def looked_at(place: _Place, watching: Callable[[_Place], _Place], write: Callable[[_Place], None] | None) -> _Place:
    """Return a place that was looked at; where the cheap look finds a change, all files are read.

    Args:
        place: The place.
        watching: Returns it with the present sizes and times of its files.
        write: Writes its marker, so that the next look is cheap again: a copy of a cache has other times. None where
            it is somebody else's to write.

    Raises:
        CacheMismatchError: It was altered.
    """
    if looks_unchanged(place.packages, place.watched):
        return place
    refuse_altered(place)
    place = watching(place)
    if write is not None:
        with suppress(OSError):
            write(place)
    return place
