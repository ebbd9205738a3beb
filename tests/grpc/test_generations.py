"""Real clients of all generations of the schemas, each with its own in an environment of its own, on one server."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuvis_ai_core.grpc.server.server import Server
from cuvis_ai_core.grpc.server.settings import Settings

MIRROR = """

class Mirror(ArrayNode):
    INPUT_SPECS = {"cube": PortSpec(np.generic, (-1, -1, -1, -1))}
    OUTPUT_SPECS = {"cube": PortSpec(np.generic, (-1, -1, -1, -1)), "mean": PortSpec(np.float64, ())}

    def forward(self, cube):
        return {"cube": cube, "mean": float(cube.mean())}
"""
REFUSED_AS_UNKNOWN = [
    "unknown session",
    "unknown session, a stream",
    *(f"unknown {what}" for what in ("plugin", "schema", "file", "weights", "pipeline", "trainrun")),
]
REFUSED_AS_WRONG = [
    *("no weights", "empty manifest", "empty pipeline", "no JSON", "empty trainrun", "unknown trainer"),
    *("unknown picture", "too few bytes", "wrong shape", "no cube", "without path"),
]
GENERATIONS = ["0.2.0", "0.3.0", "0.4.1", "0.5.2", "0.6.0", "0.7.0", "0.9.0", "0.14.0"]


def run(generation: str, folder: Path, program: str, *arguments: object) -> Any:
    """Run a program with the schemas of a generation, and return what it prints."""
    uv = [str(Path(sys.executable).with_name("uv")), "pip", "install", "-q", "--no-deps", "--python", sys.executable]
    subprocess.run([*uv, "--target", str(folder / "schemas"), f"cuvis-ai-schemas=={generation}"], check=True)
    told = subprocess.run(
        [sys.executable, str(Path(__file__).with_name(program)), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(folder / "schemas")},
        timeout=200,
    )
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("generation", GENERATIONS)
def test_a_client_of_each_generation_is_served(
    generation: str, server: Server, cache: Path, local_plugin: Callable[..., Path], tmp_path: Path
) -> None:
    """It loads a plugin, lists nodes with ports in the form that it knows, runs a cube and saves."""
    found = run(generation, tmp_path, "old_client.py", server.address, local_plugin())
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


@pytest.mark.slow
@pytest.mark.parametrize("generation", ["0.2.0", "0.4.1", "0.6.0", "0.14.2"])
def test_every_call_of_a_generation_does_what_its_stubs_say(
    generation: str, cache: Path, learning_plugin: Path, tmp_path: Path
) -> None:
    """All calls are made; arrays of all dtypes come back as they were; what is refused has its status."""
    nodes = learning_plugin / "src" / "centre" / "nodes.py"
    nodes.write_text(nodes.read_text() + MIRROR)
    work = tmp_path / "work"
    (work / "configs" / "pipeline").mkdir(parents=True)
    np.savez(work / "cube.npz", cube=np.full((2, 2, 4), 4, np.float32))
    with Server(Settings(port=0, working_directory=work, configs_dir=work / "configs")) as server:
        found = run(generation, tmp_path, "every_call.py", server.address, learning_plugin, work)
    refused = found.pop("refused")
    newest, profiles = generation == "0.14.2", generation != "0.2.0"
    assert found == {
        "no pipeline yet": ["FAILED_PRECONDITION"] * 4,
        "loaded": ["every"],
        "listed": [["every", "local"]],
        "info": True,
        "port": [-1, -1, -1, -1],
        "paths": True,
        "resolved": "other",
        "schema": True,
        "valid": [False, 1],
        "pipeline": "mirror",
        "ports": [["cube"], ["mirror.cube", "mirror.mean"]],
        "spec": [[-1, -1, -1, -1], 0, True],
        "dot": True,
        "mermaid": True,
        "saved": True,
        "available": ["saved.yaml"],
        "content": True,
        "dtypes": 8,
        **({"profiling": True, "times": [["mirror", 8]]} if profiles else {}),
        "asked": [],
        "metrics": {"mirror.mean": 0.0},
        "closed twice": "NOT_FOUND",
        "capabilities": True,
        "brought": True,
        "before": 0,
        "trained": [1, 2],
        "after": 2,
        "restored": "run",
        **({"stopped": False} if newest else {"cleared": 0}),
        "weights": [True, "(client-bytes)"],
        "centred": [5.0, 5.0, 5.0, 5.0],
        "closed": True,
        "not made": [],
    }
    assert refused == {
        **dict.fromkeys(REFUSED_AS_UNKNOWN, "NOT_FOUND"),
        **dict.fromkeys(REFUSED_AS_WRONG, "INVALID_ARGUMENT"),
        "two pipelines": "FAILED_PRECONDITION",
        "outside": "PERMISSION_DENIED",
    }
