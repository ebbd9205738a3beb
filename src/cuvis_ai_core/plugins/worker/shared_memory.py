"""Memory that host and worker both see: anonymous, so that nothing of it has a name that could be left behind.

The system frees a segment when the last process that has it lets go, however it ends. Fresh memory costs ten times as
much as memory that was used before, so that a pool keeps what a call needed for the next one: as much, and no more.
"""

import ctypes
import mmap
import os
import tempfile
import weakref
from collections import deque
from collections.abc import Callable, Collection, Iterable
from typing import Any, Final

try:
    import fcntl
except ImportError:  # on Windows, where no worker is started (see `worker_setup`)
    _SEALS = 0
else:
    _SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW if hasattr(fcntl, "F_SEAL_SHRINK") else 0

SMALLEST: Final = 2**16
"""Bytes from which an array travels in a segment; a smaller one is faster in the message itself."""

_MOST_IN_USE: Final = 128
"""Segments of one connection whose memory arrays may hold on to."""


class Segment:
    """Shared memory.

    Args:
        name: What both sides call it.
        size: Its size in bytes.
        handle: File descriptor of it, which is closed.

    Attributes:
        memory: The memory.
    """

    __slots__ = ("__weakref__", "memory", "name", "size")

    def __init__(self, name: str, size: int, handle: int) -> None:
        self.name = name
        self.size = size
        try:
            # Memory that the other end could shrink ends this process by SIGBUS at the next access.
            if _SEALS and fcntl.fcntl(handle, fcntl.F_GET_SEALS) & _SEALS != _SEALS:
                raise ValueError("memory that could be taken away")
            self.memory = mmap.mmap(handle, size)
        finally:
            os.close(handle)

    def lease(self, size: int, ended: Callable[[str], None]) -> Any:
        """Return a buffer of the first bytes; when the last array on it is gone, that is told.

        Args:
            size: Bytes of the buffer.
            ended: Called with the segment's name, in any thread.
        """
        # A mapping cannot be referred to weakly, nor closed while an array is on it; a ctypes buffer tells when the
        # last is gone.
        buffer = (ctypes.c_char * size).from_buffer(self.memory)
        weakref.finalize(buffer, ended, self.name).atexit = False
        return buffer


