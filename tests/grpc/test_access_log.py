"""What whoever runs a server sees: lines, counts, health; and the files to run it with."""

import configparser
import json
import logging
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from cuvis_ai_core._untrusted_files import load_yaml
from cuvis_ai_core.grpc.client.remote_command import remote
from cuvis_ai_core.grpc.health import is_serving, main
from cuvis_ai_core.grpc.server.access_log import Lines, log_to_stderr
from cuvis_ai_core.grpc.server.serve_command import serve
from cuvis_ai_core.grpc.server.server import Server
from cuvis_ai_core.grpc.server.settings import Settings

DEPLOY = Path(__file__).parents[2] / "deploy"


def test_prometheus_is_answered(tmp_path: Path, connect: Callable[..., Any]) -> None:
    """Calls by method and status, seconds, bytes, sessions; and nothing is left listening."""
    with Server(Settings(port=0, metrics_port=0, working_directory=tmp_path)) as server:
        stub = connect(server.address)
        stub.CreateSession()
        with pytest.raises(Exception, match="NOT_FOUND"):
            stub.ListLoadedPlugins(session_id="x")
        with urllib.request.urlopen(server.metrics_address, timeout=10) as answer:
            text = answer.read().decode()
        assert server.metrics_address in server.describe()
    assert 'cuvis_calls_total{code="OK",method="CreateSession"} 1.0' in text
    assert 'cuvis_calls_total{code="NOT_FOUND",method="ListLoadedPlugins"} 1.0' in text
    assert "cuvis_sessions 1.0" in text
    assert "cuvis_calls_running 0.0" in text
    assert 'cuvis_call_seconds_count{method="CreateSession"} 1.0' in text
    # A field of one letter, and one of 32.
    assert 'cuvis_bytes_total{direction="received"} 3.0' in text
    assert 'cuvis_bytes_total{direction="sent"} 34.0' in text
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(server.metrics_address, timeout=5)


