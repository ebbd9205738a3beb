"""A server as it is started: its options and variables, its guards, its end."""

import json
import os
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
import pytest
from click.testing import CliRunner
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from cuvis_ai_core.errors import ServiceError
from cuvis_ai_core.grpc.health import health_address, is_serving
from cuvis_ai_core.grpc.server.serve_command import serve
from cuvis_ai_core.grpc.server.server import Server
from cuvis_ai_core.grpc.server.settings import Settings
from cuvis_ai_core.grpc.shared_memory import dev_shm_blocks

START = [sys.executable, "-m", "cuvis_ai_core.grpc.production_server"]
Started = tuple[subprocess.Popen[str], str, str]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Started]]:
    """Return a function that starts a server and returns its process, its address and its line."""
    processes: list[subprocess.Popen[str]] = []

    def run(*options: str, **variables: str) -> Started:
        command = [*START, *options] if "--uds" in options or variables else [*START, "--port", "0", *options]
        environment = {**os.environ, **variables}
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment
        )
        processes.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.stderr.read() if process.stderr else ""
        return process, line.split()[3], line

    yield run
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def fails(tmp_path: Path) -> Callable[..., str]:
    """Return a function that starts a server that refuses to start, and returns what it says."""

    def run(*options: str) -> str:
        found = subprocess.run(
            [*START, "--port", "0", *options], capture_output=True, text=True, cwd=tmp_path, check=False, timeout=60
        )
        assert found.returncode in {1, 2}
        assert "Traceback" not in found.stderr
        return found.stderr

    return run


def test_one_line_says_where_and_what(
    start: Callable[..., Started], connect: Callable[..., Any], tmp_path: Path
) -> None:
    """Address, plugins, roots; port 0 is a free one; at SIGTERM the server ends well."""
    process, address, line = start()
    assert address.startswith("127.0.0.1:")
    assert line.count("\n") == 1
    assert "plugins: all" in line
    assert f"reads {tmp_path}" in line
    stub = connect(address)
    assert stub.CreateSession().session_id
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


