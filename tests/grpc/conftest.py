"""A server on loopback for the whole session, and stubs of the generations that the installed schemas do not speak."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from cuvis_ai_core.grpc.messages.schema_generations import SERVICE, wire
from cuvis_ai_core.grpc.server.server import Server
from cuvis_ai_core.grpc.server.settings import Settings
from cuvis_ai_core.grpc.shared_memory.dev_shm_blocks import FOLDER, Block


class Stub:
    """Calls any method of the service, of any generation, by its name."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.channel = channel
        self.m = wire().messages

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name not in wire().methods:
            raise AttributeError(name)
        method = wire().methods[name]
        kind = self.channel.unary_stream if method.streams else self.channel.unary_unary
        call = kind(
            f"/{SERVICE}/{name}",
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )

        def invoke(*, headers: Any = None, timeout: float = 300, **fields: Any) -> Any:
            return call(method.request(**fields), metadata=headers, timeout=timeout)

        return invoke

    def manifest(self, **plugins: Any) -> Any:
        """Return a manifest as generations before 0.6 send it."""
        return self.m.PluginManifest(config_bytes=json.dumps({"plugins": plugins}).encode())

    def one(self, **entry: Any) -> Any:
        """Return a manifest as generations from 0.6 on send it."""
        return self.m.PluginManifest(config_bytes=json.dumps(entry).encode())


@pytest.fixture(scope="session")
def shared_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder below which the shared server reads and writes."""
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="session")
def server(shared_root: Path) -> Iterator[Server]:
    """Return a server that all tests share, each with sessions of its own."""
    settings = Settings(port=0, working_directory=shared_root, configs_dir=shared_root / "configs")
    with Server(settings) as server:
        yield server


@pytest.fixture
def connect() -> Iterator[Callable[..., Stub]]:
    """Return a function that connects to an address."""
    channels: list[grpc.Channel] = []

    def to(address: str, **options: Any) -> Stub:
        most = [("grpc.max_receive_message_length", 300 << 20), ("grpc.max_send_message_length", 300 << 20)]
        channels.append(grpc.insecure_channel(address, options=most, **options))
        return Stub(channels[-1])

    yield to
    for channel in channels:
        channel.close()


@pytest.fixture
def stub(server: Server, connect: Callable[..., Stub]) -> Stub:
    """Return a client of the shared server."""
    return connect(server.address)


@pytest.fixture
def session(stub: Stub, cache: Path) -> Iterator[str]:
    """Return the number of a session, which is closed in the end."""
    number: str = stub.CreateSession().session_id
    yield number
    try:
        stub.CloseSession(session_id=number)
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.NOT_FOUND  # noqa: PT017 - the test closed it


@pytest.fixture
def refused() -> Callable[..., grpc.RpcError]:
    """Return a function that expects a call to be refused with a status, and returns the error."""

    def expect(code: str, call: Callable[..., Any], **fields: Any) -> grpc.RpcError:
        with pytest.raises(grpc.RpcError) as caught:
            list(answer) if hasattr(answer := call(**fields), "__next__") else answer
        assert caught.value.code().name == code, caught.value.details()
        assert "Traceback" not in (caught.value.details() or "")
        return caught.value

    return expect


@pytest.fixture
def own_blocks(monkeypatch: pytest.MonkeyPatch) -> Callable[[], set[str]]:
    """Return a function that names the blocks of memory made in this process from now on that are there still.

    Those of other processes come and go, also of tests that run beside this one.
    """
    made: list[str] = []
    begin = Block.__init__

    def record(block: Block, prefix: str, size: int) -> None:
        begin(block, prefix, size)
        made.append(block.name)

    monkeypatch.setattr(Block, "__init__", record)
    return lambda: {name for name in made if (FOLDER / name).exists()}


LEARNER = """\
import numpy as np
from cuvis_ai_core.node import ArrayNode, PortSpec


class Centre(ArrayNode):
    INPUT_SPECS = {"cube": PortSpec(np.floating, (-1, -1, -1, -1))}
    OUTPUT_SPECS = {"cube": PortSpec(np.floating, (-1, -1, -1, -1))}

    def __init__(self, pause=0.0, **kwargs):
        self.pause, self.mean = pause, np.zeros(4)
        super().__init__(pause=pause, **kwargs)

    def statistical_initialization(self, input_stream):
        import re, time

        means = []
        for values in input_stream:
            if self.pause < 0:
                re.match("(a|a)+$", "a" * 60 + "b")
            time.sleep(self.pause)
            means.append(values["cube"].mean((0, 1, 2)))
        self.mean = np.mean(means, axis=0)

    def state_dict(self):
        return {"mean": self.mean}

    def load_state_dict(self, state):
        self.mean = np.asarray(state["mean"])

    def forward(self, cube):
        return {"cube": cube - self.mean.astype(cube.dtype)}
"""
"""A node that learns the mean of each of four bands; with a negative pause it lets no other thread run, for ages."""


@pytest.fixture
def learning_plugin(local_plugin: Callable[..., Path]) -> Path:
    """Return the folder of a plugin with the node class `Centre`, which learns."""
    folder = local_plugin("centre", package="centre", node="Centre")
    (folder / "src" / "centre" / "nodes.py").write_text(LEARNER)
    return folder


@pytest.fixture
def learner(stub: Stub, session: str, learning_plugin: Path) -> str:
    """Load the plugin that learns, and return the session."""
    manifest = stub.one(name="centre", path=str(learning_plugin), capabilities=["centre.nodes.Centre"])
    assert not stub.LoadPlugin(session_id=session, manifest=manifest).error
    return session
