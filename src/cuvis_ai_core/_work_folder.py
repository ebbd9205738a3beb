"""A temporary folder beside what it is for, removed in the end, or after a crash by the next that works there."""

import os
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Final

from cuvis_ai_core._file_lock import LOCKLESS, LockFile
from cuvis_ai_core._folder_removal import remove_tree

_HOUR: Final = 3600.0
_DAY: Final = 24 * _HOUR


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
    folder = parent / f"{prefix}{_system()}-{os.urandom(6).hex()}"
    owner = os.getpid()
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
        if os.getpid() == owner:  # and not a child that was forked off, whose copy of this ends as well
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
            if _may_go(path, folder, ours=path.name.startswith(f"{prefix}{_system()}-")) and held.take(wait=False):
                try:
                    remove_tree(folder)
                    lock.unlink(missing_ok=True)
                finally:
                    held.release()


def _may_go(path: Path, folder: Path, *, ours: bool) -> bool:
    """Tell whether a folder, or a lock that has lost its folder, goes where nobody holds the lock."""
    state = os.lstat(path)
    # A folder of temporary files is everybody's.
    if os.name == "posix" and state.st_uid != os.geteuid():
        return False
    if path != folder and folder.exists():
        return False
    # Another machine's lock may be none here: file systems are shared without, and with locks of each machine alone.
    # Between a lock and its folder there are microseconds: an hour errs on the safe side.
    least = _DAY if not ours else _HOUR if path != folder else 0
    return not least or time.time() - state.st_mtime > least


@cache
def _system() -> str:
    """Return what tells apart the systems that may see a folder, each with its own locks."""
    try:
        # Of the kernel, whose locks its containers share.
        known = Path("/proc/sys/kernel/random/boot_id").read_bytes()
    except OSError:
        import platform

        known = platform.node().encode()
    return f"{zlib.crc32(known):08x}"