def test_the_published_variables_are_understood(start: Callable[..., Started], connect: Callable[..., Any]) -> None:
    """The port, the folder, the form of the log; each call is a line of it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process, address, line = start(
        GRPC_PORT=str(port), LOG_FORMAT="json", CUVIS_CONFIGS_DIR="own", GRPC_MAX_WORKERS="4"
    )
    assert address == f"127.0.0.1:{port}"
    assert "/own" in line
    connect(address).CreateSession()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=20)
    (call,) = [entry for text in errors.splitlines() if "method" in (entry := json.loads(text))]
    assert (call["method"], call["code"]) == ("CreateSession", "OK")
    assert call["ms"] >= 0
    assert call["sent"] > 0


def test_a_unix_socket_serves_its_owner_only(
    start: Callable[..., Started], connect: Callable[..., Any], tmp_path: Path
) -> None:
    """Nobody else may open it."""
    place = tmp_path / "s"
    start("--uds", str(place))
    assert connect(f"unix:{place}").CreateSession().session_id
    assert place.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.invalid"])
def test_other_addresses_need_tls_and_a_token(host: str) -> None:
    """The refusal says what to give."""
    with pytest.raises(ServiceError, match="--tls-cert"):
        Settings(host=host).check()
    with pytest.raises(ServiceError, match="--token-file"):
        Settings(host=host, tls_certificate=Path("c"), tls_key=Path("k")).check()
    Settings(host=host, tls_certificate=Path("c"), tls_key=Path("k"), token_file=Path("t")).check()


@pytest.mark.slow
def test_wrong_options_are_told_in_one_text(fails: Callable[..., str], server: Server) -> None:
    """A port in use, a time that is none, a generation that is none, a key without its certificate."""
    found = subprocess.run(
        [*START, "--port", server.address.rpartition(":")[2]], capture_output=True, text=True, check=False, timeout=60
    )
    assert "cannot be listened on" in found.stderr
    assert "--tls-cert" in fails("--host", "0.0.0.0")
    assert "absent" in fails("--tls-key", "absent", "--tls-cert", "absent")
    for options, word in (
        (["--session-idle", "soon"], "24h"),
        (["--generation", "newest"], "schemas"),
        (["--tls"], "--tls-key"),
    ):
        told = CliRunner().invoke(serve, options)
        assert told.exit_code == 2
        assert word in told.output


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """Make a certificate for localhost that vouches for itself, and return it with its key."""
    files = folder / f"{name}.pem", folder / f"{name}.key"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-out", str(files[0]), "-keyout", str(files[1])]
    subprocess.run(command, check=True, capture_output=True)
    return files


def codes(channel: grpc.Channel, metadata: Any = None) -> str:
    """Return the status of a call."""
    call = channel.unary_unary("/cuvis_ai.v1.CuvisAIService/CreateSession")
    try:
        call(b"", metadata=metadata, timeout=10)
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"


def test_tls_and_a_token_guard_every_method_but_health(tmp_path: Path) -> None:
    """A missing or wrong token is UNAUTHENTICATED, for reflection too; client certificates are asked for."""
    chain, key = certificate(tmp_path, "localhost")
    client, client_key = certificate(tmp_path, "client")
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    settings = Settings(
        host="127.0.0.1", port=0, tls_certificate=chain, tls_key=key, token_file=token, client_ca=client
    )
    with Server(settings) as server:
        root = chain.read_bytes()
        good = grpc.ssl_channel_credentials(root, client_key.read_bytes(), client.read_bytes())
        with grpc.secure_channel(server.address, good) as channel:
            assert codes(channel) == "UNAUTHENTICATED"
            assert codes(channel, (("authorization", "Bearer wrong"),)) == "UNAUTHENTICATED"
            assert codes(channel, (("authorization", "Bearer s3cret"),)) == "OK"
            health = health_pb2_grpc.HealthStub(channel)
            assert health.Check(health_pb2.HealthCheckRequest()).status == 1
            reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
            request = reflection_pb2.ServerReflectionRequest(list_services="")
            with pytest.raises(grpc.RpcError) as caught:
                list(reflection.ServerReflectionInfo(iter([request]), timeout=10))
            assert caught.value.code().name == "UNAUTHENTICATED"
        assert f"serves on {server.address} (TLS and client certificates and token)" in server.describe()
        here = health_address(int(server.address.rpartition(":")[2]))
        assert is_serving(here)  # a container's own check has no certificate
        with grpc.insecure_channel(here) as channel:
            assert codes(channel) == "UNIMPLEMENTED"
        with grpc.secure_channel(server.address, grpc.ssl_channel_credentials(root)) as channel:
            assert codes(channel, (("authorization", "Bearer s3cret"),)) == "UNAVAILABLE"
    with grpc.insecure_channel(here) as channel:
        assert codes(channel) == "UNAVAILABLE"  # nor does anybody say there that it has ended


@pytest.mark.parametrize("mode", [0o600, 0o660])
def test_a_socket_is_for_those_alone_that_are_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int) -> None:
    """From the moment that it is there: its mode is not changed afterwards."""
    monkeypatch.setattr(Path, "chmod", lambda *_: pytest.fail("too late"))
    before = os.umask(0)
    try:
        with Server(Settings(uds=tmp_path / "s", uds_mode=mode, working_directory=tmp_path)):
            assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == mode
        assert os.umask(0) == 0
    finally:
        os.umask(before)


def test_a_server_for_other_machines_loads_and_writes_nothing_by_itself(
    tmp_path: Path, connect: Callable[..., Any], refused: Callable[..., Any]
) -> None:
    """No plugin without a policy, no class from wherever it lies, no file but below what is named."""
    settings = Settings(host="0.0.0.0", port=0, insecure=True, working_directory=tmp_path, configs_dir=tmp_path / "c")
    with Server(settings) as server:
        stub = connect(server.address.replace("0.0.0.0", "127.0.0.1"))
        session = stub.CreateSession().session_id
        manifest = stub.one(name="a", path=str(tmp_path), capabilities=["a.B"])
        refused("PERMISSION_DENIED", stub.LoadPlugin, session_id=session, manifest=manifest)
        config = stub.m.PipelineConfig(config_bytes=b'{"nodes": [{"name": "a", "class_name": "antigravity.Node"}]}')
        refused("INVALID_ARGUMENT", stub.LoadPipeline, session_id=session, pipeline=config)
        good = stub.m.PipelineConfig(config_bytes=b'{"nodes": [{"name": "a", "class_name": "MinMaxNormalizer"}]}')
        stub.LoadPipeline(session_id=session, pipeline=good)
        refused("PERMISSION_DENIED", stub.SavePipeline, session_id=session, pipeline_path="x.yaml")
        refused("PERMISSION_DENIED", stub.ClearPluginCache)
        assert "writes nothing" in server.describe()
        assert "antigravity" not in sys.modules


def test_a_policy_says_what_such_a_server_loads(
    tmp_path: Path, connect: Callable[..., Any], local_plugin: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it names is loaded, the rest refused by rule and line; the line of the server names the file."""
    good = local_plugin()
    file = tmp_path / "policy.yaml"
    file.write_text(f'allow:\n  - {{path: "{good}", kind: private}}\n')
    monkeypatch.setenv("CUVIS_POLICY", str(file))
    settings = Settings(host="0.0.0.0", port=0, insecure=True, working_directory=tmp_path, configs_dir=tmp_path / "c")
    with Server(settings) as server:
        assert str(file) in server.describe()
        stub = connect(server.address.replace("0.0.0.0", "127.0.0.1"))
        session = stub.CreateSession().session_id
        entry = {"provides": ["echo_plugin.nodes.Echo"]}
        manifest = stub.manifest(good={**entry, "path": str(good)}, other={**entry, "path": str(tmp_path)})
        answer = stub.LoadPlugins(session_id=session, manifest=manifest)
        assert list(answer.loaded_plugins) == ["good"]
        assert "policy.yaml" in answer.failed_plugins["other"]