def test_a_line_per_call_has_everything_a_search_needs(stub: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Method, session, status, milliseconds, bytes, peer; as JSON one object."""
    with caplog.at_level(logging.INFO, "cuvis_ai_core.grpc.access"):
        number = stub.CreateSession().session_id
        stub.CloseSession(session_id=number)
        number = stub.CreateSession().session_id
        stub.SetProfiling(session_id=number)
    record, _, _, other = (each for each in caplog.records if each.name.endswith("access"))
    told = json.loads(Lines(as_json=True).format(record))
    about = ("method", "session", "code", "received", "sent")
    assert tuple(told[name] for name in about) == ("CreateSession", "", "OK", 0, 34)
    assert tuple(other.call[name] for name in about) == ("SetProfiling", number[:8], "OK", 34, 0)  # type: ignore[attr-defined]
    assert {"method", "session", "code", "ms", "received", "sent", "peer", "time", "level"} <= told.keys()
    assert "method=CreateSession" in Lines(as_json=False).format(record)


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_all_is_logged_on_standard_error_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], log_format: str
) -> None:
    """Of this package and of Python's warnings, from the level on that was asked for."""
    captured: list[bool] = []
    monkeypatch.setattr(logging, "captureWarnings", lambda *, capture: captured.append(capture))
    ours = [logging.getLogger(name) for name in ("cuvis_ai_core", "py.warnings")]
    before = [(each.handlers[:], each.level, each.propagate) for each in ours]
    try:
        log_to_stderr(log_format, "warning")
        for each in ours:
            each.warning("seen by %s", each.name)
            each.info("not seen")
    finally:
        for each, (handlers, level, propagate) in zip(ours, before, strict=True):
            each.handlers[:], each.propagate = handlers, propagate
            each.setLevel(level)
    shown = capsys.readouterr()
    assert (captured, shown.out) == ([True], "")
    names = [json.loads(line)["message"] if log_format == "json" else line[25:] for line in shown.err.splitlines()]
    begin = "" if log_format == "json" else "WARNING "
    assert names == [f"{begin}seen by {each.name}" for each in ours]


def test_health_from_a_command(server: Server) -> None:
    """True where it serves, false where nobody does."""
    assert is_serving(server.address)
    assert not is_serving("localhost:1")


def test_a_cube_runs_remotely_from_the_command_line(server: Server, cache: Path, tmp_path: Path) -> None:
    """The results lie here as `restore-pipeline` writes them."""
    pipeline, cube = tmp_path / "p.yaml", tmp_path / "scene.npz"
    pipeline.write_text("nodes: [{name: scaler, class_name: MinMaxNormalizer}]\n")
    np.savez(cube, cube=np.random.default_rng(0).random((8, 6, 3), np.float32), wavelengths=[450.0, 550.0, 650.0])
    options = ["--server", server.address, "--pipeline-path", str(pipeline), "--cube-path", str(cube)]
    told = CliRunner().invoke(remote, [*options, "--output-dir", str(tmp_path / "out")])
    assert told.exit_code == 0, told.output
    with np.load(tmp_path / "out" / "outputs.npz") as outputs:
        assert outputs["scaler.cube"].max() == 1
    assert json.loads((tmp_path / "out" / "run.json").read_text())["server"] == server.address
    assert CliRunner().invoke(remote, [*options, "--cu3s-file-path", str(cube)]).exit_code == 2
    told = CliRunner().invoke(
        remote, [*options, "--output-dir", str(tmp_path / "more"), "--profile", "--pipeline-vis-ext", "md"]
    )
    assert told.exit_code == 0, told.output
    assert json.loads((tmp_path / "more" / "profile.json").read_text())["nodes"][0]["node"] == "scaler"
    assert (tmp_path / "more" / "pipeline.md").read_text().startswith("```mermaid\nflowchart")
    pipeline.write_text(pipeline.read_text() + 'metadata: {class_names: {scaler: {nothing: {"1": corn}}}}\n')
    told = CliRunner().invoke(remote, options)
    assert told.exit_code == 2  # the pipeline file is to blame
    assert "scaler.nothing" in told.output
    told = CliRunner().invoke(remote, ["--server", "localhost:1", *options[2:]])
    assert told.exit_code == 1
    assert "Traceback" not in told.output


def test_the_files_of_a_deployment_say_what_is_there() -> None:
    """Read-only root, no rights, a health check; options and modules that there are."""
    compose = load_yaml(DEPLOY / "compose.yaml").data["services"]
    assert compose["cuvis"]["read_only"] is True
    assert compose["cuvis"]["cap_drop"] == ["ALL"]
    assert {"cuvis", "prometheus"} == set(compose)
    container = (DEPLOY / "Containerfile").read_text()
    asked = compose["cuvis"]["healthcheck"]["test"]  # podman's format of images has none
    assert f"CMD {json.dumps(asked[1:])}" in container
    assert "--format docker" in container
    assert "USER cuvis" in container
    assert "HEALTHCHECK" in container
    assert "cuvis_ai_core.grpc.health" in container
    copied = [each for line in container.splitlines() if line.startswith("COPY ") for each in line.split()[1:-1]]
    assert all(
        (DEPLOY.parent / each).exists() and each != "." for each in copied
    )  # not the environment, nor the history
    assert "install -d -o cuvis" in container  # what is mounted belongs to who serves
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(DEPLOY / "cuvis-server.service")
    assert unit["Service"]["ProtectSystem"] == "strict"
    assert unit["Service"]["Type"] == "notify"
    given = dict(each.split("=", 1) for each in unit["Service"]["Environment"].split())
    written = unit["Service"]["ExecStart"].split("--write-root ")[1].split()[0]
    assert not given["HOME"].startswith(("/home", written))  # where ProtectHome lets nobody read, or clients write
    known = {name for param in serve.params for name in param.opts}
    words = f"{container} {unit['Service']['ExecStart']}".replace('"', " ").replace(",", " ").split()
    used = {word for word in words if word.startswith("--")} - {"--no-install-recommends", "--create-home", "--uid"}
    used -= {"--no-cache-dir", "--format", "--interval=10s", "--timeout=5s", "--start-period=10s"}
    assert used <= known


def test_a_health_check_without_a_port_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is no answer about the server."""
    monkeypatch.setenv("GRPC_PORT", "http")
    assert main([]) == 2
    assert "GRPC_PORT is 'http', which is no port" in capsys.readouterr().err
