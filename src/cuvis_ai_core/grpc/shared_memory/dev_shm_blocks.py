"""Shared memory between client and server on one machine: named blocks, used again, gone when their owner is.

A block is a file below `/dev/shm` that its owner keeps locked. Whoever finds one that nobody has locked removes it: its
owner ended, however that was. Fresh memory costs ten times as much as memory that was used before, so an owner keeps
its blocks. What somebody else owns is copied out, never mapped on the server: its owner could take it away meanwhile.
"""

import mmap
import os
import re
import secrets
import stat
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from cuvis_ai_core.errors import ServiceError

FOLDER: Final = Path("/dev/shm")  # noqa: S108 - where POSIX shared memory lies on Linux
SMALLEST: Final = 2**16
"""Bytes from which an array travels in a block; a smaller one is faster in the message itself."""

PREFIX: Final = "cuvis-ai-"
SERVER: Final = f"{PREFIX}server-"
CLIENT: Final = f"{PREFIX}client-"

_NAME: Final = re.compile(r"/?([A-Za-z0-9_][A-Za-z0-9_.-]{0,200})")
_GRANULE: Final = 2**20
_MOST_MAPS: Final = 8
_MOST_MAPPED: Final = 2**30
"""Maps of foreign blocks that are kept for their next use, and their bytes."""

_YOUNG: Final = 10.0
"""Seconds in which a block may not be locked yet by who makes it."""


class Block:
    """A block of one's own.

    Args:
        prefix: Begins its name.
        size: Bytes that it has at least.

    Raises:
        OSError: There is not enough memory.
    """

    def __init__(self, prefix: str, size: int) -> None:
        import fcntl  # which Windows does not have, nor blocks

        self.name = f"{prefix}{secrets.token_hex(8)}"
        self.size = -(-size // _GRANULE) * _GRANULE
        # O_EXCL: a file that somebody put there before would be his to shorten.
        self._handle = os.open(FOLDER / self.name, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            # The system lets go of it when the process ends, by whatever signal; a list of owners would outlive them.
            fcntl.flock(self._handle, fcntl.LOCK_EX)
            os.posix_fallocate(self._handle, 0, self.size)  # memory that is missing is an error here, a crash later
            self.memory = mmap.mmap(self._handle, self.size)
        except BaseException:
            self._remove()
            raise

    def write(self, array: NDArray[Any]) -> None:
        """Copy an array into the block."""
        write_into(self.memory, array)

    def close(self) -> None:
        """Give the memory back."""
        self._remove()

    def _remove(self) -> None:
        # The name first: a block without its lock would be swept by somebody else.
        (FOLDER / self.name).unlink(missing_ok=True)
        os.close(self._handle)


class Owned(Protocol):
    """A block of one's own, with a name in the file system or without."""

    name: str
    size: int
    memory: mmap.mmap

    def write(self, array: NDArray[Any]) -> None:
        """Copy an array into the block."""

    def close(self) -> None:
        """Give the memory back."""


class Blocks:
    """The blocks of one owner.

    Args:
        make: Makes one of a size; what it cannot is an OSError.
        most: Bytes that all of them may have.
    """

    def __init__(self, make: Callable[[int], Owned], most: int) -> None:
        self._make = make
        self._most = most
        self._used: dict[str, Owned] = {}
        self._free: list[Owned] = []
        self._lock = threading.Lock()

    def put(self, array: NDArray[Any]) -> Owned | None:
        """Return a block with the content of an array, or None where there is no more room."""
        if (block := self.take(array.nbytes)) is not None:
            block.write(array)
        return block

    def take(self, size: int) -> Owned | None:
        """Return a block of a size at least, or None where there is no more room."""
        with self._lock:
            fitting = [each for each in self._free if each.size >= size]
            block = min(fitting, key=lambda each: each.size, default=None)
            if block is not None:
                self._free.remove(block)
            elif (block := self._made(size)) is None:
                return None
            self._used[block.name] = block
        return block

    def get(self, name: str) -> Owned | None:
        """Return the block of a name that is in use."""
        return self._used.get(name)

    def release(self, name: str) -> None:
        """Take a block back that nobody reads any more."""
        with self._lock:
            if (block := self._used.pop(name, None)) is not None:
                self._free.append(block)

    def discard(self, name: str) -> None:
        """Give a block back that somebody may read for long."""
        with self._lock:
            if (block := self._used.pop(name, None)) is not None:
                block.close()

    def close(self) -> None:
        """Give all memory back."""
        with self._lock:
            for block in [*self._used.values(), *self._free]:
                block.close()
            self._used.clear()
            self._free.clear()

    def _made(self, size: int) -> Owned | None:
        # What is free goes first, the longest unused before the others.
        while self._free and self._bytes() + size > self._most:
            self._free.pop(0).close()
        if self._bytes() + size > self._most:
            return None
        try:
            return self._make(size)
        except OSError:  # no room in the machine
            return None

    def _bytes(self) -> int:
        return sum(each.size for each in [*self._used.values(), *self._free])


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
        return mmap.mmap(-1, -(-max(size, 1) // _GRANULE) * _GRANULE)

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


def write_into(memory: mmap.mmap, array: NDArray[Any]) -> None:
    """Copy an array into memory, in C order, little-endian."""
    target: NDArray[Any] = np.frombuffer(memory, array.dtype.newbyteorder("<"), array.size)
    np.copyto(target.reshape(array.shape), array)


def place_of(array: NDArray[Any]) -> int:
    """Return the address of an array's first value."""
    return int(array.__array_interface__["data"][0])


def is_available() -> bool:
    """Tell whether this machine has shared memory with names."""
    return FOLDER.is_dir() and os.access(FOLDER, os.W_OK)


def sweep() -> list[str]:
    """Remove the blocks whose owners have ended, and return their names."""
    if not is_available():
        return []
    import fcntl

    removed = []
    for file in FOLDER.glob(f"{PREFIX}*"):
        try:
            if time.time() - file.stat().st_mtime < _YOUNG:
                continue
            # /dev/shm is everybody's: a link of that name could have any file opened.
            handle = os.open(file, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.unlink(missing_ok=True)
            removed.append(file.name)
        except OSError:  # somebody has it
            pass
        finally:
            os.close(handle)
    return removed


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
