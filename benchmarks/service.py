"""What the gRPC service costs, as ratios against a bare gRPC echo, plain copies, and calls in this process, in one run.

python benchmarks/service.py [runs]

- 64 MB there and back as bytes, against an echo of the same bytes whose client packs and unpacks as the stub does.
- 64 MB there and back by shared memory, against one copy in this process: into memory that is there, and into new. The
  echo answers what it is given, in the memory where that lies. A node with values of its own, 64 MB there and 64 MB
  back, is set against the same node here; also with a cube that was made by `Client.empty`, which is not copied.
- Small inferences a second, against calls of a bare echo.
- Memory of a session with one plugin, of one hundred.

Medians of pairs that alternate, and the ratio of the best ones, which a busy machine changes less; both servers run in
processes of their own.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil

from cuvis_ai_core.grpc.client.client import Client
from cuvis_ai_core.grpc.messages.schema_generations import SERVICE, wire

MEGABYTES = 64
MOST = [("grpc.max_receive_message_length", 1 << 30), ("grpc.max_send_message_length", 1 << 30)]
NODE = """\
import numpy as np
from cuvis_ai_core.node import ArrayNode, PortSpec


class Echo(ArrayNode):
    INPUT_SPECS = {"cube": PortSpec(np.float32, (-1, -1, -1, -1))}
    OUTPUT_SPECS = {"cube": PortSpec(np.float32, (-1, -1, -1, -1))}

    def forward(self, cube):
        return {"cube": cube}


class Negative(Echo):
    def forward(self, cube):
        return {"cube": np.negative(cube)}
"""
PROJECT = (
    '[build-system]\nrequires = ["uv_build"]\nbuild-backend = "uv_build"\n'
    '[project]\nname = "bench-echo"\nversion = "1.0.0"\ndependencies = []\n'
)
PIPELINE = {"nodes": [{"name": "echo", "class_name": "Echo"}]}
NEGATIVE = {"nodes": [{"name": "negative", "class_name": "Negative"}]}


def main(runs: int) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder, started(["--bare"], folder) as bare, started([], folder) as ours:
        manifest = plugin(Path(folder))
        cube = np.random.default_rng(0).random((1, 512, 512, MEGABYTES), dtype=np.float32)
        channel = grpc.insecure_channel(bare[0], MOST)
        with Client(ours[0], shared_memory=False) as sent, Client(ours[0]) as shared:
            for client in (sent, shared):
                client.load_plugins(manifest)
                client.load_pipeline(PIPELINE)
            packing = packed_echo(channel, cube)
            ratio("64 MB as bytes / packing echo", by_stub(sent, cube), packing, runs)
            into = np.empty_like(cube)

            def copies() -> None:
                np.copyto(into, cube)

            ratio("64 MB by shared memory / copy", lambda: shared.run(cube), copies, runs)
            ratio("64 MB by shared memory / new copy", lambda: shared.run(cube), cube.copy, runs)
            given = shared.empty(cube.shape, cube.dtype)
            given[:] = cube
            shared.load_pipeline(NEGATIVE)
            ratio("64 MB, new values / the same here", lambda: shared.run(cube), lambda: np.negative(cube), runs)
            ratio("64 MB of empty() / the same here", lambda: shared.run(given), lambda: np.negative(cube), runs)
            small = np.zeros((1, 2, 2, 4), np.float32)
            ratio("small inference / small echo", by_stub(sent, small), packed_echo(channel, small), runs * 100)
        sessions(ours[0], ours[1], manifest)


def ratio(name: str, ours: Callable[[], object], theirs: Callable[[], object], runs: int) -> None:
    """Print the medians of two actions that take turns."""
    for each in (ours, theirs):
        each()
        each()
    times = [(timed(ours), timed(theirs)) for _ in range(runs)]
    columns = list(zip(*times, strict=True))
    first, second = (statistics.median(each) * 1e3 for each in columns)
    best = min(columns[0]) / min(columns[1])
    print(
        f"{name:36} {first:9.2f} ms {second:9.2f} ms   {first / second:5.2f}  best {best:5.2f}"
        f"  ({1e3 / first:.0f} a second)",
        flush=True,
    )


def timed(action: Callable[[], object]) -> float:
    """Return the seconds that an action takes."""
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


def request(cube: Any, session: str = "") -> Any:
    """Return an InferenceRequest as a stub's user packs it."""
    m = wire().messages
    tensor = m.Tensor(shape=cube.shape, dtype=1, raw_data=cube.tobytes())
    return m.InferenceRequest(session_id=session, inputs=m.InputBatch(cube=tensor))


