"""Real clients of all generations of the schemas, each with its own in an environment of its own, on one server."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cuvis_ai_core.grpc.server import Server

CLIENT = Path(__file__).with_name("old_client.py")
GENERATIONS = ["0.2.0", "0.3.0", "0.4.1", "0.5.2", "0.6.0", "0.7.0", "0.9.0", "0.14.0"]


@pytest.mark.slow
@pytest.mark.parametrize("generation", GENERATIONS)
def test_a_client_of_each_generation_is_served(
    generation: str, server: Server, cache: Path, local_plugin: Callable[..., Path], tmp_path: Path
) -> None:
    """It loads a plugin, lists nodes with ports in the form that it knows, runs a cube and saves."""
    folder = tmp_path / "schemas"
    uv = [str(Path(sys.executable).with_name("uv")), "pip", "install", "-q", "--no-deps", "--python", sys.executable]
    subprocess.run([*uv, "--target", str(folder), f"cuvis-ai-schemas=={generation}"], check=True)
    told = subprocess.run(
        [sys.executable, str(CLIENT), server.address, str(local_plugin())],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(folder)},
        timeout=120,
    )
    assert told.returncode == 0, told.stderr
    found = json.loads(told.stdout)
    assert found == {
        "loaded": ["echo"],
        "ports": [1] if generation < "0.5" and generation != "0.14.0" else 1,
        "name": "echo",
        "inputs": ["cube"],
        "sum": 276.0,
        "saved": True,
        "status": 0,
        **({"stopped": False} if generation in {"0.9.0", "0.14.0"} else {}),
        "plugins": [["echo", "local"]],
        "closed": True,
    }
