"""What lies in the plugin cache, how large, since when unused; and removing it, but never what a process uses."""

import contextlib
import logging
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Final

from cuvis_ai_core._untrusted_files import read_json
from cuvis_ai_core.plugins.cache import entries_in_use
from cuvis_ai_core.plugins.cache.entries_in_use import User
from cuvis_ai_core.plugins.cache.store import MARKER, Store, listed

logger = logging.getLogger(__name__)


_INSTALLED: Final = {".targets": "target", ".envs": "environment"}


class Entry:
    """A checkout, a target directory, an environment, or the wheels that bundles brought, in the plugin cache.

    Attributes:
        kind: `checkout`, `target`, `environment` or `wheels`.
        key: Name and tag of a checkout; name and content of a target directory or environment.
        plugin: Name of the plugin; empty for wheels, which belong to all.
    """

    def __init__(self, store: Store, path: Path) -> None:
        self.store = store
        self.path = path
        self.kind = _kind(store, path)
        self.key = path.parent.name if self.kind in _INSTALLED.values() else path.name
        self.plugin, at, _ = self.key.partition("@")
        self.plugin = self.plugin if at else ""

    @cached_property
    def size(self) -> int:
        """Bytes in all its files."""
        return sum(self.files.values())

    @cached_property
    def files(self) -> dict[object, int]:
        """Bytes by file: installers give one file several names (hard links), in several entries."""
        return dict(_files(self.path))

    @cached_property
    def last_use(self) -> float:
        """When it was used last, in seconds since 1970; where nobody knows, when it was put there."""
        known = entries_in_use.last_use(self.store.uses(self.path))
        return known if known is not None else entries_in_use.changed(self.path)

    def users(self) -> list[User]:
        """Return the processes that use it."""
        return entries_in_use.users(self.store.uses(self.path))

    def remove(self) -> list[User]:
        """Remove it, or return who uses it.

        Raises:
            StoreError: It cannot be removed.
        """
        folder = self.store.uses(self.path)
        # Its builders' lock: what is just being made is not taken away between two looks.
        with self.store.lock(self._lock()), self.store.guard(), self.store.workspace() as work:
            # Said before users are looked for: a user does it the other way round, so one of the two sees the other.
            with entries_in_use.removing(folder):
                users = self.users()
                if not users:
                    # Out of sight first, so that nobody loads from a folder that is half gone.
                    with contextlib.suppress(FileNotFoundError):
                        os.replace(self.path, work / "removed")
                        os.replace(folder, work / "uses")
            # Records of loads name the folder: they would lead to one that is gone.
            self.store.forget()
            if not users and self.kind in _INSTALLED.values():
                # `rmdir` refuses where another process has put something there in this moment.
                _remove_empty(self.path.parent)
                _remove_empty(folder.parent)
        return users

    def _lock(self) -> str:
        """Return the name of the lock that builders of this entry hold."""
        marker = read_json(self.path / ".git" / MARKER) if self.kind == "checkout" else None
        if marker is None:
            return self.key
        # The same name and tag of two repositories are fetched under one lock.
        plain = self.store.checkouts(*(str(marker.get(key)) for key in ("name", "tag", "repo")))[0].name
        return plain if self.key.startswith(plain) else self.key


def entries(store: Store, plugin: str | None = None) -> list[Entry]:
    """Return what lies in the cache, of one plugin or of all.

    Raises:
        StoreError: The cache cannot be read.
    """
    with store.guard():
        # A user may have chosen a folder that holds other things too, `@types` or `me@host.txt` among them.
        checkouts = [path for path in listed(store.root) if "@" in path.name and (path / ".git" / MARKER).is_file()]
        installed = [path for folder in _INSTALLED for path in listed(store.root / folder)]
        contents = [path for path in installed if "@" in path.name and path.is_dir()]
        targets = [path for content in contents for path in listed(content) if path.is_dir()]
    wheels = [store.wheels] if store.wheels and plugin is None else []
    found = [Entry(store, path) for path in (*checkouts, *targets, *wheels)]
    return [entry for entry in found if plugin in {None, entry.plugin}]


