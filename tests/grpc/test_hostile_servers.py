"""What a server that is none of ours can make a client write and print."""

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from click.testing import CliRunner

from cuvis_ai_core.errors import ServiceError
from cuvis_ai_core.grpc import Client
from cuvis_ai_core.grpc.client.remote_command import remote
from cuvis_ai_core.grpc.messages.schema_generations import SERVICE, messages, wire
from cuvis_ai_core.grpc.server.server import Server
from cuvis_ai_core.grpc.server.settings import Settings


@pytest.fixture
def hostile() -> Iterator[Callable[..., str]]:
    """Return a function that starts a server which answers as it is told, and else nothing; it returns the address."""
    servers: list[grpc.Server] = []

    def start(**answers: Any) -> str:
        given = {"CreateSession": messages().CreateSessionResponse(session_id="a" * 32), **answers}

        def handler(name: str, response: Any) -> Any:
            answer = given.get(name, response()).SerializeToString()
            return grpc.unary_unary_rpc_method_handler(lambda *_: answer)

        handlers = {name: handler(name, method.response) for name, method in wire().methods.items()}
        server = grpc.server(ThreadPoolExecutor(4))
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        servers.append(server)
        return f"127.0.0.1:{port}"

    yield start
    for server in servers:
        server.stop(0)


def _frame(kind: int, flags: int, stream: int, body: bytes = b"") -> bytes:
    return len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body


def _answer(listening: socket.socket, status: bytes) -> None:
    """Answer every request of one connection by a status of HTTP/2 (RFC 9113), as proxies do."""
    connection, _ = listening.accept()
    with connection, connection.makefile("rb") as came:
        connection.sendall(_frame(4, 0, 0))
        came.read(24)  # the preface
        while head := came.read(9):
            came.read(int.from_bytes(head[:3], "big"))
            kind, flags, stream = head[3], head[4], int.from_bytes(head[5:], "big")
            if kind == 4 and not flags & 1:
                connection.sendall(_frame(4, 1, 0))
            elif kind == 1:  # the status as a literal, by the eighth name of HPACK's table (RFC 7541)
                connection.sendall(_frame(1, 5, stream, bytes([8, len(status)]) + status))


@pytest.mark.parametrize(
    ("status", "code", "step"),
    [
        ("401", "UNAUTHENTICATED", "token="),
        ("403", "PERMISSION_DENIED", "let you in"),
        ("404", "UNIMPLEMENTED", "See that it runs there"),
        ("405", "UNKNOWN", "See that it runs there"),
        ("413", "UNKNOWN", "raise its limit"),
        ("429", "UNAVAILABLE", "try again later"),
        ("503", "UNAVAILABLE", "Try again later"),
    ],
)
def test_what_answers_with_a_status_of_http_was_reached(status: str, code: str, step: str) -> None:
    """A proxy before the server, or another service: the error says what it answers, and the next step."""
    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(1) as pool:
        pool.submit(_answer, listening, status.encode())
        with pytest.raises(ServiceError) as caught:
            Client(f"127.0.0.1:{listening.getsockname()[1]}", timeout=10)
    assert f"answers with the HTTP status {status}" in caught.value.message
    assert "cannot be reached" not in str(caught.value)
    assert step in str(caught.value.hint)
    assert caught.value.code == code


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Any]:
    """Return a function that runs `cuvis-ai remote` on a cube."""
    (tmp_path / "p.yaml").write_text("nodes:\n  - {name: a, class_name: MinMaxNormalizer}\n")
    np.savez(tmp_path / "c.npz", cube=np.ones((2, 2, 3), np.float32))

    def invoke(address: str, *more: str) -> Any:
        given = {"--server": address, "--pipeline-path": tmp_path / "p.yaml", "--cube-path": tmp_path / "c.npz"}
        words = [str(each) for pair in given.items() for each in pair]
        return CliRunner().invoke(remote, [*words, "--output-dir", str(tmp_path / "out"), *more])

    return invoke


def test_the_name_of_an_output_adds_no_line_and_leads_nowhere(
    hostile: Callable[..., str], run: Callable[..., Any], tmp_path: Path
) -> None:
    """Neither to what is printed, nor out of the folder of the results."""
    array = np.ones((1, 2, 2, 1), np.float32)
    tensor = messages().Tensor(shape=array.shape, dtype=1, raw_data=array.tobytes())
    names = ("a.b\nWritten to /safe: all is well", "../../evil.scores", "\x1b]52;c;aGk=\x07.x")
    result = run(hostile(Inference=messages().InferenceResponse(outputs=dict.fromkeys(names, tensor))))
    assert result.exit_code == 0, result.output
    assert not any(line.startswith("Written to /safe") for line in result.stdout.splitlines())
    assert "\x1b" not in result.output
    assert {each.name for each in tmp_path.iterdir()} == {"p.yaml", "c.npz", "out"}


SVG = b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"><g><text>%s</text>%s</g></svg>'


@pytest.mark.parametrize(
    ("kind", "picture"),
    [
        ("svg", SVG % (b"a", b"<script>alert(1)</script>")),
        ("svg", SVG % (b"a", b'<rect onclick="alert(1)"/>')),
        ("svg", SVG % (b"a", b'<a href="http://host/"><text>b</text></a>')),
        ("svg", SVG % (b"a", b'<rect style="fill: url(http://host/x)"/>')),
        ("svg", b"<!DOCTYPE svg [<!ENTITY a 'b'>]>" + SVG % (b"&a;", b"")),
        ("svg", (SVG % (b"a", b"<script/>")).decode().encode("utf-16")),
        ("svg", b"no picture"),
        ("png", b"<script>alert(1)</script>"),
        ("md", b"flowchart TB\n```\n<script>alert(1)</script>"),
        ("md", b'flowchart TB\n  click n0 "javascript:alert(1)"'),
    ],
)
def test_a_picture_that_would_do_something_is_not_written(
    hostile: Callable[..., str], run: Callable[..., Any], tmp_path: Path, kind: str, picture: bytes
) -> None:
    """It is opened in a browser later."""
    answer = messages().GetPipelineVisualizationResponse(image_data=picture)
    result = run(hostile(GetPipelineVisualization=answer), "--pipeline-vis-ext", kind)
    assert result.exit_code == 1
    assert "is no picture" in result.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["svg", "png", "md"])
def test_pictures_of_an_honest_server_are_written(run: Callable[..., Any], tmp_path: Path, kind: str) -> None:
    """As the server draws them, whatever nodes are called."""
    pytest.importorskip("graphviz")
    (tmp_path / "p.yaml").write_text(
        "nodes:\n  - {name: 'onload=\"x\" <script> ```', class_name: MinMaxNormalizer}\n"
        "  - {name: b, class_name: MinMaxNormalizer}\n"
    )
    with Server(Settings(port=0, working_directory=tmp_path)) as server:
        result = run(server.address, "--pipeline-vis-ext", kind)
    if "not on PATH" in result.output:
        pytest.skip("Graphviz has no program here")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out" / f"pipeline.{kind}").stat().st_size > 100


@pytest.mark.parametrize("shape", [[0, 2**62], [2**40, 2**40], [2**61, 0, 8]])
def test_sizes_that_no_array_has_are_an_error(hostile: Callable[..., str], shape: list[int]) -> None:
    """Though there are as many bytes as they take: none."""
    answer = messages().InferenceResponse(outputs={"a.b": messages().Tensor(shape=shape, dtype=1)})
    with Client(hostile(Inference=answer)) as client, pytest.raises(ServiceError, match="shape"):
        client.run(np.ones((1, 2, 2, 3), np.float32))
