"""One lock of the plugin cache: a file that one process at a time holds, and never longer than it lives.

Where the system has `flock`, that is a call. filelock, which knows all systems, takes as long to import as a small
plugin to fetch: it is asked on Windows, and on file systems that say that they have no locks. Both hold the same file
in the same way.
"""

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from cuvis_ai_core._after_fork import in_children

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCKLESS: Final = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})
"""How a file system says that it has no locks."""

# Never through a link: in a cache that somebody else could write, it would have any file made.
_OPEN: Final = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0)
_RIGHTS: Final = 0o666
"""Rights of a new file, of which the user's mask takes some away."""

_open: set[int] = set()
"""The files that are open here. A child that was forked off closes them: it would hold the locks beyond our end."""


class LockFile:
    """A lock that processes, and threads with an object each, hold in turn.

    Args:
        path: The file; it is made, and stays.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._release: Callable[[], object] | None = None

    def take(self, *, wait: bool) -> bool:
        """Take the lock, and tell whether that was possible.

        Args:
            wait: Whether to wait for who has it.

        Raises:
            OSError: The file cannot be made or opened, or the file system refuses.
        """
        try:
            while self._release is None:
                self._release = self._taken(wait=wait)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        """Let go of the lock, if it is held."""
        release, self._release = self._release, None
        if release is not None:
            release()

    def _taken(self, *, wait: bool) -> Callable[[], object] | None:
        """Return what lets go of the lock; None where the file was removed while it was waited for."""
        if fcntl is None:
            return self._by_library(wait=wait)
        handle, is_new = self._opened()
        is_ours = False
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            is_ours = self._is_there(handle)
        except OSError as error:
            # On NFS, Linux makes flock a record lock, for which POSIX allows EACCES.
            if error.errno == errno.EACCES:  # some file systems say so where somebody else has it
                raise BlockingIOError from error
            if error.errno != errno.ENOSYS:
                raise
            if is_new:  # to the library, a file that is there is somebody's
                self._path.unlink(missing_ok=True)
            return self._by_library(wait=wait)
        finally:
            if not is_ours:
                _close(handle)
        return partial(_close, handle) if is_ours else None

    def _opened(self) -> tuple[int, bool]:
        """Return the open file, and whether it was made."""
        while True:
            try:
                # Python opens files with O_CLOEXEC (PEP 446): programs that are started do not hold the lock.
                handle, is_new = os.open(self._path, _OPEN | os.O_CREAT | os.O_EXCL, _RIGHTS), True
            except FileExistsError:
                try:
                    handle, is_new = os.open(self._path, _OPEN), False
                except FileNotFoundError:  # removed in this moment
                    continue
            _open.add(handle)
            return handle, is_new

    def _is_there(self, handle: int) -> bool:
        """Tell whether an open file is still the one at the path: who held it may have removed it."""
        with suppress(FileNotFoundError):
            # A lock on a file that was removed excludes nobody: the next one makes a new file and locks that.
            return os.path.samestat(os.fstat(handle), os.lstat(self._path))
        return False

    def _by_library(self, *, wait: bool) -> Callable[[], object]:
        from filelock import FileLock, Timeout

        lock = FileLock(self._path)
        try:
            lock.acquire(blocking=wait)
        # filelock says so where it was not to wait.
        except Timeout as error:
            raise BlockingIOError from error
        except NotImplementedError as error:  # of versions that know no other way
            raise OSError(errno.ENOSYS, "its file system has no locks", str(self._path)) from error
        return lock.release


def _close(handle: int) -> None:
    if handle in _open:
        _open.discard(handle)
        with suppress(OSError):
            # A child that is forked off in this moment has the file open, too: closing alone would leave it the lock.
            fcntl.flock(handle, fcntl.LOCK_UN)
        os.close(handle)


def _close_all() -> None:
    while _open:
        os.close(_open.pop())


in_children(_close_all)
