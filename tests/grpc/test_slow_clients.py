"""Clients that begin calls and send nothing: nobody else waits for them."""

import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from cuvis_ai_core.grpc.server import Server
from cuvis_ai_core.grpc.settings import Settings

CREATE = "/cuvis_ai.v1.CuvisAIService/CreateSession"
HEALTH = "/grpc.health.v1.Health/Check"
REFLECT = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"


def frame(kind: int, flags: int, stream: int, content: bytes = b"") -> bytes:
    """Return a frame of HTTP/2."""
    return struct.pack(">I", len(content))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + content


@contextmanager
def begun(address: str, method: str, count: int) -> Iterator[socket.socket]:
    """Begin calls on a connection, without a message."""
    host, _, port = address.rpartition(":")
    pairs = [(b":path", method.encode()), (b":authority", b"x"), (b"content-type", b"application/grpc")]
    head = b"\x83\x86" + b"".join(
        b"\0" + bytes([len(k)]) + k + bytes([len(v)]) + v for k, v in [*pairs, (b"te", b"trailers")]
    )
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0))
        for number in range(count):
            connection.sendall(frame(1, 4, 2 * number + 1, head))
        connection.sendall(frame(6, 0, 0, b"12345678"))
        seen = b""
        while b"12345678" not in seen:  # the server has read all of it
            seen += connection.recv(65536)
        yield connection


@pytest.mark.parametrize("method", [CREATE, HEALTH, REFLECT])
def test_calls_without_a_message_keep_nobody_waiting(tmp_path: Path, connect: Callable[..., Any], method: str) -> None:
    """More of them than calls that are worked on."""
    settings = Settings(port=0, workers=2, working_directory=tmp_path)
    with Server(settings) as server, begun(server.address, method, 40):
        stub = connect(server.address)
        session = stub.CreateSession(timeout=20).session_id
        assert stub.CloseSession(session_id=session, timeout=20).success


def test_who_sends_nothing_is_let_go(tmp_path: Path, connect: Callable[..., Any]) -> None:
    """When as many calls as there may be wait for their messages, it is over after the time that a message has."""
    settings = Settings(port=0, max_calls=4, message_time=0.5, working_directory=tmp_path)
    with Server(settings) as server, begun(server.address, CREATE, 4):
        stub, answer = connect(server.address), ""
        for _ in range(100):
            try:
                answer = stub.CreateSession(timeout=20).session_id
                break
            except grpc.RpcError as error:
                assert error.code().name == "RESOURCE_EXHAUSTED"  # noqa: PT017 - the others are not over yet
                time.sleep(0.1)
        assert answer


def test_a_watch_of_the_health_goes_on_and_an_empty_call_is_refused(
    tmp_path: Path, connect: Callable[..., Any]
) -> None:
    """What streams to a client that has said all is not slow."""
    with Server(Settings(port=0, message_time=0.3, working_directory=tmp_path)) as server:
        channel = connect(server.address).channel
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=20)
        assert next(watch).status == 1
        empty = channel.stream_unary(CREATE)
        with pytest.raises(grpc.RpcError) as caught:
            empty(iter(()), timeout=20)
        assert caught.value.code().name == "INVALID_ARGUMENT"
        server._health.enter_graceful_shutdown()
        assert next(watch).status == 2
