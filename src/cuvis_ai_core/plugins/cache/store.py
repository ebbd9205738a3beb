"""The plugin cache on disk: where things lie, and how they get there whole.

    ~/.cuvis_plugins/
    ├── README
    ├── adaclip@v0.1.0/          shallow checkout of the tag; its marker lies in .git/, the tree stays clean
    ├── adaclip@v0.1.0+3fa9c1e2/ the same name and tag from another repository
    ├── .targets/adaclip@<content>/<pins>/   installed target directories, marker cuvis-target.json
    ├── .envs/adaclip@<content>/<key>/      environments of plugins in a process of their own, cuvis-environment.json
    ├── .records/                what the last load of a plugin found, while no file says otherwise (see `load_record`)
    ├── .logs/                   last words of worker processes that crashed
    ├── .uses/                   who uses an entry, and since when nobody does (see `entries_in_use`)
    ├── .wheels/<sha256>/        wheels that bundles brought, for lock files that name these hashes
    ├── .host/<fingerprint>/     wheels of this package, which environments get (see `host_wheels`)
    └── .locks/ .tmp/            one lock per thing being built; work in progress

"The directory exists" proves nothing: an entry counts when its marker is there. The marker is written last, in a
temporary folder on the same file system, which is then renamed into place. Readers take no lock; builders check,
take the lock of that entry, check again, and build.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from cuvis_ai_core.errors import CuvisError, StoreError
from cuvis_ai_core.plugins.cache import entries_in_use
from cuvis_ai_core.plugins.cache.cache_dir import (
    ENVIRONMENT_VARIABLE,
    SHARED_VARIABLE,
    chosen_root,
    refuse_foreign,
    unusable,
)
from cuvis_ai_core.plugins.cache.entries_in_use import Uses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MARKER: Final = "cuvis-checkout.json"
"""Completion marker of a checkout; it lies in `.git/`."""

# A folder's name is two of these and two hashes: 255 bytes are what ext4, NTFS and APFS allow.
_TAG_BYTES: Final = 120

_README: Final = """\
This folder is the plugin cache of cuvis-ai-core: checkouts of plugins and what was installed for them.
It is safe to delete; what is needed is fetched again. `cuvis-ai plugins cache` shows and empties it.
"""


def short_hash(*parts: str) -> str:
    """Return eight hexadecimal digits that stand for some texts."""
    return long_hash(*parts)[:8]


def long_hash(*parts: str) -> str:
    """Return 32 hexadecimal digits that stand for some texts: so many that nobody finds others with the same ones."""
    import hashlib

    # Names of files may hold halves of surrogate pairs, where the system's bytes were no UTF-8.
    return hashlib.sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()[:32]


class Store:
    """The plugin cache in one folder, which is made when something is first put there.

    What is used through one store counts as in use until `release`, or until nobody has that store any more; what is
    handed over, until that is released.

    Args:
        root: Absolute path of the folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._uses = Uses()

    @property
    def shared(self) -> Store | None:
        """The plugin cache that others filled, where one is named: `CUVIS_SHARED_STORE`."""
        named = os.environ.get(SHARED_VARIABLE)
        return SharedStore(chosen_root(named)) if named else None

    def refuse_foreign(self) -> None:
        """Raise if another user may write to the cache, and so have this one run what he likes.

        Raises:
            StoreError: He may.
        """
        if os.name == "posix":
            # The effective user: under sudo or in a setuid program, his are the rights that loaded code gets.
            refuse_foreign(os.fspath(self.root), owner=os.geteuid())

    def checkouts(self, name: str, tag: str, url: str) -> tuple[Path, Path]:
        """Return the two places where the checkout of a tag may lie: the plain one, and one for this repository only.

        The second is used where the first holds the same name and tag of another repository.
        """
        plain = self.root / f"{_encode(name)}@{_encode(tag)}"
        return plain, plain.with_name(f"{plain.name}+{short_hash(url, tag)}")

    def lacks(self, name: object, entry: object) -> bool:
        """Tell whether the tag of an entry, which nobody has checked yet, is surely not there."""
        tag = entry.get("tag") if isinstance(entry, Mapping) else None
        return isinstance(name, str) and isinstance(tag, str) and not self.checkouts(name, tag, "")[0].exists()

    def targets(self, name: str, content: str) -> Path:
        """Return the folder of the target directories of one plugin content, one below it per set of pins."""
        return self.root / ".targets" / f"{_encode(name)}@{content}"

    def environments(self, name: str, content: str) -> Path:
        """Return the folder of the environments of one plugin content, one below it per Python and set of pins."""
        return self.root / ".envs" / f"{_encode(name)}@{content}"

    def record(self, key: str) -> Path:
        """Return the file that says what the last load of some request found (see `load_record`)."""
        return self.root / ".records" / key

    def forget(self) -> None:
        """Remove what says what loads found: the next ones look at everything again."""
        # A shared or read-only cache keeps its records, which compare the states of files anyhow.
        with contextlib.suppress(OSError):
            for record in listed(self.root / ".records"):
                record.unlink(missing_ok=True)

    @property
    def logs(self) -> Path:
        """Folder with the last words of worker processes that crashed."""
        return self.root / ".logs"

    @property
    def wheels(self) -> Path | None:
        """Folder with the wheels that bundles brought; None where there are none."""
        return self.carried if self.carried.is_dir() else None

    @property
    def carried(self) -> Path:
        """Folder for the wheels that bundles bring, each in one that is called after its hash (see `carried`)."""
        return self.root / ".wheels"

    @property
    def host_wheels(self) -> Path:
        """Folder for the wheels of this package that environments get (see `host_wheels`)."""
        return self.root / ".host"

    def uses(self, entry: Path) -> Path:
        """Return the folder in which it is kept who uses an entry."""
        return self.root / ".uses" / entry.relative_to(self.root)

    def use(self, entry: Path, *, locked: bool = False) -> bool:
        """Count an entry as in use from now on, and return whether it is there to stay.

        Args:
            entry: A checkout or a target directory.
            locked: Whether the caller holds the entry's lock, so that nobody can be removing it.
        """
        folder = self.uses(entry)
        # First said, then looked: the other order leaves a moment in which a removal sees no user.
        self._uses.begin(folder)
        if locked:
            entries_in_use.settle(folder)
        # In this order: who removes an entry looks for users after saying so, and then moves it away.
        return not entries_in_use.being_removed(folder) and os.path.isdir(entry)

    def hand_over(self, *entries: Path) -> Uses:
        """Return the uses of some entries, which end apart from the others from now on; others are none of ours."""
        return self._uses.hand_over(*(self.uses(entry) for entry in entries if entry.is_relative_to(self.root)))

    def release(self) -> None:
        """Say that nothing is in use through this store any more."""
        self._uses.release()

    @contextlib.contextmanager
    def workspace(self) -> Iterator[Path]:
        """Have a temporary folder on the file system of the cache, removed in the end, or after a crash by the next.

        Raises:
            StoreError: The cache cannot be written, or the disk got full while the folder was in use.
        """
        from cuvis_ai_core._work_folder import work_folder
        from cuvis_ai_core.plugins.disk.full_disk import refuse_full_disk

        with contextlib.ExitStack() as stack:
            with self.guard():
                self._prepare()
                folder = stack.enter_context(work_folder(self.root / ".tmp", ""))
            try:
                yield folder
            except OSError as error:
                if not isinstance(error, CuvisError):
                    refuse_full_disk(str(error), folder.parent)
                raise

    @contextlib.contextmanager
    def lock(self, entry: str, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
        """Hold the lock of one entry; whoever builds or removes the same entry waits.

        Args:
            entry: Name of the lock.
            waiting: Told for what it waits, when another process or thread has the lock.

        Raises:
            StoreError: The cache cannot be written.
        """
        import logging

        from cuvis_ai_core._file_lock import LockFile

        with self.guard():
            self._prepare()
            held = LockFile(self.root / ".locks" / f"{entry}.lock")
            # Tried first, so that somebody is told for what there is a wait.
            if not held.take(wait=False):
                text = f"waiting for another process that builds {entry}"
                logging.getLogger(__name__).info(text)
                if waiting is not None:
                    waiting(text)
                held.take(wait=True)
        try:
            yield
        finally:
            held.release()

    def publish(self, built: Path, place: Path) -> None:
        """Move a finished folder, its marker included, to its place; what lies there without a marker goes.

        The caller holds the lock of the entry.

        Raises:
            StoreError: The cache cannot be written.
        """
        with self.guard():
            place.parent.mkdir(parents=True, exist_ok=True)
            if place.exists():
                # A folder cannot be renamed over one that is not empty; the old one goes with the workspace.
                os.replace(place, built.with_name(f"{built.name}.old"))
            os.replace(built, place)

    def sweep(self) -> None:
        """Remove the work in progress of processes that were killed."""
        from cuvis_ai_core import _work_folder

        _work_folder.sweep(self.root / ".tmp", "")

    def _prepare(self) -> None:
        self.refuse_foreign()
        if not self.root.exists():
            self.root.parent.mkdir(parents=True, exist_ok=True)
            # Its user's alone: whatever lies in it is run.
            self.root.mkdir(mode=0o700, exist_ok=True)
        for folder in (".locks", ".tmp"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        readme = self.root / "README"
        if not readme.exists():
            readme.write_text(_README, encoding="utf-8")

    @contextlib.contextmanager
    def guard(self) -> Iterator[None]:
        """Turn what the file system refuses into an error that names the cache."""
        try:
            yield
        except OSError as error:
            if isinstance(error, StoreError):
                raise
            raise unusable(self.root, error) from error


class SharedStore(Store):
    """A plugin cache that others filled, for reading only."""

    def use(self, entry: Path, *, locked: bool = False) -> bool:
        """Return whether an entry is there; nobody is told that it is used."""
        return entry.is_dir()

    def refuse_foreign(self) -> None:
        """Raise if others than its owner may write to it.

        Raises:
            StoreError: They may.
        """
        if os.name == "posix":
            refuse_foreign(os.fspath(self.root), owner=None)

    def _prepare(self) -> None:
        raise StoreError(
            f"The shared plugin cache {self.root} is never written.",
            hint=f"Whoever keeps it fills it, as the plugin cache of a command: {ENVIRONMENT_VARIABLE}={self.root}",
            path=self.root,
        )


def leads_out(entry: Path, root: Path) -> bool:
    """Tell whether an entry of a plugin cache lies elsewhere, by way of a link."""
    # With the separator: `/cache-other` begins like `/cache`.
    return not os.path.realpath(entry).startswith(os.path.realpath(root) + os.sep)


def listed(folder: Path) -> list[Path]:
    """Return what lies in a folder, sorted; nothing where there is none."""
    # Sorted: the order of a folder differs from one file system to the next.
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _encode(tag: str) -> str:
    """Return a tag, or a plugin's name, as one folder name on every file system."""
    # A tag may hold '/' and ':'; '%' makes two tags never the same name.
    encoded = "".join(char if char.isalnum() or char in "._-+" else f"%{ord(char):02X}" for char in tag)
    # File systems allow 255 bytes for a name, which also holds the plugin's name and two hashes.
    return encoded if len(encoded.encode()) <= _TAG_BYTES else f"{short_hash(tag)}%{short_hash(tag, tag)}"