def test_a_local_server_takes_localhost_for_this_machine() -> None:
    """And other names for other machines, whatever they may resolve to."""
    assert Settings(host="localhost").is_local
    assert Settings(host="::1").is_local
    assert not Settings(host="0.0.0.0").is_local
    assert not Settings(host="localhost.example").is_local
    with pytest.raises(ServiceError):
        Settings(host="10.0.0.1").check()


def test_health_is_watched_and_reflection_tells_the_methods(server: Server, connect: Callable[..., Any]) -> None:
    """Per service, and all methods of all generations."""
    channel = connect(server.address).channel
    watch = health_pb2_grpc.HealthStub(channel).Watch(
        health_pb2.HealthCheckRequest(service="cuvis_ai.v1.CuvisAIService"), timeout=10
    )
    assert next(watch).status == 1
    watch.cancel()
    request = reflection_pb2.ServerReflectionRequest(file_containing_symbol="cuvis_ai.v1.CuvisAIService")
    (answer,) = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([request]), timeout=10)
    assert b"LoadPlugins" in answer.file_descriptor_response.file_descriptor_proto[0]


def test_health_says_that_the_server_ends_before_it_does(connect: Callable[..., Any], tmp_path: Path) -> None:
    """A watch is told NOT_SERVING while calls that run end; then sessions are closed."""
    server = Server(Settings(port=0, working_directory=tmp_path)).start()
    stub = connect(server.address)
    watch = health_pb2_grpc.HealthStub(stub.channel).Watch(health_pb2.HealthCheckRequest(), timeout=60)
    assert next(watch).status == 1
    session = server.service.sessions.get(stub.CreateSession().session_id)
    ended: list[bool] = []
    session.at_end.append(lambda: ended.append(True))
    with ThreadPoolExecutor(2) as others:
        with session.turn():
            asked = others.submit(stub.ListAvailableNodes, session_id=session.id)
            while not session._waiting:
                time.sleep(0.001)
            ending = others.submit(server.stop)
            assert next(watch).status == 2
            watch.cancel()
        assert asked.result().nodes  # calls have time to end
        ending.result()
    assert ended
    assert len(server.service.sessions) == 0