def by_stub(client: Client, cube: Any) -> Callable[[], object]:
    """Return an inference that is packed and unpacked as a stub's user does it."""
    return packed(client._channel, cube, client.session_id)  # noqa: SLF001 - one connection for all


def packed_echo(channel: grpc.Channel, cube: Any) -> Callable[[], object]:
    """Return an echo of the same bytes, packed and unpacked by protobuf."""
    return packed(channel, cube, "", echo=True)


def packed(channel: grpc.Channel, cube: Any, session: str, *, echo: bool = False) -> Callable[[], object]:
    """Return a call that packs a cube, sends it, and unpacks the answer."""
    m = wire().messages
    call = channel.unary_unary(
        "/bare/Echo" if echo else f"/{SERVICE}/Inference",
        request_serializer=m.InferenceRequest.SerializeToString,
        response_deserializer=(m.InferenceRequest if echo else m.InferenceResponse).FromString,
    )

    def run() -> None:
        answer = call(request(cube, session))
        raw = answer.inputs.cube.raw_data if echo else answer.outputs["echo.cube"].raw_data
        assert np.frombuffer(raw, np.float32).size == cube.size

    return run


def sessions(address: str, pid: int, manifest: Path, count: int = 100) -> None:
    """Print what sessions with one plugin cost in memory."""
    process = psutil.Process(pid)
    clients = [Client(address, shared_memory=False)]
    clients[0].load_plugins(manifest)
    before = process.memory_info().rss
    for _ in range(count):
        clients.append(Client(address, shared_memory=False))
        clients[-1].load_plugins(manifest)
    each = (process.memory_info().rss - before) / count / 1000
    print(f"memory of a session with one plugin  {each:9.1f} kB", flush=True)
    for client in clients:
        client.close()


def plugin(folder: Path) -> Path:
    """Write a plugin with an echo, and return its manifest."""
    source = folder / "plugin" / "src" / "bench_echo"
    source.mkdir(parents=True)
    (source / "__init__.py").write_text(NODE, encoding="utf-8")
    (folder / "plugin" / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    manifest = folder / "plugins.yaml"
    manifest.write_text(
        f"plugins:\n  bench: {{path: {folder}/plugin, provides: [bench_echo.Echo, bench_echo.Negative]}}\n",
        encoding="utf-8",
    )
    return manifest


@contextmanager
def started(options: list[str], folder: str) -> Iterator[tuple[str, int]]:
    """Start a server in a process of its own, and give its address and number."""
    command = [sys.executable, __file__, *options] if options else [sys.executable, "-m", "cuvis_ai_core", "serve"]
    process = subprocess.Popen(
        [*command, *([] if options else ["--port", "0", "--log-level", "error"])],
        stdout=subprocess.PIPE,
        text=True,
        cwd=folder,
    )
    assert process.stdout is not None
    line = process.stdout.readline().split()
    try:
        yield (line[0] if options else line[3]), process.pid
    finally:
        process.terminate()
        process.wait()


def serve_bare() -> None:
    """Be a server that answers what it gets."""
    server = grpc.server(ThreadPoolExecutor(4), options=MOST)
    echo = grpc.unary_unary_rpc_method_handler(lambda data, _: data)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bare", {"Echo": echo}),))
    print(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}", flush=True)
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    if sys.argv[1:] == ["--bare"]:
        serve_bare()
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
