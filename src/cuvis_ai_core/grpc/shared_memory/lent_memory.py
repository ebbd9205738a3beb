"""What a client lends its server to read: memory taken for a call, and used again when nobody reads it any more.

Used again too early, a node that keeps what it was given would find the next cube in it: so a server tells which memory
its nodes still have, and what was lent to a call that failed is not used again at all.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import finalize

import numpy as np
from numpy.typing import DTypeLike, NDArray

from cuvis_ai_core.grpc.shared_memory.dev_shm_blocks import SMALLEST, Blocks, Owned, place_of


class Lending:
    """The memory of one client.

    Args:
        make: Makes memory of a size; what it cannot is an OSError.
        most: Bytes of all of it.
    """

    def __init__(self, make: Callable[[int], Owned], most: int) -> None:
        self._blocks = Blocks(make, most)
        self._given: dict[str, tuple[int, int]] = {}
        self._kept: set[str] = set()
        # The collector appends here, in any thread: a lock could be held by that thread itself.
        self._ended: deque[str] = deque()

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any] | None:
        """Return an array that needs no copy to be lent; None where there is no room, or it is too small for that."""
        kind = np.dtype(dtype)
        size = math.prod(shape) * kind.itemsize
        block = self.take(size) if size >= SMALLEST else None
        if block is None:
            return None
        lease = self.lease(block, size)
        self._given[block.name] = (place_of(lease), size)
        return lease.view(kind).reshape(shape)

    @contextmanager
    def call(self) -> Iterator["Lent"]:
        """Lend for one call, which has ended when the context is left."""
        lent = Lent(self)
        try:
            yield lent
        except BaseException:  # the server may read it still
            # A call that failed here may still be read there: a deadline ends the waiting, not the work.
            self._kept.update(lent.blocks)
            raise
        finally:
            self._ended.extend(lent.blocks.keys() - lent.leases.keys())
            lent.leases.clear()

    def keep(self, names: Iterable[str]) -> None:
        """Do not use memory again that the server has told to be read still."""
        self._kept.update(name for name in names if self._blocks.get(name) is not None)

    def close(self) -> None:
        """Give all memory back; arrays on it stay what they are."""
        self._blocks.close()

    def take(self, size: int) -> Owned | None:
        """Return memory that nobody reads, or None where there is no room."""
        while True:
            try:
                name = self._ended.popleft()
            except IndexError:
                return self._blocks.take(size)
            self._given.pop(name, None)
            if name in self._kept:
                self._kept.discard(name)
                self._blocks.discard(name)
            else:
                self._blocks.release(name)

    def lease(self, block: Owned, size: int) -> NDArray[Any]:
        """Return an array on memory, which is used again when the last array on this one is gone."""
        lease: NDArray[Any] = np.frombuffer(block.memory, np.uint8, size)
        finalize(lease, self._ended.append, block.name).atexit = False
        return lease

    def place_of(self, array: NDArray[Any]) -> tuple[str, int] | None:
        """Return name and offset of the memory that an array of `empty` lies in; None for any other array."""
        if not array.flags.c_contiguous or array.dtype.newbyteorder("<") != array.dtype:
            return None
        place = place_of(array)
        for name, (begin, size) in list(self._given.items()):
            if begin <= place < begin + size:
                return name, place - begin
        return None

    def copy_of(self, name: str, offset: int, size: int) -> NDArray[Any] | None:
        """Return a copy of a part of an array of `empty`, which its owner writes to; None for other names."""
        block = self._blocks.get(name) if name in self._given else None
        return None if block is None else np.frombuffer(block.memory, np.uint8, size, offset).copy()


class Lent:
    """What is lent to one call.

    Args:
        lending: Whose memory it is.
    """

    def __init__(self, lending: Lending) -> None:
        self._lending = lending
        self.blocks: dict[str, Owned] = {}
        self.leases: dict[str, NDArray[Any]] = {}

    def put(self, array: NDArray[Any]) -> tuple[str, int] | None:
        """Return name and offset of memory with the content of an array, or None where there is no room."""
        if (given := self._lending.place_of(array)) is not None:
            return given
        if (block := self._lending.take(array.nbytes)) is None:
            return None
        self.blocks[block.name] = block
        block.write(array)
        return block.name, 0

    def view(self, name: str, offset: int, size: int) -> NDArray[Any] | None:
        """Return what the server answers in the memory that was lent; None if the name is none of that."""
        if (block := self.blocks.get(name)) is None:
            return self._lending.copy_of(name, offset, size)
        if name not in self.leases:
            self.leases[name] = self._lending.lease(block, block.size)
        return self.leases[name][offset : offset + size]
