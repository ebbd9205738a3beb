"""The client for people, and shared memory on one machine."""

import asyncio
import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from cuvis_ai_core import Pipeline
from cuvis_ai_core.errors import ManifestError, NodeRunError, PortError, ServiceError
from cuvis_ai_core.grpc import AsyncClient, Client
from cuvis_ai_core.grpc.client.cancellable_calls import Calls
from cuvis_ai_core.grpc.client.training_progress import Progress, progress_of
from cuvis_ai_core.grpc.health import is_serving
from cuvis_ai_core.grpc.messages.schema_generations import enum_value, wire
from cuvis_ai_core.grpc.server.server import Server
from cuvis_ai_core.grpc.server.settings import Settings
from cuvis_ai_core.grpc.shared_memory.dev_shm_blocks import (
    CLIENT,
    FOLDER,
    PREFIX,
    SERVER,
    Block,
    Blocks,
    is_available,
    sweep,
)
from cuvis_ai_core.grpc.shared_memory.foreign_blocks import Copies
from cuvis_ai_core.grpc.shared_memory.memfd import SealedBlock

CUBE = np.random.default_rng(0).normal(size=(1, 40, 50, 61)).astype(np.float32)
SCALER = {"nodes": [{"name": "scaler", "class_name": "MinMaxNormalizer"}]}
EXPECTED = Pipeline.from_dict(SCALER).forward({"cube": CUBE})["scaler", "cube"]

needs_blocks = pytest.mark.skipif(not is_available(), reason="this machine has no named shared memory")


def blocks() -> set[str]:
    """Return the names of all blocks that there are."""
    return {file.name for file in FOLDER.glob(f"{PREFIX}*")}


@pytest.fixture(params=[True, False], ids=["shared", "sent"])
def client(request: pytest.FixtureRequest, server: Server, cache: Path) -> Iterator[Client]:
    """Return a client, with shared memory and without."""
    if request.param and not is_available():
        pytest.skip("this machine has no named shared memory")
    with Client(server.address, shared_memory=request.param) as client:
        yield client


def test_a_cube_runs_remotely_as_it_does_here(client: Client) -> None:
    """Inputs and outputs are told, arrays come back as they are, several times."""
    client.load_pipeline(SCALER)
    assert client.inputs() == {"cube": (-1, -1, -1, -1)}
    assert "scaler.cube" in client.outputs()
    for _ in range(3):
        found = client.run(CUBE, outputs=["cube"])
        np.testing.assert_array_equal(found["scaler.cube"], EXPECTED)
    assert client.draw("mermaid").startswith(b"flowchart")


@pytest.mark.parametrize("cube", [{"cube": CUBE}, CUBE.tolist(), "scene.hdr"])
def test_what_is_no_cube_is_told_how_to_give_it(client: Client, cube: Any) -> None:
    """A mapping, a list or a path in place of a cube is one error with what to write."""
    client.load_pipeline(SCALER)
    with pytest.raises(PortError, match=r"(?s)that is a Cube, or an array.*client\.run\(\*\*inputs\)"):
        client.run(cube)


