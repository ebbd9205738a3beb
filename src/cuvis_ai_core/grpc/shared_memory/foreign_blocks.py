"""Blocks of shared memory that somebody else owns, as this process reads them.

A server copies them out and never maps them: their owner could take them away meanwhile. A client, which trusts its
server, maps them.
"""

import mmap
import os
import re
import stat
import weakref
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cuvis_ai_core.errors import ServiceError
from cuvis_ai_core.grpc.shared_memory.dev_shm_blocks import FOLDER, GRANULE

_NAME: Final = re.compile(r"/?([A-Za-z0-9_][A-Za-z0-9_.-]{0,200})")
_MOST_MAPS: Final = 8
_MOST_MAPPED: Final = 2**30
"""Maps of foreign blocks that are kept for their next use, and their bytes."""


class Copies:
    """Memory of this process that the content of foreign blocks is copied to, and that is used again."""

    def __init__(self) -> None:
        self._free: list[mmap.mmap] = []
        self._most = 4

    def read(self, name: str, offset: int, size: int) -> memoryview:
        """Return a copy of a part of a block; when the last array on it is gone, its memory is used again.

        Raises:
            ServiceError: There is no such block, it is shorter, or it is none that clients may name.
        """
        handle = _opened(name)
        try:
            if offset + size > os.fstat(handle).st_size:
                raise _wrong(f"The block '{name}' is shorter than {offset + size} bytes.")
            memory = self._room(size)
            view = memoryview(memory)[:size]
            _read_all(handle, view, offset, name)
        finally:
            os.close(handle)
        lease = np.frombuffer(view, np.uint8)
        # A mapping cannot be referred to weakly; arrays made of this one keep it alive.
        weakref.finalize(lease, self._back, memory).atexit = False
        return lease.data

    def _room(self, size: int) -> mmap.mmap:
        fitting = [each for each in self._free if len(each) >= size]
        if fitting:
            found = min(fitting, key=len)
            self._free.remove(found)
            return found
        # Anonymous, and page-aligned: a mapping of no bytes is a ValueError.
        return mmap.mmap(-1, -(-max(size, 1) // GRANULE) * GRANULE)

    def _back(self, memory: mmap.mmap) -> None:
        if len(self._free) < self._most:
            self._free.append(memory)


class Foreign:
    """Blocks of somebody who is trusted, as this process sees them; kept, since their owner uses them again."""

    def __init__(self) -> None:
        self._known: dict[str, mmap.mmap] = {}

    def view(self, name: str, size: int, ended: Callable[[str], None]) -> NDArray[Any]:
        """Return a view of the beginning of a block; when the last array on it is gone, that is told.

        Raises:
            ServiceError: There is no such block.
        """
        if name not in self._known:
            while len(self._known) >= _MOST_MAPS or sum(map(len, self._known.values())) > _MOST_MAPPED:
                del self._known[next(iter(self._known))]
            self._known[name] = self._map(name, size)
        array: NDArray[Any] = np.frombuffer(self._known[name], np.uint8, size)
        weakref.finalize(array, ended, name).atexit = False
        return array

    def forget(self) -> None:
        """Let go of all that nobody has an array on."""
        self._known.clear()

    @staticmethod
    def _map(name: str, size: int) -> mmap.mmap:
        handle = _opened(name)
        try:
            whole = max(os.fstat(handle).st_size, size)
            # All pages at once: each that is looked up when it is first read costs as much as reading it.
            flags = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)
            return mmap.mmap(handle, whole, flags=flags, prot=mmap.PROT_READ)
        except (OSError, ValueError) as error:
            raise _wrong(f"The block '{name}' cannot be read: {error}.") from error
        finally:
            os.close(handle)


def _opened(name: str) -> int:
    """Open a block for reading: a regular file of that name, no link, no pipe."""
    matched = _NAME.fullmatch(name)
    if matched is None:
        raise _wrong(f"'{name[:80]}' is no name of a block of shared memory.")
    try:
        # O_NONBLOCK: opening a pipe waits for its writer; O_NOFOLLOW: a link leads anywhere.
        handle = os.open(FOLDER / matched[1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _wrong(f"The block '{name}' cannot be opened: {error.strerror}.") from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise _wrong(f"'{name}' is no block of shared memory.")
    return handle


def _read_all(handle: int, view: memoryview, offset: int, name: str) -> None:
    done = 0
    while done < len(view):
        # Read, not mapped: a file that is shortened while it is mapped ends this process (SIGBUS).
        count = os.preadv(handle, [view[done:]], offset + done)
        if not count:
            raise _wrong(f"The block '{name}' was shortened while it was read.")
        done += count


def _wrong(text: str) -> ServiceError:
    return ServiceError(text, code="INVALID_ARGUMENT")