def new_memory(size: int) -> int:
    """Return the file descriptor of new shared memory.

    Raises:
        OSError: There is not enough memory.
    """
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("cuvis-ai", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    else:
        with tempfile.TemporaryFile() as file:
            # macOS has no memfd: a file without a name, of which the system keeps what fits in memory.
            handle = os.dup(file.fileno())
    try:
        if hasattr(os, "posix_fallocate"):
            # `ftruncate` promises pages that do not exist; writing to one then ends the process (SIGBUS).
            os.posix_fallocate(handle, 0, size)  # memory that is missing is an error here, and a crash later
        else:
            os.ftruncate(handle, size)
        if _SEALS:  # whoever shares it may fill it, and not take it away
            fcntl.fcntl(handle, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(handle)
        raise
    return handle


class SegmentPool:
    """The segments of one side of a connection.

    Args:
        prefix: Begins the names of segments that are made here.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._count = 0
        self._known: dict[str, Segment] = {}
        self._new: list[tuple[str, int, int]] = []

    def get(self, name: str) -> Segment:
        """Return a segment by its name.

        Raises:
            ValueError: There is none.
        """
        if name not in self._known:
            raise ValueError(f"no segment {name!r}")
        return self._known[name]

    def make(self, size: int) -> Segment:
        """Return a new segment, which the other side is told of with the next message.

        Raises:
            OSError: There is not enough memory.
        """
        # Rounded up, so that arrays of nearly one size use one segment again.
        size = -(-size // SMALLEST) * SMALLEST
        self._count += 1
        name, handle = f"{self._prefix}{self._count}", new_memory(size)
        self._new.append((name, size, os.dup(handle)))
        self._known[name] = Segment(name, size, handle)
        return self._known[name]

    def lease(self, name: str, size: int, ended: Callable[[str], None]) -> Any:
        """Return a buffer of the first bytes of a segment, or of a copy of them where many segments are in use.

        A segment in use costs an open file, of which a process may have some hundreds.

        Args:
            name: Name of the segment.
            size: Bytes of the buffer.
            ended: Called with the name when the segment is not needed any more, in any thread.

        Raises:
            ValueError: There is no such segment.
        """
        segment = self.get(name)
        if len(self._known) <= _MOST_IN_USE:
            return segment.lease(size, ended)
        copy = bytearray(memoryview(segment.memory)[:size])
        ended(name)
        return copy

    def take_new(self) -> list[tuple[str, int, int]]:
        """Return name, size and handle of what the other side has to be told of."""
        new, self._new = self._new, []
        return new

    def learn(self, told: Iterable[tuple[str, int]], handles: Iterable[int]) -> None:
        """Take over what the other side made.

        Raises:
            ValueError: That is not what was said.
        """
        # Strict: a handle too few would give each later segment the memory of another.
        for (name, size), handle in zip(told, handles, strict=True):
            self._known[name] = Segment(name, size, handle)

    def sizes(self, names: Collection[str]) -> int:
        """Return how many bytes some segments have together."""
        return sum(self._known[name].size for name in names)

    def drop(self, names: Iterable[str]) -> None:
        """Let go of segments; arrays that are still there keep the memory."""
        for name in names:
            self._known.pop(name, None)

    def close(self) -> None:
        """Let go of everything."""
        for _, _, handle in self.take_new():
            os.close(handle)
        self._known.clear()


def fitting(segments: Iterable[Segment], size: int) -> Segment | None:
    """Return the smallest segment that holds some bytes, and is not wastefully large."""
    # A small array in a large segment would keep all of its memory for as long as it lives.
    found = [each for each in segments if size <= each.size <= max(2 * size, 4 * SMALLEST)]
    return min(found, key=lambda each: each.size, default=None)


class HostMemory:
    """The host's side: it decides which segment is for what, and which are given up.

    Args:
        excess: Called, in any thread, when there is something to be given up.
    """

    def __init__(self, excess: Callable[[], None]) -> None:
        self.pool = SegmentPool("h")
        self._free: list[str] = []
        # `append` and `popleft` of a deque need no lock, which the collector could not wait for.
        self._returned: deque[str] = deque()
        self._needed = 0
        self._used: list[str] = []
        self._excess = excess

    def room(self, size: int) -> Segment:
        """Return a segment for an array that is sent.

        Raises:
            OSError: There is not enough memory.
        """
        found = fitting(map(self.pool.get, self._free), size)
        if found is not None:
            self._free.remove(found.name)
        else:
            found = self.pool.make(size)
        self._used.append(found.name)
        return found

    def begin(self) -> None:
        """Begin a call: what came back meanwhile is free again."""
        self._used = []
        self._collect()

    def lend(self) -> list[str]:
        """Return the segments that the worker may use for its answer."""
        # All at once, so that one segment is never written from both sides.
        lent, self._free = self._free, []
        return lent

    def settle(self, lent: Collection[str], answered: Collection[str], held: Collection[str]) -> None:
        """End a call.

        Args:
            lent: What the worker might use for its answer.
            answered: What it used for that; values are there until nobody has them.
            held: What it was sent and still has an array on; it says later when that is over.
        """
        self._free += [name for name in (*self._used, *lent) if name not in held and name not in answered]
        self._needed = self.pool.sizes({*self._used, *answered})
        self._used = []

    def released(self, names: Iterable[str]) -> None:
        """Note that the worker has no array on some segments any more."""
        self._free += names

    def ended(self, name: str) -> None:
        """Note that nobody in this process has an array on a segment any more; called by the garbage collector."""
        self._returned.append(name)
        self._excess()

    def surplus(self) -> list[str]:
        """Give up what is more than the last call needed, and return the names, for the worker to do the same."""
        self._collect()
        room, dropped = self._needed, []
        for name in list(self._free):
            size = self.pool.get(name).size
            if size > room:
                self._free.remove(name)
                dropped.append(name)
            else:
                room -= size
        self.pool.drop(dropped)
        return dropped

    @property
    def waiting(self) -> bool:
        """Whether something came back that nobody looked at."""
        return bool(self._returned)

    def _collect(self) -> None:
        while self._returned:
            self._free.append(self._returned.popleft())

    def close(self) -> None:
        """Let go of everything; values that are still there keep their memory."""
        self.pool.close()
        self._free.clear()


class WorkerMemory:
    """The worker's side: it fills what it was lent, makes what is missing, and says what it still uses."""

    def __init__(self) -> None:
        self.pool = SegmentPool("w")
        self._lent: list[str] = []
        self._leased: set[str] = set()
        self._ended: deque[str] = deque()

    def borrow(self, names: Iterable[str]) -> None:
        """Take segments for the answer of a call."""
        self._lent = list(names)

    def room(self, size: int) -> Segment:
        """Return a segment for an array that is answered.

        Raises:
            OSError: There is not enough memory.
        """
        found = fitting(map(self.pool.get, self._lent), size)
        if found is None:
            return self.pool.make(size)
        self._lent.remove(found.name)
        return found

    def leased(self, name: str) -> None:
        """Note that there is an array on a segment."""
        self._leased.add(name)

    def ended(self, name: str) -> None:
        """Note that there is none any more."""
        self._ended.append(name)

    def report(self, sent: Collection[str]) -> tuple[list[str], list[str]]:
        """Return which of those that were just sent are still in use, and which of older ones are not any more."""
        over = []
        while self._ended:
            name = self._ended.popleft()
            self._leased.discard(name)
            over.append(name)
        return [name for name in sent if name in self._leased], [name for name in over if name not in sent]
