"""Shared memory of a session: tensors read from the client's blocks, outputs answered in own ones."""

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from numpy.typing import NDArray

from cuvis_ai_core.errors import ServiceError
from cuvis_ai_core.grpc.messages.schema_generations import messages
from cuvis_ai_core.grpc.messages.tensors import NUMBERS, from_raw
from cuvis_ai_core.grpc.messages.zero_copy_inference import RawTensor
from cuvis_ai_core.grpc.shared_memory.dev_shm_blocks import SERVER, SMALLEST, Block, Blocks, is_available
from cuvis_ai_core.grpc.shared_memory.foreign_blocks import Copies
from cuvis_ai_core.grpc.shared_memory.memfd import Maps, is_sealed

if TYPE_CHECKING:
    from cuvis_ai_core.grpc.server.call_context import Call
    from cuvis_ai_core.grpc.server.open_sessions import Session

WANTED: Final = "cuvis-shm"
"""Metadata: `1` asks for outputs in shared memory; `2` also for a reference where they lie in the client's own."""

OWN: Final = "2"
KEPT: Final = "cuvis-shm-kept"
"""Metadata after a call: the client's memory that nodes have arrays on still, which is not to be written again."""

FREED: Final = "cuvis-shm-free"
"""Metadata: names of blocks, separated by commas, that the client has read."""

_TIMES: Final = 4
"""How many of the largest messages the blocks of a session may hold."""


class Sharing:
    """The shared memory of a session.

    Args:
        most: Bytes of all blocks.
    """

    def __init__(self, most: int) -> None:
        self.blocks = Blocks(partial(Block, SERVER), most)
        self.copies = Copies()
        self.maps = Maps()


def read_tensor(call: "Call", name: str, tensor: RawTensor) -> NDArray[Any]:
    """Return the array of a tensor: a view of the message, or a copy of the client's block.

    Raises:
        ServiceError: The server shares no memory with the client, or the block is none that it may name.
    """
    if tensor.shm is None:
        return from_raw(tensor.raw, tensor.shape, tensor.dtype, name)
    if not (call.service.settings.is_local and is_available()):
        raise ServiceError("This server shares no memory with its clients.", code="UNIMPLEMENTED")
    block, offset, size = tensor.shm
    # By a client's word the server would hand one session's outputs to another.
    if block.lstrip("/").startswith(SERVER):
        raise ServiceError(f"The block '{block}' is the server's.", code="PERMISSION_DENIED")
    most = call.service.settings.max_message
    if size > most:
        raise ServiceError(
            f"'{name}' has {size} bytes, and a message of this server may have {most}.",
            hint=f"Send less, or start the server with --max-message {size}.",
            code="RESOURCE_EXHAUSTED",
        )
    own = sharing_of(call)
    read = (
        own.maps.read(block, offset, size, call.session.id)
        if is_sealed(block)
        else own.copies.read(block, offset, size)
    )
    return from_raw(read, tensor.shape, tensor.dtype, name)


def shared(call: "Call", outputs: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """Return outputs with large ones in shared memory where the client asks for that and there is room."""
    for freed in filter(None, (call.metadata(FREED) or "").split(",")):
        sharing_of(call).blocks.release(freed)
    if call.metadata(WANTED) not in {"1", OWN} or not call.service.settings.is_local or not is_available():
        return dict(outputs)
    return {name: _in_block(call, array) if array.nbytes >= SMALLEST else array for name, array in outputs.items()}


def kept_by_nodes(call: "Call") -> list[str]:
    """Return the client's memory that somebody has arrays on when a call has ended; the next call begins with none."""
    found: Sharing | None = call.session.extras.get("sharing")
    return [] if found is None else found.maps.end_call()


def sharing_of(call: "Call") -> Sharing:
    """Return the shared memory of the session of a call."""
    session: Session = call.session
    found: Any = session.extras.get("sharing")
    if found is None:
        found = session.extras["sharing"] = Sharing(_TIMES * call.service.settings.max_message)
        session.at_end += [found.blocks.close, found.maps.close]
    assert isinstance(found, Sharing)
    return found


def _in_block(call: "Call", array: NDArray[Any]) -> Any:
    own = sharing_of(call)
    if call.metadata(WANTED) == OWN and (place := own.maps.place(array)) is not None:
        name, offset = place
    elif (block := own.blocks.put(array)) is not None:
        name, offset = block.name, 0
    else:
        return array
    reference = messages().ShmRef(name=name, byte_offset=offset, byte_size=array.nbytes)
    return messages().Tensor(shape=array.shape, dtype=NUMBERS[array.dtype.name], shm_ref=reference)
