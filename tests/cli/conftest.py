"""What the tests of commands get: a shell in an empty folder, and small pipelines, cubes and manifests."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from cuvis_ai_core.cli.main import main as cuvis_ai
from cuvis_ai_core.cli.restore.restore_pipeline import main as restore_pipeline
from cuvis_ai_core.cli.restore.restore_trainrun import main as restore_trainrun

Shell = Callable[..., Result]

SUM_NODE = """\
import numpy as np
from cuvis_ai_core.node import ArrayNode
from cuvis_ai_schemas.pipeline import PortSpec


class Sum(ArrayNode):
    INPUT_SPECS = {"cube": PortSpec(np.float32, (-1, -1, -1, -1))}
    OUTPUT_SPECS = {"total": PortSpec(np.float32, (-1, -1, -1, 1))}

    def forward(self, cube):
        return {"total": cube.sum(axis=-1, keepdims=True)}
"""


GAIN_NODE = """\
import torch
from cuvis_ai_core.node import Node
from cuvis_ai_schemas.pipeline import PortSpec

CUBE = PortSpec(torch.float32, (-1, -1, -1, -1))


class Gain(Node):
    INPUT_SPECS = {"cube": CUBE}
    OUTPUT_SPECS = {"cube": CUBE}

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.gain = torch.nn.Parameter(torch.tensor(1.0))

    def forward(self, cube, context=None, **_):
        assert not torch.is_grad_enabled()
        return {"cube": cube * self.gain}
"""


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """Return a function that runs a command in an empty working directory, with a plugin cache of its own."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("CUVIS_PLUGINS_DIR", str(tmp_path / "plugin cache"))
    monkeypatch.setenv("CUVIS_PLUGIN_DISCOVERY", "0")

    def run(program: str, *arguments: str | Path) -> Result:
        commands = {"cuvis-ai": cuvis_ai, "restore-pipeline": restore_pipeline, "restore-trainrun": restore_trainrun}
        return CliRunner().invoke(commands[program], [str(each) for each in arguments], prog_name=program)

    return run


@pytest.fixture
def process(shell: Shell) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs a command in a process of its own, in the same place."""

    def run(
        program: str, *arguments: str | Path, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        module = {"cuvis-ai": "main"}.get(program, f"restore.{program.replace('-', '_')}")
        code = f"from cuvis_ai_core.cli.{module} import main; main(prog_name={program!r})"
        command = [sys.executable, "-c", code, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **(env or {})})

    return run


@pytest.fixture
def write_yaml(shell: Shell) -> Callable[..., Path]:
    """Return a function that writes a YAML file into the working directory."""

    def write(name: str, content: Any) -> Path:
        path = Path(name)
        path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        return path

    return write


@pytest.fixture
def pipeline_file(write_yaml: Callable[..., Path]) -> Path:
    """Return a pipeline file of two built-in nodes: RX scores, and the mask above their median."""
    return write_yaml(
        "anomalies.yaml",
        {
            "metadata": {"name": "find anomalies", "description": "Scores and a mask"},
            "nodes": [
                {"name": "mask", "class_name": "QuantileDecider", "params": {"quantile": 0.5}},
                {"name": "rx", "class_name": "RXDetector"},
            ],
            "edges": [{"source": "rx.scores", "target": "mask.scores"}],
        },
    )


@pytest.fixture
def cube() -> NDArray[np.float32]:
    """Return a cube of 4 by 5 pixels and 3 bands."""
    return np.random.default_rng(7).random((4, 5, 3), dtype=np.float32)


@pytest.fixture
def cube_file(shell: Shell, cube: NDArray[np.float32]) -> Path:
    """Return that cube as a .npy file."""
    np.save("cube.npy", cube)
    return Path("cube.npy")


@pytest.fixture
def sum_plugin(local_plugin: Callable[..., Path], write_yaml: Callable[..., Path]) -> Path:
    """Return a manifest with one local plugin, whose node adds up the bands."""
    folder = local_plugin(package="sum_plugin", folder="sums")
    (folder / "src/sum_plugin/nodes.py").write_text(SUM_NODE, encoding="utf-8")
    return write_yaml("plugins.yaml", {"plugins": {"sums": {"path": "../sums", "provides": ["sum_plugin.nodes.Sum"]}}})


@pytest.fixture
def torch_plugin(local_plugin: Callable[..., Path], write_yaml: Callable[..., Path]) -> Path:
    """Return a manifest with one local plugin, whose node multiplies with a parameter."""
    folder = local_plugin(package="gain_plugin", folder="gains")
    (folder / "src/gain_plugin/nodes.py").write_text(GAIN_NODE, encoding="utf-8")
    declared = {"path": "../gains", "provides": ["gain_plugin.nodes.Gain"]}
    return write_yaml("gains.yaml", {"plugins": {"gains": declared}})


@pytest.fixture
def browser(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that has a browser of the width of a telephone show a page; its console is in `stderr`."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("there is no browser")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    flags += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    flags += ["--enable-logging=stderr", f"--user-data-dir={tmp_path}/profile", "--window-size=400,800"]

    def show(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([program, *flags, *options], capture_output=True, text=True, timeout=60, check=True)

    return show