def test_no_proxy_is_on_the_way_to_this_machine(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of which one that the environment names knows nothing; to other machines it is, and the error says so."""
    for name in ("grpc_proxy", "https_proxy", "no_grpc_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    port = server.address.rpartition(":")[2]
    for address in (f"localhost:{port}", f"127.0.0.1:{port}", f"ipv4:127.0.0.1:{port}", f"dns:///localhost:{port}"):
        assert is_serving(address)
        with Client(address) as client:
            assert client.session_id
    with pytest.raises(ServiceError, match=r"http_proxy has .* a proxy; past it: no_grpc_proxy=192\.0\.2\.1"):
        Client("192.0.2.1:50051")


def test_results_stay_as_they_are_while_they_are_held(client: Client) -> None:
    """A block is used again only when nobody has an array on it any more."""
    client.load_pipeline(SCALER)
    held = [client.run(CUBE * factor)["scaler.cube"] for factor in (1, -1, 1)]
    np.testing.assert_array_equal(held[0], EXPECTED)
    np.testing.assert_array_equal(held[2], EXPECTED)
    assert not np.array_equal(held[1], EXPECTED)


def test_errors_are_those_of_the_server_again(client: Client, tmp_path: Path) -> None:
    """By class, with the status; nothing of it is a gRPC error."""
    shared = client._tensors.in_memory
    with pytest.raises(ServiceError, match="no pipeline") as early:
        client.run(CUBE)
    assert early.value.code == "FAILED_PRECONDITION"
    client.load_pipeline(SCALER)
    with pytest.raises(PortError) as caught:
        client.run()
    assert vars(caught.value)["code"] == "INVALID_ARGUMENT"
    with pytest.raises(ServiceError, match="no output"):
        client.run(CUBE, outputs=["nothing"])
    assert client._tensors.in_memory == shared  # what fails otherwise is no reason to run it once more
    with pytest.raises(ManifestError):
        client.load_plugins(tmp_path / "absent.yaml")
    with pytest.raises(ServiceError) as refused:
        Client("localhost:1", timeout=5)
    assert refused.value.code == "UNAVAILABLE"


def test_plugins_of_a_manifest_and_a_pipeline_file_with_weights(
    client: Client, local_plugin: Callable[..., Path], tmp_path: Path
) -> None:
    """The manifest and the pipeline lie here, the paths in the manifest are the server's."""
    manifest = tmp_path / "plugins.yaml"
    manifest.write_text(f"plugins:\n  echo: {{path: {local_plugin()}, provides: [echo_plugin.nodes.Echo]}}\n")
    assert client.load_plugins(manifest) == ["echo"]
    assert "echo_plugin.nodes.Echo" in client.nodes()
    file = tmp_path / "p.yaml"
    file.write_text("nodes: [{name: echo, class_name: Echo}]\n")
    client.load_pipeline(file)
    np.testing.assert_array_equal(client.run(CUBE)["echo.cube"], CUBE)
    manifest.write_text(f"plugins:\n  other: {{path: {tmp_path}/nowhere, provides: [a.B]}}\n")
    with pytest.raises(ServiceError, match="nowhere"):
        client.load_plugins(manifest)


def test_a_pipeline_file_brings_its_weights_and_is_saved_with_them(
    client: Client, learning_plugin: Path, shared_root: Path, tmp_path: Path
) -> None:
    """What lies beside it, or what is named; how long its nodes took is told of what ran meanwhile."""
    manifest = tmp_path / "plugins.yaml"
    manifest.write_text(f"plugins:\n  centre: {{path: {learning_plugin}, provides: [centre.nodes.Centre]}}\n")
    client.load_plugins(manifest)
    file, cube = tmp_path / "p.yaml", CUBE[..., :4]
    file.write_text("nodes: [{name: centre, class_name: Centre}]\n")
    for name, mean in (("p", 1.0), ("other", 2.0)):
        save_file({"centre.mean": np.full(4, mean)}, tmp_path / f"{name}.safetensors")
    client.load_pipeline(file)
    assert client.inputs() == {"cube": (-1, -1, -1, -1)}
    assert client.outputs() == {"centre.cube": (-1, -1, -1, -1)}
    np.testing.assert_array_equal(client.run(cube)["centre.cube"], cube - np.float32(1))
    client.load_pipeline(file, weights=tmp_path / "other.safetensors")
    for runs in (2, 1):
        with client.profiled() as times:
            for _ in range(runs):
                np.testing.assert_array_equal(client.run(cube)["centre.cube"], cube - np.float32(2))
        client.run(cube)
        (of_node,) = times
        assert (of_node["node"], of_node["calls"]) == ("centre", runs)
        assert of_node["total_seconds"] == pytest.approx(of_node["mean_seconds"] * runs)
        assert 0 < of_node["total_seconds"] < 60
    saved = Path(client.save_pipeline(str(shared_root / f"{client.session_id[:8]}.yaml")))
    assert saved.is_file()
    client.load_pipeline({"nodes": [{"name": "centre", "class_name": "Centre"}]}, overrides=["nodes.centre.name=other"])
    assert client.outputs().keys() == {"other.cube"}
    client.load_pipeline(saved)
    np.testing.assert_array_equal(client.run(cube)["centre.cube"], cube - np.float32(2))


def test_a_session_that_is_gone_is_closed(server: Server, cache: Path) -> None:
    """By whatever; and so is one of a server that has ended."""
    client = Client(server.address)
    server.service.sessions.close(client.session_id)
    client.close()
    with Server(Settings(port=0)) as other:
        client = Client(other.address)
    client.close()
    with pytest.raises(ValueError, match="closed channel"):
        client.inputs()


def test_calls_that_nobody_waits_for_are_cancelled() -> None:
    """Those under way, and those that begin afterwards."""
    cancelled: list[str] = []
    calls = Calls()
    first, second = (SimpleNamespace(cancel=partial(cancelled.append, name)) for name in ("first", "second"))
    assert calls.add(first) is first
    assert cancelled == []
    calls.cancel()
    assert cancelled == ["first"]
    assert calls.add(second) is second
    assert cancelled == ["first", "second"]


@pytest.mark.parametrize(("hook", "epoch"), [("EPOCH_END", 3), ("EPOCH_START", 0)])
def test_what_a_message_says_of_a_training(hook: str, epoch: int) -> None:
    """The number of an epoch counts when it has ended."""
    m = wire().messages
    event = m.TrainEvent(
        hook=enum_value("TrainHook", f"TRAIN_HOOK_{hook}"),
        node="n",
        epochs=m.EpochProgress(current=3, total=9),
        progress=m.FrameProgress(done=4, total=5),
    )
    said = m.TrainResponse(status=1, message="words", event=event, losses={"a": 0.5}, metrics={"b": 0.25})
    expected = Progress("running", "words", epoch, 9, "n", 4, 5, {"a": 0.5}, {"b": 0.25})
    assert progress_of(said) == expected
    states = [progress_of(m.TrainResponse(status=status)).state for status in (0, 2, 3, 4)]
    assert states == ["none", "complete", "error", "cancelled"]


def test_the_asynchronous_client_awaits_the_same(server: Server, cache: Path) -> None:
    """Several at once."""

    async def use() -> list[Any]:
        async with AsyncClient(server.address) as first, AsyncClient(server.address) as second:
            await asyncio.gather(first.load_pipeline(SCALER), second.load_pipeline(SCALER))
            return list(await asyncio.gather(first.run(CUBE), second.run(CUBE)))

    for found in asyncio.run(use()):
        np.testing.assert_array_equal(found["scaler.cube"], EXPECTED)


SLOW = """\
import time
import numpy as np
from cuvis_ai_core.node import ArrayNode, PortSpec


class Slow(ArrayNode):
    INPUT_SPECS = {"cube": PortSpec(np.floating, (-1, -1, -1, -1))}
    OUTPUT_SPECS = {"cube": PortSpec(np.floating, (-1, -1, -1, -1))}

    def forward(self, cube):
        time.sleep(0.2)
        return {"cube": cube}
"""


def test_whoever_cancels_an_await_cancels_its_call(
    server: Server, cache: Path, local_plugin: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The server stops the run before its next node, and the session goes on."""
    folder = local_plugin("slow", package="slow", node="Slow")
    (folder / "src" / "slow" / "nodes.py").write_text(SLOW)
    manifest = tmp_path / "plugins.yaml"
    manifest.write_text(f"plugins:\n  slow: {{path: {folder}, provides: [slow.nodes.Slow]}}\n")
    nodes = [{"name": f"n{number}", "class_name": "Slow"} for number in range(100)]
    edges = [{"source": f"n{number}.cube", "target": f"n{number + 1}.cube"} for number in range(99)]

    async def use() -> None:
        async with AsyncClient(server.address, timeout=60) as client:
            await client.load_plugins(manifest)
            await client.load_pipeline({"nodes": nodes, "edges": edges})
            waiting = asyncio.ensure_future(client.run(CUBE))
            await asyncio.sleep(0.5)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert await client.inputs()  # calls of a session run in turn: this one begins when the run has ended

    with caplog.at_level("INFO", "cuvis_ai_core.grpc.access"):
        asyncio.run(use())
    lines = [each.getMessage() + str(vars(each)) for each in caplog.records if each.name.endswith("access")]
    assert any("Inference" in each and "CANCELLED" in each for each in lines), lines


@needs_blocks
def test_blocks_are_used_again_and_gone_with_client_and_session(
    server: Server, cache: Path, own_blocks: Callable[[], set[str]]
) -> None:
    """However many runs there are, and nothing is left."""
    with Client(server.address) as client:
        client.load_pipeline(SCALER)
        found: dict[str, Any] = {}
        for _ in range(8):
            found = client.run(CUBE)
            gc.collect()
        during = own_blocks()
        assert found
        assert all(name.startswith(SERVER) for name in during)
        assert 1 <= len(during) <= 2
    assert own_blocks() == set()


@needs_blocks
def test_answers_in_shared_memory_are_mapped_once_for_each_block(client: Client) -> None:
    """Looking at memory for the first time costs more than reading it; what is kept of answers stays as it was."""
    client.load_pipeline(SCALER)

    def maps() -> set[str]:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
        return {line.split()[0] for line in lines if SERVER in line and line.split()[1].startswith("r--")}

    first = client.run(CUBE)["scaler.cube"]
    kept = first.copy()
    seen = maps()
    for _ in range(5):
        client.run(CUBE * 2)
        seen |= maps()
    assert len(seen) <= 2
    assert np.array_equal(first, kept)
    del first
    client.close()
    client.close()
    assert maps() == set()


@needs_blocks
def test_a_session_that_expires_gives_its_blocks_back(
    tmp_path: Path, cache: Path, own_blocks: Callable[[], set[str]]
) -> None:
    """Its client may have been killed."""
    with Server(Settings(port=0, session_idle=0.2, working_directory=tmp_path)) as server:
        client = Client(server.address)
        client.load_pipeline(SCALER)
        client.run(CUBE)
        for _ in range(1500):
            if not len(server.service.sessions):
                break
            time.sleep(0.02)
        client.close()
    assert own_blocks() == set()


@needs_blocks
def test_blocks_of_killed_processes_are_swept_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """What tells is the lock of the owner, which the system opens when it ends."""
    monkeypatch.setattr("cuvis_ai_core.grpc.shared_memory.dev_shm_blocks._YOUNG", -1.0)
    mine = Block(CLIENT, 1)
    code = (
        "import sys; from cuvis_ai_core.grpc.shared_memory.dev_shm_blocks import Block, CLIENT\n"
        "block = Block(CLIENT, 1); print(block.name, flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
    assert process.stdout is not None
    name = process.stdout.readline().strip()
    assert name not in sweep()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert name in sweep()
    assert mine.name in blocks()
    mine.close()
    assert not {mine.name, name} & blocks()


@needs_blocks
@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "", ".hidden", "a/b", "absent-block", "x" * 300, "a\0b"]
)
def test_names_that_are_no_blocks_are_refused(name: str) -> None:
    """No path, no file elsewhere."""
    with pytest.raises(ServiceError) as caught:
        Copies().read(name, 0, 10)
    assert caught.value.code == "INVALID_ARGUMENT"


@needs_blocks
def test_links_pipes_and_short_blocks_are_refused() -> None:
    """Whatever has the name of a block; a pipe does not block the server."""
    link, pipe = FOLDER / f"{CLIENT}link", FOLDER / f"{CLIENT}pipe"
    link.symlink_to("/etc/passwd")
    os.mkfifo(pipe)
    block = Block(CLIENT, 10)
    try:
        for name, size in ((link.name, 1), (pipe.name, 1), (block.name, block.size + 1), (block.name, 2**62)):
            with pytest.raises(ServiceError):
                Copies().read(name, 0, size)
    finally:
        link.unlink()
        pipe.unlink()
        block.close()


@needs_blocks
def test_a_client_cannot_read_what_is_the_servers(stub: Any, session: str, refused: Callable[..., Any]) -> None:
    """Results of another session lie in blocks of the server."""
    block = Block(SERVER, 64)
    stub.LoadPipeline(
        session_id=session,
        pipeline=stub.m.PipelineConfig(config_bytes=b'{"nodes": [{"name": "a", "class_name": "MinMaxNormalizer"}]}'),
    )
    for name in (block.name, f"/{block.name}"):
        tensor = stub.m.Tensor(shape=[1, 1, 1, 1], dtype=1, shm_ref=stub.m.ShmRef(name=name, byte_size=4))
        refused("PERMISSION_DENIED", stub.Inference, session_id=session, inputs=stub.m.InputBatch(cube=tensor))
    block.close()


@needs_blocks
def test_sealed_memory_is_read_by_its_session_alone(stub: Any, session: str, refused: Callable[..., Any]) -> None:
    """Not by another, not what is longer than it is, and no other file of a process."""
    stub.LoadPipeline(
        session_id=session,
        pipeline=stub.m.PipelineConfig(config_bytes=b'{"nodes": [{"name": "a", "class_name": "MinMaxNormalizer"}]}'),
    )
    own, foreign = SealedBlock(session, 64), SealedBlock("0" * 32, 64)
    own.write(np.ones(4, np.float32))

    def ask(name: str, size: int = 16) -> Any:
        tensor = stub.m.Tensor(shape=[1, 1, 1, 4], dtype=1, shm_ref=stub.m.ShmRef(name=name, byte_size=size))
        return stub.Inference(session_id=session, inputs=stub.m.InputBatch(cube=tensor))

    assert ask(own.name).outputs
    refused("UNIMPLEMENTED", lambda: ask(foreign.name))
    refused("UNIMPLEMENTED", lambda: ask(f"memfd:{os.getpid()}:1"))
    refused("UNIMPLEMENTED", lambda: ask("memfd:1:9999999999"))
    refused("INVALID_ARGUMENT", lambda: ask(own.name, 2**30 // 8))
    with pytest.raises(OSError, match="not permitted"):
        os.ftruncate(int(own.name.rpartition(":")[2]), 0)
    handle = os.memfd_create(f"cuvis-ai-client-{session}")
    refused("UNIMPLEMENTED", lambda: ask(f"memfd:{os.getpid()}:{handle}"))
    os.close(handle)
    own.close()
    foreign.close()


@needs_blocks
def test_a_client_in_a_container_sends_what_it_cannot_share(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither side sees the other's memory: the arrays travel in messages, and nobody notices."""
    with Client(server.address) as client:
        client.load_pipeline(SCALER)
        monkeypatch.setattr("cuvis_ai_core.grpc.shared_memory.memfd.os.getpid", lambda: 999_999_999)
        np.testing.assert_array_equal(client.run(CUBE)["scaler.cube"], EXPECTED)
        assert not client._tensors.in_memory


@needs_blocks
def test_an_owner_has_only_so_much_memory() -> None:
    """What does not fit is not put into a block."""
    owned = Blocks(lambda size: Block(CLIENT, size), 3 * 2**20)
    first = owned.put(np.zeros(2**20, np.uint8))
    assert first is not None
    assert owned.put(np.zeros(3 * 2**20, np.uint8)) is None
    owned.release(first.name)
    assert owned.put(np.zeros(3 * 2**20, np.uint8)) is not None
    owned.close()


@pytest.mark.slow
def test_training_is_told_and_stopped(
    server: Server, learner: str, shared_root: Path, cache: Path, tmp_path: Path
) -> None:
    """Progress until it is complete; the state afterwards is the same."""
    np.savez(shared_root / "one.npz", cube=np.zeros((2, 2, 4), np.float32))
    with Client(server.address) as client:
        entry = server.service.sessions.get(learner).plugins["centre"]
        manifest = tmp_path / "p.yaml"
        manifest.write_text(f"plugins:\n  centre: {{path: {entry.path}, provides: [centre.nodes.Centre]}}\n")
        client.load_plugins(manifest)
        run = {
            "name": "r",
            "pipeline": {"nodes": [{"name": "c", "class_name": "Centre"}]},
            "data": {"cubes": ["one.npz"]},
        }
        told = list(client.train(run, kind="statistical"))
        assert told[-1].state == client.training_status().state == "complete"
        assert "c" in {each.node for each in told}
        assert not client.stop_training()


def test_a_node_that_fails_is_a_node_run_error(
    server: Server, cache: Path, tmp_path: Path, project_files: Any, write_files: Any
) -> None:
    """With the number under which the server's log has the rest."""
    files = project_files()
    files["src/echo_plugin/nodes.py"] += "        raise KeyError\n"
    files["src/echo_plugin/nodes.py"] = files["src/echo_plugin/nodes.py"].replace(
        "        return", "        if False: return"
    )
    folder = write_files(tmp_path / "bad", files)
    manifest = tmp_path / "p.yaml"
    manifest.write_text(f"plugins:\n  echo: {{path: {folder}, provides: [echo_plugin.nodes.Echo]}}\n")
    with Client(server.address) as client:
        client.load_plugins(manifest)
        client.load_pipeline({"nodes": [{"name": "echo", "class_name": "Echo"}]})
        with pytest.raises(NodeRunError) as caught:
            client.run(CUBE)
    assert vars(caught.value)["id"] in str(caught.value)
