"""Memory of a client that its server reads without a copy: nobody can take it away, since it is sealed.

It has no name in the file system, so that nothing is left of a client that was killed. A server finds it through its
client's process, and takes only what carries the number of the session: no other memory of anybody can be named.
"""

import mmap
import os
import re
import weakref
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cuvis_ai_core.errors import ServiceError
from cuvis_ai_core.grpc.shared_memory.dev_shm_blocks import place_of, write_into

_NAME: Final = re.compile(r"memfd:([0-9]{1,10}):([0-9]{1,10})")
_KIND: Final = "cuvis-ai-client-"
_GRANULE: Final = 2**20
_MOST_MAPS: Final = 8
_MOST_KEPT: Final = 2**30
"""Maps of a session that are kept for its next call, and their bytes."""


def is_sealed(name: str) -> bool:
    """Tell whether a name is one of such memory."""
    return _NAME.fullmatch(name) is not None


class SealedBlock:
    """Memory of one's own that nobody can shorten.

    Args:
        session: The number of the session that may read it.
        size: Bytes that it has at least.

    Raises:
        OSError: There is not enough memory, or this system has none of the kind.
    """

    def __init__(self, session: str, size: int) -> None:
        if not hasattr(os, "memfd_create"):
            raise OSError("this system has no memory that can be sealed")
        import fcntl  # which Windows does not have

        self.size = -(-size // _GRANULE) * _GRANULE
        self._handle = os.memfd_create(f"{_KIND}{session}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        # Found through /proc: only the same user, or root, may open another process's files there.
        self.name = f"memfd:{os.getpid()}:{self._handle}"
        try:
            os.posix_fallocate(self._handle, 0, self.size)
            fcntl.fcntl(self._handle, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
            self.memory = mmap.mmap(self._handle, self.size)
        except BaseException:
            os.close(self._handle)
            raise

    def write(self, array: NDArray[Any]) -> None:
        """Copy an array into the memory."""
        write_into(self.memory, array)

    def close(self) -> None:
        """Give the memory back."""
        os.close(self._handle)


class Maps:
    """The sealed memory of one session's client, as its server sees it; kept for the next call."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], mmap.mmap] = {}
        self._read: dict[str, tuple[tuple[str, int], weakref.ref[NDArray[Any]]]] = {}

    def read(self, name: str, offset: int, size: int, session: str) -> memoryview:
        """Return a view of a part of the memory, which cannot be written.

        Raises:
            ServiceError: There is none of that name for this session, or it is shorter.
        """
        matched = _NAME.fullmatch(name)
        assert matched is not None
        path = f"/proc/{matched[1]}/fd/{matched[2]}"
        try:
            if _leads_to(path) != f"/memfd:{_KIND}{session} (deleted)":
                raise _unseen(name)
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise _unseen(name) from error
        try:
            key, memory = self._map(name, handle, session)
        except OSError as error:
            raise _unseen(name) from error
        finally:
            os.close(handle)
        if offset + size > len(memory):
            raise ServiceError(f"The memory '{name}' has {len(memory)} bytes.", code="INVALID_ARGUMENT")
        lease = self._lease(name, key, memory)
        return lease[offset : offset + size].data

    def place(self, array: NDArray[Any]) -> tuple[str, int] | None:
        """Return name and offset of the memory of this call that an array lies in; None if it lies elsewhere."""
        if not array.flags.c_contiguous or array.dtype.newbyteorder("<") != array.dtype:
            return None
        place = place_of(array)
        for name, (_, ref) in list(self._read.items()):
            if (lease := ref()) is not None and 0 <= place - place_of(lease) <= lease.size - array.nbytes:
                return name, place - place_of(lease)
        return None

    def end_call(self) -> list[str]:
        """Return the names of memory that somebody still has an array on, which is not to be written any more."""
        kept = []
        for name, (key, ref) in list(self._read.items()):
            if ref() is not None:
                kept.append(name)
                # Not mapped again from here: the client discards that memory.
                self._known.pop(key, None)
        self._read.clear()
        return kept

    def close(self) -> None:
        """Let go of all that nobody has an array on."""
        self._read.clear()
        self._known.clear()

    def _lease(self, name: str, key: tuple[str, int], memory: mmap.mmap) -> NDArray[Any]:
        """Return an array whose life tells whether anything of this call has one on the memory."""
        if name in self._read and self._read[name][0] == key and (known := self._read[name][1]()) is not None:
            return known
        lease: NDArray[Any] = np.frombuffer(memory, np.uint8)
        self._read[name] = key, weakref.ref(lease)
        return lease

    def _map(self, name: str, handle: int, session: str) -> tuple[tuple[str, int], mmap.mmap]:
        import fcntl

        # Looked at again in what is open: the name may lead elsewhere by now.
        if _leads_to(f"/proc/self/fd/{handle}") != f"/memfd:{_KIND}{session} (deleted)":
            raise _unseen(name)
        # Without the seal its owner could shorten it while a node reads: SIGBUS ends the server.
        if not fcntl.fcntl(handle, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK:
            raise _unseen(name)
        status = os.fstat(handle)
        # With the inode: a number of a file is used again when one is closed.
        key = name, status.st_ino
        memory = self._known.get(key)
        if memory is None:
            while len(self._known) >= _MOST_MAPS or self._kept() > _MOST_KEPT:
                self._known.pop(next(iter(self._known)))
            # Kept: mapping anew costs a page fault for every 4 KiB.
            memory = self._known[key] = mmap.mmap(handle, status.st_size, prot=mmap.PROT_READ)
        return key, memory

    def _kept(self) -> int:
        return sum(map(len, self._known.values()))


def _unseen(name: str) -> ServiceError:
    return ServiceError(f"This server cannot read the memory '{name}' of its client.", code="UNIMPLEMENTED")


def _leads_to(link: str) -> str:
    return os.readlink(link)  # noqa: PTH115 - where it leads is no path
