"""Shared memory of a client: arrays lent to the server, and those of its answer read from its blocks."""

from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from cuvis_ai_core.errors import ServiceError
from cuvis_ai_core.grpc.messages.tensors import dtype_number, fill, from_raw
from cuvis_ai_core.grpc.shared_memory.dev_shm_blocks import SMALLEST, is_available, sweep
from cuvis_ai_core.grpc.shared_memory.foreign_blocks import Foreign
from cuvis_ai_core.grpc.shared_memory.lent_memory import Lending, Lent
from cuvis_ai_core.grpc.shared_memory.memfd import SealedBlock
from cuvis_ai_core.grpc.shared_memory.session_tensors import FREED, KEPT, OWN, WANTED


class ClientTensors:
    """The tensors of one client's calls: large ones by shared memory, the others in the messages.

    Args:
        session: Returns the session, whose memory alone the server may map.
        most: Bytes of all memory that is lent.
        near: Whether the server is on this machine.

    Attributes:
        in_memory: Whether shared memory is used.
    """

    def __init__(self, session: Callable[[], str], most: int, *, near: bool) -> None:
        self.in_memory = near and is_available()
        self._lending = Lending(lambda size: SealedBlock(session(), size), most)
        self._foreign = Foreign()
        self._read: deque[str] = deque()
        # What clients left that were killed is removed by the next one.
        if self.in_memory:
            sweep()

    def call(self) -> AbstractContextManager[Lent]:
        """Lend for one call, which has ended when the context is left."""
        return self._lending.call()

    def metadata(self) -> list[tuple[str, str]]:
        """Return what a call tells the server: how it may answer, and which of its blocks are read."""
        # Counted before: the collector may append while this runs.
        freed = [self._read.popleft() for _ in range(len(self._read))]
        return [(WANTED, OWN), *([(FREED, ",".join(freed))] if freed else [])] if self.in_memory else []

    def keep(self, told: Mapping[str, str]) -> None:
        """Do not use memory again that the server reads still, by its metadata after a call."""
        self._lending.keep(told.get(KEPT, "").split(","))

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return an array to fill, which needs no copy to be lent where that is possible."""
        found = self._lending.empty(shape, dtype) if self.in_memory else None
        return np.empty(shape, dtype) if found is None else found

    def write(self, tensor: Any, array: NDArray[Any], lent: Lent) -> None:
        """Put an array into a message, or into memory that the message names."""
        place = lent.put(array) if self.in_memory and array.nbytes >= SMALLEST else None
        if place is None:
            fill(tensor, array)
            return
        tensor.shape[:] = array.shape
        tensor.dtype = dtype_number(array.dtype)
        reference = tensor.shm_ref
        reference.name, reference.byte_offset, reference.byte_size = *place, array.nbytes

    def read(self, name: str, tensor: Any, lent: Lent) -> NDArray[Any]:
        """Return the array of a tensor of the answer.

        Raises:
            ServiceError: The server's memory cannot be seen from here.
        """
        if not tensor.HasField("shm_ref"):
            return from_raw(tensor.raw_data, list(tensor.shape), tensor.dtype, name)
        reference = tensor.shm_ref
        if (own := lent.view(reference.name, reference.byte_offset, reference.byte_size)) is not None:
            return from_raw(own, list(tensor.shape), tensor.dtype, name)
        try:
            raw = self._foreign.view(reference.name, reference.byte_size, self._read.append)
        except ServiceError as error:
            error.code = "UNIMPLEMENTED"  # the server's block cannot be seen from here
            raise
        return from_raw(raw, list(tensor.shape), tensor.dtype, name)

    def close(self) -> None:
        """Give all memory back; arrays on it stay what they are."""
        self._lending.close()
        self._foreign.forget()
