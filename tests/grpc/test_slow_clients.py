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

from cuvis_ai_core.grpc.server.server import Server
from cuvis_ai_core.grpc.server.settings import Settings

CREATE = "/cuvis_ai.v1.CuvisAIService/CreateSession"
HEALTH = "/grpc.health.v1.Health/Check"
REFLECT = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"


def frame(kind: int, flags: int, stream: int, content: bytes = b"") -> bytes:
    """Return a frame of HTTP/2."""
    return struct.pack(">I", len(content))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + content


def head_of(method: str) -> bytes:
    """Return the headers of a call."""
    pairs = [(b":path", method.encode()), (b":authority", b"x"), (b"content-type", b"application/grpc")]
    return b"\x83\x86" + b"".join(
        b"\0" + bytes([len(k)]) + k + bytes([len(v)]) + v for k, v in [*pairs, (b"te", b"trailers")]
    )


def frames(connection: socket.socket) -> Iterator[tuple[int, int]]:
    """Yield kind and stream of the next frame that comes; none when the connection has ended."""
    head = connection.recv(9, socket.MSG_WAITALL)
    if len(head) == 9:
        connection.recv(int.from_bytes(head[:3], "big"), socket.MSG_WAITALL)
        yield head[3], int.from_bytes(head[5:], "big")


@contextmanager
def begun(address: str, method: str, count: int) -> Iterator[socket.socket]:
    """Begin calls on a connection, without a message."""
    host, _, port = address.rpartition(":")
    head = head_of(method)
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


@pytest.mark.parametrize(("method", "request_of_it"), [(CREATE, b""), (REFLECT, b"\x3a\x00")])
def test_who_takes_no_answer_is_let_go(tmp_path: Path, method: str, request_of_it: bytes) -> None:
    """It lies in the server's memory; a client that leaves it no room ends the call by that."""
    with Server(Settings(port=0, message_time=1.0, working_directory=tmp_path)) as server:
        host, _, port = server.address.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            no_room = frame(4, 0, 0, struct.pack(">HI", 4, 0))
            message = b"\0" + struct.pack(">I", len(request_of_it)) + request_of_it
            asked = frame(1, 4, 1, head_of(method)) + frame(0, 1, 1, message)
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + no_room + asked)
            begun_at = time.monotonic()
            while 3 not in {kind for kind, stream in frames(connection) if stream == 1}:  # the end of the stream
                assert time.monotonic() - begun_at < 60


def questions() -> list[bytes]:
    """Return questions about the services, in a stream."""
    from grpc_reflection.v1alpha import reflection_pb2

    return [reflection_pb2.ServerReflectionRequest(list_services="").SerializeToString()] * 3


def test_an_answer_that_is_taken_at_leisure_is_whole(tmp_path: Path, connect: Callable[..., Any]) -> None:
    """And calls that have ended are not ended once more."""
    with Server(Settings(port=0, message_time=0.5, working_directory=tmp_path)) as server:
        stub = connect(server.address)
        asked = questions()
        stream = stub.channel.stream_stream(REFLECT)(iter(asked), timeout=20)
        next(stream)
        for _ in range(4):
            time.sleep(0.3)
            assert stub.CreateSession(timeout=20).session_id
        assert len(list(stream)) == len(asked) - 1
