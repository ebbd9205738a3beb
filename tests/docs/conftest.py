"""Run README and docs word for word.

A page's blocks run in their order, in one namespace and one folder. That folder is like a fresh clone: it has
`example_plugins`; and a cube `scene.npz` (8 x 6 pixels, 60 bands, 400 to 1100 nm) lies there.

- A block that begins with `# file: NAME` is written to that file.
- Other `python` blocks are executed. `sh` blocks are run by bash, but for those that install (`pip`, `uv`, a virtual
  environment): the README's are run by CI, and of all others the commands of this package are checked.
- A `sh` block that serves (`cuvis-ai git-host`) runs in the background to the end of the page.
- A `text` block directly below is what that prints: `...` is anything in a line, or any lines; blanks are not counted.
- All `yaml` blocks are manifests, pipeline files or trainruns, and checked as such.

Repositories at https://github.com/your-lab/ are real: git is told to look for them at a Git host on loopback.
`spectral-indices.git` has the tags v1.0.0 and v1.1.0 of `cuvis-ai demo`. So are those at http://127.0.0.1:8417/, the
address of the demonstration, but where a page serves it itself: then the port is one that is free.
"""

import gc
import importlib
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.cli.demo.workspace import FILES
from cuvis_ai_core.testing import GitHost
from cuvis_ai_core.testing.git_host import PORT
from tests.warm_process import WarmProcess

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# file: (\S+)\n")
_INSTALLS = re.compile(r"^\s*(\S*python3? -m venv|\S*pip |\S*uv |pre-commit |\.venv/)", re.MULTILINE)
_NEEDS_TORCH = re.compile(r"import torch|\.\[[a-z,]*train\]")
_SERVES = re.compile(r"^cuvis-ai git-host ", re.MULTILINE)
_PUBLIC = "https://github.com/your-lab/"
_DEMO = f"127.0.0.1:{PORT}"


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: its language, its text, and the line on which the text begins."""

    language: str
    text: str
    line: int

    @property
    def file(self) -> str | None:
        """The file that this block is the content of."""
        match = _FILE.match(self.text)
        return match[1] if match else None

    @property
    def installs(self) -> bool:
        """Whether the commands need a network or make an environment."""
        return _INSTALLS.search(self.text) is not None


def read_blocks(page: Path, port: int = PORT) -> list[Block]:
    """Return the fenced blocks of a page, in which a page that serves itself does so at a port."""
    text = page.read_text(encoding="utf-8")
    if _SERVES.search(text):
        text = text.replace(_DEMO, f"127.0.0.1:{port}")
    return [Block(match[1], match[2], text.count("\n", 0, match.start(2)) + 1) for match in _FENCE.finditer(text)]


def run_page(page: Path) -> None:
    """Run the blocks of a page in the current folder."""
    gc.collect()  # a page that loaded the same plugin may have left objects, and names of modules tell them apart
    if _NEEDS_TORCH.search(page.read_text(encoding="utf-8")):
        pytest.importorskip("torch")
    namespace: dict[str, Any] = {"__name__": "__main__"}
    printed = ""
    port = free_port()
    with ExitStack() as ending:
        ending.callback(_close_registries, namespace)
        for block in read_blocks(page, port):
            place = f"{page.relative_to(ROOT)}, line {block.line}"
            if block.file:
                Path(block.file).parent.mkdir(parents=True, exist_ok=True)
                Path(block.file).write_text(block.text, encoding="utf-8")
                importlib.invalidate_caches()  # a module may be written in the moment in which its folder was read
            elif block.language == "text":
                _compare(block.text, printed, place)
            elif block.language == "python":
                printed = _execute(block, page, namespace)
            elif block.language == "sh":
                printed = _run_commands(block, place, port, ending)


def _close_registries(namespace: dict[str, Any]) -> None:
    for value in namespace.values():
        if isinstance(value, NodeRegistry):
            value.close()


def _run_commands(block: Block, place: str, port: int, ending: ExitStack) -> str:
    if _SERVES.search(block.text):
        ending.enter_context(_serving(block, port))
        return ""
    return "" if block.installs else _run_shell(block, place)


def _execute(block: Block, page: Path, namespace: dict[str, Any]) -> str:
    output = StringIO()
    with redirect_stdout(output):
        exec(compile("\n" * (block.line - 1) + block.text, str(page), "exec"), namespace)
    return output.getvalue()


def _run_shell(block: Block, place: str) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.text],
        env={**os.environ, "COLUMNS": "200", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{place}: exit status {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


@contextmanager
def _serving(block: Block, port: int) -> Iterator[None]:
    """Run a command that serves until it is ended; it is there when it says its first address."""
    words = shlex.split(block.text)
    command = [sys.executable, "-m", "cuvis_ai_core", *words[1:], "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        try:
            assert server.stdout.readline().startswith(f"http://127.0.0.1:{port}/")
            yield
        finally:
            server.terminate()


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _compare(expected: str, printed: str, place: str) -> None:
    lines = (re.escape(line).replace(r"\.\.\.", ".*") for line in _lines(expected))
    pattern = "".join(r"(?:.*\n)*" if line == ".*" else rf"{line}\n" for line in lines)
    found = re.fullmatch(pattern, "".join(f"{line}\n" for line in _lines(printed)))
    assert found, f"{place}: the page says\n{expected}\nbut what is printed is\n{printed}"


def _lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


@pytest.fixture(scope="session")
def blocks_of() -> Callable[[Path], list[Block]]:
    """Return a function that gives the fenced blocks of a page."""
    return read_blocks


@pytest.fixture
def run(
    page_folder: Path,
    warm_trainer: WarmProcess | None,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[[Path], None]]:
    """Return a function that runs the blocks of a page; trainings there are forks of a process with all imports."""
    programs = tmp_path_factory.mktemp("programs")
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    if warm_trainer is None:
        yield run_page
        return
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    code = "import sys; from cuvis_ai_core.cli.start import restore_trainrun; sys.argv[0] = 'restore-trainrun'; "
    code += "restore_trainrun()"
    with warm_trainer.programs(programs, restore_trainrun=code):
        yield run_page


@pytest.fixture
def page_folder(tmp_path: Path, your_lab: GitHost, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to a folder in which a page can be run."""
    shutil.copytree(ROOT / "example_plugins", tmp_path / "example_plugins")
    wavelengths = np.linspace(400, 1100, 60)
    noise = np.random.default_rng(7).normal(scale=0.01, size=(8, 6, 60))
    np.savez(tmp_path / "scene.npz", cube=np.linspace(0.1, 0.6, 60) + noise, wavelengths=wavelengths)
    (tmp_path / "demo-output").mkdir()
    shutil.copy(tmp_path / "scene.npz", tmp_path / "demo-output" / "indian_pines.npz")
    for number, (key, value) in enumerate(_git_configuration(your_lab)):
        monkeypatch.setenv(f"GIT_CONFIG_KEY_{number}", key)
        monkeypatch.setenv(f"GIT_CONFIG_VALUE_{number}", value)
        monkeypatch.setenv("GIT_CONFIG_COUNT", str(number + 1))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def your_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitHost]:
    """Serve the repositories of the documentation on loopback."""
    with GitHost(tmp_path_factory.mktemp("your-lab")) as host:
        host.add("your-lab/spectral-indices", ROOT / "example_plugins" / "spectral_indices", tag="v1.0.0")
        host.commit("your-lab/spectral-indices", FILES / "spectral_indices-v1.1.0.patch", tag="v1.1.0")
        yield host


def _git_configuration(host: GitHost) -> list[tuple[str, str]]:
    served = f"url.http://127.0.0.1:{host.port}/your-lab/.insteadOf"
    return [
        (served, _PUBLIC),
        (served, f"http://{_DEMO}/"),
        ("user.name", "Plugin Author"),
        ("user.email", "author@example.org"),
        ("init.defaultBranch", "main"),
    ]