def test_a_server_that_has_ended_leaves_no_thread_and_one_that_begins_no_blocks_of_others(
    connect: Callable[..., Any], refused: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was killed before, and however many are started in a process; nobody answers any more."""
    monkeypatch.setattr(dev_shm_blocks, "FOLDER", tmp_path)
    left = tmp_path / "cuvis-ai-left"
    left.touch()
    os.utime(left, (1, 1))
    before = set(threading.enumerate())
    with Server(Settings(port=0, working_directory=tmp_path)) as server:
        assert f"serves on {server.address} (open); plugins: all; reads {tmp_path}" in server.describe()
        stub = connect(server.address)
        stub.CreateSession()
        begun = [each for each in threading.enumerate() if each.name.startswith(("call", "patience", "sessions"))]
    begun = [each for each in begun if each not in before]
    refused("UNAVAILABLE", stub.CreateSession, timeout=20)
    assert len(begun) >= 3
    for each in begun:
        each.join(30)
    assert not [each.name for each in begun if each.is_alive()]
    assert not left.exists()


@pytest.mark.slow
def test_a_killed_server_leaves_no_process(
    start: Callable[..., Started], connect: Callable[..., Any], local_plugin: Callable[..., Path], tmp_path: Path
) -> None:
    """A plugin in a process of its own ends with it, also after kill -9 in the middle of a call."""
    process, address, _ = start(CUVIS_PLUGINS_DIR=str(tmp_path / "cache"), GRPC_PORT="0")
    stub = connect(address)
    session = stub.CreateSession().session_id
    folder = local_plugin()
    manifest = stub.one(name="echo", path=str(folder), capabilities=["echo_plugin.nodes.Echo"], isolation="process")
    assert not stub.LoadPlugin(session_id=session, manifest=manifest, timeout=200).error
    config = stub.m.PipelineConfig(config_bytes=b'{"nodes": [{"name": "a", "class_name": "Echo"}]}')
    stub.LoadPipeline(session_id=session, pipeline=config)
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert [each for each in alive if each.status() != psutil.STATUS_ZOMBIE] == []


@pytest.mark.slow
def test_a_killed_server_leaves_no_training(
    start: Callable[..., Started], connect: Callable[..., Any], learning_plugin: Path, tmp_path: Path
) -> None:
    """The process of one that is under way ends with it."""
    np.savez(tmp_path / "one.npz", cube=np.zeros((2, 2, 4), np.float32))
    process, address, _ = start(CUVIS_PLUGINS_DIR=str(tmp_path / "cache"), GRPC_PORT="0")
    stub = connect(address)
    session = stub.CreateSession().session_id
    manifest = stub.one(name="centre", path=str(learning_plugin), capabilities=["centre.nodes.Centre"])
    assert not stub.LoadPlugin(session_id=session, manifest=manifest, timeout=200).error
    content = {
        "name": "run",
        "pipeline": {"nodes": [{"name": "centre", "class_name": "Centre", "params": {"pause": -1.0}}]},
        "data": {"cubes": ["one.npz"]},
    }
    config = stub.m.TrainRunConfig(config_bytes=json.dumps(content).encode())
    stub.SetTrainRunConfig(session_id=session, config=config)
    next(each for each in stub.Train(session_id=session, trainer_type=1) if each.event.node == "centre")
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert [each for each in alive if each.status() != psutil.STATUS_ZOMBIE] == []


@pytest.mark.slow
def test_a_killed_worker_ends_its_call_and_nothing_else(
    stub: Any, session: str, server: Server, project_files: Any, write_files: Any, tmp_path: Path
) -> None:
    """The call is INTERNAL with the node's name; the next one starts another worker, the server serves on."""
    files = project_files()
    files["src/echo_plugin/nodes.py"] = files["src/echo_plugin/nodes.py"].replace(
        "        return", "        import time; time.sleep(float(cube[0, 0, 0, 0]))\n        return"
    )
    folder = write_files(tmp_path / "slow", files)
    manifest = stub.one(name="echo", path=str(folder), capabilities=["echo_plugin.nodes.Echo"], isolation="process")
    before = set(psutil.Process().children(recursive=True))
    assert not stub.LoadPlugin(session_id=session, manifest=manifest, timeout=200).error
    config = stub.m.PipelineConfig(config_bytes=b'{"nodes": [{"name": "slow", "class_name": "Echo"}]}')
    stub.LoadPipeline(session_id=session, pipeline=config)

    def run(seconds: float) -> Any:
        raw = struct.pack("<f", seconds)
        cube = stub.m.Tensor(shape=[1, 1, 1, 1], dtype=1, raw_data=raw)
        return stub.Inference(session_id=session, inputs=stub.m.InputBatch(cube=cube))

    run(0)
    workers = set(psutil.Process().children(recursive=True)) - before

    def kill() -> None:
        for each in workers:
            each.kill()

    killing = threading.Timer(1.0, kill)
    killing.start()
    with pytest.raises(grpc.RpcError) as caught:
        run(30)
    killing.join()
    assert caught.value.code().name == "INTERNAL"
    assert "slow" in caught.value.details()
    assert run(0).outputs


@pytest.mark.slow
def test_a_deadline_ends_a_node_in_a_process_of_its_own(
    stub: Any, session: str, project_files: Any, write_files: Any, tmp_path: Path
) -> None:
    """At once, and not when the node would have ended."""
    files = project_files()
    files["src/echo_plugin/nodes.py"] = files["src/echo_plugin/nodes.py"].replace(
        "        return", "        import time; time.sleep(60)\n        return"
    )
    folder = write_files(tmp_path / "endless", files)
    manifest = stub.one(name="echo", path=str(folder), capabilities=["echo_plugin.nodes.Echo"], isolation="process")
    assert not stub.LoadPlugin(session_id=session, manifest=manifest, timeout=200).error
    config = stub.m.PipelineConfig(config_bytes=b'{"nodes": [{"name": "slow", "class_name": "Echo"}]}')
    stub.LoadPipeline(session_id=session, pipeline=config)
    cube = stub.m.Tensor(shape=[1, 1, 1, 1], dtype=1, raw_data=b"\0" * 4)
    begun = time.monotonic()
    with pytest.raises(grpc.RpcError) as caught:
        stub.Inference(session_id=session, inputs=stub.m.InputBatch(cube=cube), timeout=3)
    assert caught.value.code().name == "DEADLINE_EXCEEDED"
    assert stub.ListLoadedPlugins(session_id=session, timeout=30).plugins
    assert time.monotonic() - begun < 40


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX") or os.name != "posix", reason="systemd's sockets")
def test_systemd_is_told_when_the_server_is_ready_and_when_it_stops(
    start: Callable[..., Started], tmp_path: Path
) -> None:
    """By a unit of the type `notify`: whoever waits for its start can call at once."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(str(tmp_path / "n"))
        end.settimeout(60)
        process, address, _ = start("--port", "0", NOTIFY_SOCKET=str(tmp_path / "n"))
        assert end.recv(100) == b"READY=1"
        assert is_serving(address)
        process.send_signal(signal.SIGTERM)
        assert end.recv(100) == b"STOPPING=1"
        assert process.wait(60) == 0
