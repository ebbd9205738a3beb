"""A temporary folder beside what it is for, removed in the end, or after a crash by the next that works there."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from cuvis_ai_core._file_lock import LOCKLESS, LockFile
from cuvis_ai_core._folder_removal import remove_tree

_HOUR: Final = 3600.0


@contextmanager
def work_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """Have a temporary folder, on the file system of its parent; what killed processes left there is removed first.

    Args:
        parent: The folder in which it lies.
        prefix: How its name begins, by which that of others is known.

    Raises:
        OSError: The parent cannot be written.
    """
    sweep(parent, prefix)
    # Not by tempfile: its folder is often another file system, and a rename could not be whole.
    folder = parent / f"{prefix}{os.urandom(6).hex()}"
    lock = folder.with_name(f"{folder.name}.lock")
    # The lock comes first: a folder whose lock is free has no owner. The system lets go of the lock when this process
    # ends, however it ends.
    held = LockFile(lock)
    try:
        held.take(wait=True)
    except OSError as error:
        # Nobody can take a lock there, so that nobody removes the folder either.
        if error.errno not in LOCKLESS:
            raise
    try:
        folder.mkdir(mode=0o700)
        yield folder
    finally:
        with suppress(OSError):
            remove_tree(folder)
            lock.unlink(missing_ok=True)
        held.release()


def sweep(parent: Path, prefix: str) -> None:
    """Remove the temporary folders of processes that were killed; whoever lives holds the lock of his."""
    for path in sorted(parent.glob(f"{prefix}*")) if parent.is_dir() else ():
        folder = path.with_name(path.name.removesuffix(".lock"))
        lock = folder.with_name(f"{folder.name}.lock")
        held = LockFile(lock)
        with suppress(OSError):
            if _is_own(path) and (path == folder or _is_forgotten(lock, folder)) and held.take(wait=False):
                try:
                    remove_tree(folder)
                    lock.unlink(missing_ok=True)
                finally:
                    held.release()


def _is_own(path: Path) -> bool:
    """Tell whether something belongs to this user: a folder of temporary files is everybody's."""
    return os.name != "posix" or os.lstat(path).st_uid == os.geteuid()


def _is_forgotten(lock: Path, folder: Path) -> bool:
    """Tell whether a lock without a folder was left behind, not just made by somebody about to make the folder."""
    # Between a lock and its folder there are microseconds: an hour errs on the safe side.
    return not folder.exists() and time.time() - lock.stat().st_mtime > _HOUR