def size_of(found: Iterable[Entry]) -> int:
    """Return the bytes that entries have together; a file that several of them have counts once."""
    return sum({file: size for entry in found for file, size in entry.files.items()}.values())


def freed_by(removed: Iterable[Entry], store: Store) -> int:
    """Return by how much the cache is smaller without some entries, whether they are removed yet or not."""
    gone = {entry.path: entry for entry in removed}
    others = [entry for entry in entries(store) if entry.path not in gone]
    return size_of([*gone.values(), *others]) - size_of(others)


def clear(store: Store, plugin: str | None = None) -> list[Entry]:
    """Remove everything of one plugin, or of all, and return it; what a process uses is kept, with a warning.

    Raises:
        StoreError: Something cannot be removed.
    """
    if plugin is None and store.host_wheels.is_dir():
        # Somebody else may clear as well.
        gone = contextlib.suppress(FileNotFoundError)
        with store.guard(), store.lock("host-wheels"), store.workspace() as work, gone:
            # Whoever installs from them has a folder to work in, since before he had the lock.
            if {each.stem for each in listed(work.parent)} == {work.name}:
                os.replace(store.host_wheels, work / "host")
    return [entry for entry in entries(store, plugin) if _removed(entry)]


def prune(
    store: Store, *, unused_for: float | None = None, max_size: int | None = None, dry_run: bool = False
) -> list[Entry]:
    """Remove what was not used for some time, then what was used longest ago until the rest is small enough.

    What a process uses is kept, with a warning; and so are wheels that bundles brought, which nobody can fetch again.

    Args:
        store: The plugin cache.
        unused_for: Seconds.
        max_size: Bytes that may remain.
        dry_run: Only return what would be removed.

    Raises:
        StoreError: Something cannot be removed.
    """
    # By last use, as recorded, not by access times: file systems are mounted with relatime or noatime.
    found = sorted(entries(store), key=lambda entry: entry.last_use)
    excess = size_of(found) - max_size if max_size is not None else 0
    # Only with the last of its names a file goes.
    names = Counter(file for entry in found for file in entry.files) if max_size is not None else Counter()
    removed = []
    for entry in found:
        outdated = unused_for is not None and time.time() - entry.last_use > unused_for
        if (outdated or excess > 0) and entry.kind != "wheels" and _removed(entry, dry_run=dry_run):
            names.subtract(entry.files.keys())
            excess -= sum(size for file, size in entry.files.items() if not names[file])
            removed.append(entry)
    if found and not dry_run:
        store.sweep()
    return removed


def replace_older(store: Store, place: Path) -> None:
    """Remove the target directories, or environments, of a local plugin from before its project file was edited."""
    same, dot, _ = place.name.rpartition(".")
    for entry in entries(store, place.name.partition("@")[0]) if dot else ():
        alike = entry.path.parent.parent == place.parent and entry.key.startswith(f"{same}.")
        if alike and entry.key != place.name:
            entry.remove()  # which keeps what is in use, until the next replacement


def _removed(entry: Entry, *, dry_run: bool = False) -> bool:
    # A cached property.
    entry.size  # noqa: B018 - to be known afterwards
    users = entry.users() if dry_run else entry.remove()
    if users:
        own = any(user.pid == os.getpid() for user in users)
        step = f'registry.unload_plugin("{entry.plugin}")' if own else "end it"
        logger.warning(
            "Plugin '%s': %s is kept, because it is in use by %s. To remove it, first %s, and try again.",
            *(entry.plugin, entry.path, ", ".join(map(str, users)), step),
        )
    return not users


def _kind(store: Store, path: Path) -> str:
    if path.parent != store.root:
        return _INSTALLED[path.parent.parent.name]
    return "checkout" if "@" in path.name else "wheels"


def _remove_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()


def _files(folder: Path) -> Iterator[tuple[object, int]]:
    for parent, _, files in os.walk(folder):
        for name in files:
            path = f"{parent}/{name}"
            with contextlib.suppress(OSError):
                # Not by `stat`: a link counts as itself, wherever it leads.
                state = os.lstat(path)
                # Also of a file with one name: it may have had more before another entry was removed.
                yield (state.st_dev, state.st_ino), state.st_size
