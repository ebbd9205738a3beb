"""Showing a file that a stranger sent runs nothing of theirs; running takes classes of what the user installed."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuvis_ai_core.errors import InvalidNodeError, NodeNotFoundError
from cuvis_ai_core.pipeline import Pipeline
from cuvis_ai_core.registry import NodeRegistry

Run = Callable[..., Any]

CANARY = "import pathlib\npathlib.Path({file!r}).touch()\n"


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """Give the path of a file that planted code makes, and forget planted modules in the end."""
    before = set(sys.modules)
    yield tmp_path / "code of a stranger ran"
    for name in set(sys.modules) - before:
        if name.startswith("planted"):
            del sys.modules[name]


@pytest.fixture
def plant(canary: Path) -> Run:
    """Return a function that writes a module with a node class that tells when it is imported."""

    def write(name: str, node_source: str = "") -> None:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(CANARY.format(file=str(canary)) + node_source, encoding="utf-8")

    return write


def _pipeline(class_name: str) -> dict[str, Any]:
    return {"metadata": {"name": "p"}, "nodes": [{"name": "n", "class_name": class_name}]}


@pytest.mark.parametrize("class_name", ["planted.Node", "planted_package.inner.Node", "planted_space.inner.Node"])
def test_a_class_in_the_working_directory(
    shell: Run, plant: Run, write_yaml: Run, canary: Path, monkeypatch: pytest.MonkeyPatch, class_name: str
) -> None:
    """It is imported neither to be shown nor to run, though the search path has the directory."""
    plant("planted.py")
    plant("planted_package/__init__.py")
    plant("planted_package/inner.py")
    plant("planted_space/inner.py")
    monkeypatch.syspath_prepend(".")
    file = write_yaml("p.yaml", _pipeline(class_name))
    shown = shell("restore-pipeline", "--pipeline-path", file)
    assert (shown.exit_code, "1 of 1 nodes is not loaded" in shown.output) == (0, True), shown.output
    np.save("cube.npy", np.zeros((2, 2, 2), np.float32))
    run = shell("restore-pipeline", "--pipeline-path", file, "--cube-path", "cube.npy")
    assert run.exit_code == 2, run.output
    assert "is no part of an installed distribution or of a loaded plugin" in run.output
    assert shell("cuvis-ai", "nodes", "show", class_name).exit_code == 2
    assert not canary.exists()


@pytest.mark.parametrize("class_name", ["this.Node", "antigravity.Node", "idlelib.idle.Node", "pytest.__main__.Node"])
def test_modules_that_do_something_when_imported(class_name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Those of the standard library, and the programs of packages, are no places of nodes."""
    module = class_name.rpartition(".")[0]
    before = module in sys.modules
    with pytest.raises((InvalidNodeError, NodeNotFoundError)):
        NodeRegistry.get(class_name)
    assert (module in sys.modules) is before
    assert capsys.readouterr().out == ""


def test_our_own_program_is_no_place_of_nodes() -> None:
    """Our modules may be named, but for those that are commands."""
    for name in ("cuvis_ai_core.__main__.Node", "cuvis_ai_core.testing.__main__.Node"):
        with pytest.raises(NodeNotFoundError):
            NodeRegistry.get(name)
    assert NodeRegistry.known("cuvis_ai_core.builtin.decision.QuantileDecider")


def test_honest_classes_of_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, node_source: Run) -> None:
    """What the program imported itself may be named, shown and run; so may what lies in a folder of PYTHONPATH."""
    (tmp_path / "planted_honest.py").write_text(node_source("Echo"), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InvalidNodeError, match=r"planted_honest\.py\) is no part of an installed distribution"):
        Pipeline.from_dict(_pipeline("planted_honest.Echo"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert Pipeline.from_dict(_pipeline("planted_honest.Echo"), outline=True).unloaded
    assert Pipeline.from_dict(_pipeline("planted_honest.Echo")).nodes
    monkeypatch.delenv("PYTHONPATH")
    assert not Pipeline.from_dict(_pipeline("planted_honest.Echo"), outline=True).unloaded
    del sys.modules["planted_honest"]


def test_an_empty_entry_of_the_search_path_is_an_accident(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plant: Run, canary: Path
) -> None:
    """`PYTHONPATH=$PYTHONPATH:/opt/lab` begins with one where there was nothing: the working directory."""
    monkeypatch.chdir(tmp_path)
    plant("planted_here.py")
    monkeypatch.syspath_prepend("")
    monkeypatch.setenv("PYTHONPATH", ":/opt/lab")
    with pytest.raises(InvalidNodeError, match="is no part of an installed distribution"):
        NodeRegistry.get("planted_here.Node")
    assert not canary.exists()


def test_the_module_form_of_the_command_has_no_working_directory(
    tmp_path: Path, plant: Run, canary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`python -m cuvis_ai_core` in a folder of somebody else takes no library from there."""
    import subprocess

    monkeypatch.chdir(tmp_path)
    for name in ("click", "yaml", "rich", "numpy"):
        plant(f"{name}.py")
    command = [sys.executable, "-m", "cuvis_ai_core", "nodes", "list"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not canary.exists()


@pytest.mark.parametrize("named", [None, "lab.yaml"])
def test_plugins_beside_a_trainrun(
    shell: Run, plant: Run, write_yaml: Run, canary: Path, project_files: Run, write_files: Run, named: str | None
) -> None:
    """Showing it says which plugins it would load, and loads none that the user did not name."""
    files = project_files()
    nodes = next(name for name in files if name.endswith("nodes.py"))
    write_files(Path("echo"), {**files, nodes: CANARY.format(file=str(canary)) + files[nodes]})
    manifest = {"plugins": {"echo": {"path": "echo", "provides": ["echo_plugin.nodes.Echo"]}}}
    write_yaml(named or "plugins.yaml", manifest)
    trainrun = {"name": "t", "pipeline": _pipeline("Echo"), "data": {"cubes": "none"}}
    file = write_yaml("run.yaml", trainrun | ({"plugins_path": named} if named else {}))
    shown = shell("restore-trainrun", "--trainrun-path", file)
    assert shown.exit_code == 0, shown.output
    assert f"{named or 'plugins.yaml'}; to show it, none was loaded:\n  echo: " in shown.output
    assert not canary.exists()
    assert shell("restore-trainrun", "--trainrun-path", file, "--plugins-path", named or "plugins.yaml").exit_code == 0
    assert canary.exists()
