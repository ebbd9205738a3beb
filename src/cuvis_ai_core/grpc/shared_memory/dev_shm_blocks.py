"""Shared memory between client and server on one machine: named blocks, used again, gone when their owner is.

A block is a file below `/dev/shm` that its owner keeps locked. Whoever finds one that nobody has locked removes it: its
owner ended, however that was. Fresh memory costs ten times as much as memory that was used before, so an owner keeps
its blocks. What somebody else owns is read by `foreign_blocks`.
"""

import mmap
import os
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

FOLDER: Final = Path("/dev/shm")  # noqa: S108 - where POSIX shared memory lies on Linux
SMALLEST: Final = 2**16
"""Bytes from which an array travels in a block; a smaller one is faster in the message itself."""

PREFIX: Final = "cuvis-ai-"
SERVER: Final = f"{PREFIX}server-"
CLIENT: Final = f"{PREFIX}client-"

GRANULE: Final = 2**20
"""Bytes by which blocks are larger than one another."""

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
        self.size = -(-size // GRANULE) * GRANULE
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
