"""Tensors of a session in shared memory: which of the client's are read, and which are answered there."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.errors import ServiceError
from cuvis_ai_core.grpc.messages.zero_copy_inference import RawTensor
from cuvis_ai_core.grpc.server.call_context import Call, Service
from cuvis_ai_core.grpc.server.open_sessions import Session
from cuvis_ai_core.grpc.server.settings import Settings
from cuvis_ai_core.grpc.shared_memory import dev_shm_blocks, foreign_blocks
from cuvis_ai_core.grpc.shared_memory.dev_shm_blocks import CLIENT, SERVER, SMALLEST, Block, is_available
from cuvis_ai_core.grpc.shared_memory.memfd import SealedBlock
from cuvis_ai_core.grpc.shared_memory.session_tensors import kept_by_nodes, read_tensor, shared

pytestmark = pytest.mark.skipif(not is_available(), reason="this machine has no named shared memory")

FLOAT32 = 1
LARGE = np.arange(SMALLEST // 4, dtype=np.float32)
SMALL = LARGE[:-1]

Make = Callable[..., Call]


class Context:
    """What gRPC knows of a call."""

    def __init__(self, **metadata: str) -> None:
        self._metadata = [(key.replace("_", "-"), value) for key, value in metadata.items()]

    def invocation_metadata(self) -> list[tuple[str, str]]:
        """Return what the client sent beside the message."""
        return self._metadata


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder in the place of the machine's, which other processes sweep as well."""
    for module in (dev_shm_blocks, foreign_blocks):
        monkeypatch.setattr(module, "FOLDER", tmp_path)
    return tmp_path


@pytest.fixture
def call(folder: Path) -> Iterator[Make]:
    """Return a function that makes a call of one session: settings of the server, and what the client says."""
    with NodeRegistry(discover=False) as registry:
        session = Session(registry=lambda: registry)

        def make(settings: Settings | None = None, **metadata: str) -> Call:
            service = Service(settings or Settings(working_directory=folder, max_message=2**20))
            return Call(service, None, Context(**metadata), session)

        yield make
        session.close()
    assert not [each.name for each in folder.glob("cuvis-ai-server-*")]


def test_a_tensor_is_read_from_the_message_or_from_the_clients_memory(call: Make) -> None:
    """A copy of a block, which stays what it is when the client writes on; sealed memory as it lies there."""
    raw = RawTensor([2], FLOAT32, LARGE[:2].tobytes())
    assert read_tensor(call(), "x", raw).tolist() == [0, 1]
    block = Block(CLIENT, LARGE.nbytes)
    block.write(LARGE)
    found = read_tensor(call(), "x", RawTensor([3], FLOAT32, shm=(block.name, 4, 12)))
    block.write(LARGE * 0)
    assert found.tolist() == [1, 2, 3]
    block.close()
    asked = call()
    sealed = SealedBlock(asked.session.id, LARGE.nbytes)
    sealed.write(LARGE)
    found = read_tensor(asked, "x", RawTensor([3], FLOAT32, shm=(sealed.name, 8, 12)))
    assert found.tolist() == [2, 3, 4]
    assert kept_by_nodes(asked) == [sealed.name]
    del found
    assert kept_by_nodes(asked) == []
    sealed.close()


def test_memory_that_a_client_may_not_name_is_not_read(call: Make) -> None:
    """That of the server, by any spelling; what is larger than a message; anything from another machine."""
    own = Block(SERVER, 1)

    def code(asked: Call, *place: Any) -> str | None:
        with pytest.raises(ServiceError) as caught:
            read_tensor(asked, "x", RawTensor([1], FLOAT32, shm=place))
        return caught.value.code

    for name in (own.name, f"/{own.name}", f"//{own.name}"):
        assert code(call(), name, 0, 4) == "PERMISSION_DENIED"
    own.close()
    assert code(call(), "cuvis-ai-client-x", 0, 2**20 + 1) == "RESOURCE_EXHAUSTED"
    assert code(call(), "cuvis-ai-client-x", 0, 2**20) == "INVALID_ARGUMENT"  # there is none
    elsewhere = Settings(host="0.0.0.0", insecure=True)
    assert code(call(elsewhere), "cuvis-ai-client-x", 0, 4) == "UNIMPLEMENTED"
    assert kept_by_nodes(call()) == []


@pytest.mark.parametrize(("wanted", "is_shared"), [(None, False), ("0", False), ("1", True), ("2", True)])
def test_large_outputs_are_answered_in_shared_memory_where_that_is_wanted(
    call: Make, folder: Path, wanted: str | None, *, is_shared: bool
) -> None:
    """Small ones travel in the message; what the client has read is used again."""
    said = {} if wanted is None else {"cuvis_shm": wanted}
    found = shared(call(**said), {"large": LARGE, "small": SMALL})
    assert found["small"] is SMALL
    if not is_shared:
        assert found["large"] is LARGE
        return
    reference = found["large"].shm_ref
    assert (list(found["large"].shape), found["large"].dtype) == ([LARGE.size], FLOAT32)
    assert (reference.byte_offset, reference.byte_size) == (0, LARGE.nbytes)
    assert np.fromfile(folder / reference.name, np.float32, LARGE.size).tolist() == LARGE.tolist()
    other = shared(call(**said), {"large": LARGE})["large"].shm_ref.name
    assert other != reference.name
    freed = f",{reference.name},absent"
    assert shared(call(cuvis_shm_free=freed, **said), {"large": LARGE})["large"].shm_ref.name == reference.name


def test_outputs_are_in_the_message_where_there_is_no_room_or_the_client_is_elsewhere(call: Make) -> None:
    """A session has four times the largest message."""
    found = [shared(call(cuvis_shm="1"), {"x": LARGE})["x"] for _ in range(5)]
    assert [each is LARGE for each in found] == [False] * 4 + [True]
    elsewhere = Settings(host="0.0.0.0", insecure=True)
    assert shared(call(elsewhere, cuvis_shm="1"), {"x": LARGE})["x"] is LARGE


@pytest.mark.parametrize("wanted", ["1", "2"])
def test_what_lies_in_the_clients_memory_is_answered_there(call: Make, wanted: str) -> None:
    """Where the client understands that."""
    asked = call(cuvis_shm=wanted)
    sealed = SealedBlock(asked.session.id, 2 * LARGE.nbytes)
    sealed.write(np.concatenate([LARGE, LARGE]))
    given = read_tensor(asked, "x", RawTensor([2 * LARGE.size], FLOAT32, shm=(sealed.name, 0, 2 * LARGE.nbytes)))
    reference = shared(asked, {"x": given[LARGE.size :]})["x"].shm_ref
    assert (reference.name == sealed.name) is (wanted == "2")
    assert reference.byte_offset == (LARGE.nbytes if wanted == "2" else 0)
    sealed.close()
