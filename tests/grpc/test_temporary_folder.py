"""What servers leave in the temporary folder, however they end."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuvis_ai_core.grpc.messages.schema_generations import messages

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="locks of folders")]


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """Return the temporary folder of the servers."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


@pytest.fixture
def start(tmp_path: Path, temporary: Path) -> Iterator[Callable[[], tuple[subprocess.Popen[str], str]]]:
    """Return a function that starts a server, and returns its process and its address."""
    processes: list[subprocess.Popen[str]] = []

    def run() -> tuple[subprocess.Popen[str], str]:
        command = [sys.executable, "-m", "cuvis_ai_core.grpc.production_server", "--port", "0"]
        environment = {**os.environ, "TMPDIR": str(temporary)}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment)
        processes.append(process)
        assert process.stdout is not None
        return process, process.stdout.readline().split()[3]

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def left(folder: Path) -> set[str]:
    """Return the names of what is in a folder."""
    return {each.name for each in folder.iterdir()}


def test_what_a_killed_server_leaves_the_next_one_removes(
    start: Callable[[], tuple[subprocess.Popen[str], str]],
    connect: Callable[..., Any],
    temporary: Path,
    learning_plugin: Path,
    tmp_path: Path,
) -> None:
    """Also of a training under way; a running server's things stay, and so do those of others with such names."""
    np.savez(tmp_path / "cube.npz", cube=np.ones((2, 2, 4), np.float32), wavelengths=np.arange(500.0, 504.0))
    _, other = start()
    (others,) = left(temporary)
    process, address = start()
    stub = connect(address)
    session = stub.CreateSession().session_id
    stub.LoadPlugin(
        session_id=session,
        manifest=stub.one(name="centre", path=str(learning_plugin), capabilities=["centre.nodes.Centre"]),
    )
    pipeline = {"nodes": [{"name": "centre", "class_name": "Centre", "params": {"pause": 60.0}}]}
    content = {"name": "run", "pipeline": pipeline, "data": {"cubes": [str(tmp_path / "cube.npz")]}}
    config = messages().TrainRunConfig(config_bytes=json.dumps(content).encode())
    stub.SetTrainRunConfig(session_id=session, config=config)
    words = stub.Train(session_id=session, trainer_type=1)
    assert any(said.event.hook == 13 for said in words)  # the node learns
    (killed,) = left(temporary) - {others}
    assert any((temporary / killed).glob("cuvis-training-*"))
    process.kill()
    process.wait(30)
    words.cancel()
    (temporary / "cuvis-server-file").touch()
    (temporary / "cuvis-server-link").symlink_to(tmp_path)
    (temporary / "cuvis-server-unlocked").mkdir()
    strange = {"cuvis-server-file", "cuvis-server-link", "cuvis-server-unlocked"}
    last, _ = start()
    now = left(temporary)
    assert now >= {others, *strange}
    assert killed not in now
    assert len(now) == len(strange) + 2  # the third server's own, too
    assert connect(other).CreateSession().session_id
    last.send_signal(signal.SIGTERM)
    assert last.wait(30) == 0
    assert left(temporary) == {others, *strange}
    assert (tmp_path / "cube.npz").is_file()
