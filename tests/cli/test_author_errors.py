"""What an author is told about a mistake: the thing, file and line, and the line to write."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result

Shell = Callable[..., Result]

MODULE = """\
import numpy as np
from cuvis_ai_core.node import ArrayNode
from cuvis_ai_hookspecs import hookimpl
from cuvis_ai_schemas.pipeline import PortSpec

C = PortSpec(np.floating, (-1, -1, -1, -1))


class Base(ArrayNode):
    INPUT_SPECS = {"cube": C}
    OUTPUT_SPECS = {"out": C}

    def forward(self, cube):
        return {"out": cube}


class Alone:
    def forward(self, cube):  # Alone
        return {}


class NoSuper(Base):
    def __init__(self, gain=2.0, name=None):  # NoSuper
        self.gain = gain


class NoPort(Base):
    def forward(self, cube, threshold):  # NoPort
        return {"out": cube > threshold}


class Misspelt(Base):
    def forward(self, cub):  # Misspelt
        return {"out": cub}


class NotTaken(Base):
    INPUT_SPECS = {"cube": C, "wavelengths": PortSpec(np.floating, (-1,))}

    def forward(self, cube):  # NotTaken
        return {"out": cube}


class Singular(ArrayNode):  # Singular
    INPUT_SPEC = {"cube": C}
    OUTPUT_SPECS = {"out": C}

    def forward(self, cube):
        return {"out": cube}


class NoForward(ArrayNode):  # NoForward
    INPUT_SPECS = {"cube": C}

    def foward(self, cube):
        return {}


class NoDict(Base):
    def forward(self, cube):  # NoDict
        return cube


class OtherKey(Base):
    def forward(self, cube):  # OtherKey
        return {"output": cube}


class OtherShape(Base):
    def forward(self, cube):  # OtherShape
        return {"out": cube[0]}


class WrongDtype(Base):
    OUTPUT_SPECS = {"out": PortSpec("flaot32", (-1, -1, -1, -1))}


class Swapped(Base):
    OUTPUT_SPECS = {"out": PortSpec((-1, -1, -1, -1), np.float32)}


def helper(cube):
    return np.concatenate([cube, cube[0]])  # Fails


class Fails(Base):
    def forward(self, cube):
        return {"out": helper(cube)}


class FailsEarly(Base):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.table = {}["reflectance"]  # FailsEarly


class Later(Base):
    async def forward(self, cube):  # Later
        return {"out": cube}


class Bitwise(Base):
    def forward(self, cube):  # Bitwise
        yield {"out": cube}


class Leaves(Base):
    def forward(self, cube):
        raise SystemExit(0)  # Leaves


class LeavesEarly(Base):
    def __init__(self, **kwargs):
        raise SystemExit(0)  # LeavesEarly


class Wordless(Base):
    def forward(self, cube):
        assert cube.shape[-1] == 224  # Wordless


class Attribute(Base):
    @property
    def forward(self):
        return {"out": 1}


def read_lab(path):
    return np.load(path)["cube"]  # read_lab


class Plugin:
    @hookimpl
    def cuvis_ai_node_finished(self, node, stage):
        if node == "watched":
            raise RuntimeError("I saw nothing")  # observer

    @hookimpl
    def cuvis_ai_cube_readers(self):
        return {".lab": read_lab}


plugin = Plugin()
"""
PROJECT = """\
[project]
name = "mine"
version = "0.1.0"

[project.entry-points."cuvis_ai.nodes"]
plugin = "mine:plugin"
"""
FIRST_LINE = "super().__init__(name=name, execution_stages=execution_stages)"
SEE_MORE = "Run again with --debug to see the whole traceback."

RUNNING = [
    ("NoSuper", "does not call that of its base class", FIRST_LINE),
    ("NoPort", "has no input port 'threshold'", "INPUT_SPECS = {'cube': ..., 'threshold': PortSpec("),
    ("Misspelt", "has no input port 'cub'", "def forward(self, cube):"),
    ("NotTaken", "has an input port 'wavelengths'", "def forward(self, cube, wavelengths):"),
    ("Singular", "declares 'INPUT_SPEC', which nobody reads", "INPUT_SPECS = {'cube': ...}"),
    ("NoForward", "has no method 'forward'", "def forward(self, cube):"),
    ("NoDict", "returned float32 [1, 4, 5, 3]", "return {'out': ...}"),
    ("OtherKey", "did not return its output 'out'", "forward returned output."),
    ("OtherShape", "got float32 [4, 5, 3], the port takes floating [*, *, *, *]", ""),
    ("WrongDtype", "the dtype 'flaot32', which there is not; 'float32' is near", "PortSpec(np.float32, "),
    ("Swapped", "the dtype (-1, -1, -1, -1), which is none", "First the dtype, then the shape."),
    ("Fails", "failed in stage 'inference': ValueError", "Its inputs: cube float32 [1, 4, 5, 3]."),
    ("FailsEarly", "cannot be built: KeyError: 'reflectance'", ""),
    ("Later", "has a 'forward' that is 'async'", "def forward(self, cube):"),
    ("Bitwise", "has a 'forward' that yields", "return {...}"),
    ("Leaves", "failed in stage 'inference': SystemExit: 0", "Its inputs: cube float32 [1, 4, 5, 3]."),
    ("LeavesEarly", "cannot be built: SystemExit: 0", ""),
    ("Wordless", "failed in stage 'inference': AssertionError (", ""),
]
RAISING = {"Fails", "FailsEarly", "Leaves", "LeavesEarly", "Wordless"}


def place(mark: str) -> str:
    """Return the line that has a mark, as errors name it."""
    line = next(number for number, each in enumerate(MODULE.splitlines(), 1) if each.endswith(f"# {mark}"))
    return f"{Path('mine.py').resolve().parent / 'mine' / 'mine.py'}, line {line}"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the project, in which all tests here work: it is built once."""
    folder = tmp_path_factory.mktemp("author")
    (folder / "mine").mkdir()
    (folder / "mine" / "mine.py").write_text(MODULE, encoding="utf-8")
    (folder / "mine" / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    return folder


@pytest.fixture
def restore(
    shell: Shell, project: Path, write_yaml: Callable[..., Path], cube: Any, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """Return a function that runs a pipeline of one node of a plugin with every mistake, on a cube."""
    monkeypatch.chdir(project)
    monkeypatch.setenv("CUVIS_PLUGINS_DIR", str(project / "plugin cache"))
    np.save("cube.npy", cube)

    def run(node: str, name: str = "n", provides: str = "mine.Base", cube: str = "cube.npy", **more: str) -> Result:
        manifest = write_yaml("plugins.yaml", {"plugins": {"mine": {"path": "mine", "provides": [provides], **more}}})
        pipeline = write_yaml("p.yaml", {"nodes": [{"name": name, "class_name": node}]})
        return shell("restore-pipeline", "--pipeline-path", pipeline, "--plugins-path", manifest, "--cube-path", cube)

    return run


@pytest.mark.parametrize(("name", "problem", "line"), RUNNING)
def test_a_mistake_in_a_node_class_is_told_with_the_line_to_write(
    restore: Callable[..., Result], name: str, problem: str, line: str
) -> None:
    """File and line are those of the author's code, also where a library raised; a traceback is offered, not shown."""
    found = restore(name, provides=f"mine.{name}")
    assert found.exit_code in {1, 2}
    assert problem in found.stderr
    assert line in found.stderr
    assert name in {"WrongDtype", "Swapped"} or place(name) in found.stderr
    assert (SEE_MORE in found.stderr) == (name in RAISING)
    assert "Traceback" not in found.stderr
    assert "scoped" not in found.stderr


@pytest.mark.slow
def test_a_mistake_in_another_process_is_told_like_one_in_this(restore: Callable[..., Result]) -> None:
    """The worker says where in the author's code it was; its traceback is not shown unasked."""
    for name, problem, line in RUNNING:
        if name not in {"Fails", "NoSuper", "NoDict", "Singular", "WrongDtype", "Later", "Bitwise", "Leaves"}:
            continue
        found = restore(name, provides=f"mine.{name}", isolation="process")
        assert found.exit_code in {1, 2}
        assert problem in found.stderr
        assert line in found.stderr
        assert name == "WrongDtype" or place(name) in found.stderr
        assert (SEE_MORE in found.stderr) == (name in RAISING)
        assert "Traceback" not in found.stderr


@pytest.mark.parametrize(
    ("path", "problem", "line"),
    [
        (
            "mine.Alone",
            "'mine.Alone' is no node class: it lacks INPUT_SPECS and OUTPUT_SPECS",
            "class Alone(ArrayNode):",
        ),
        ("mine.Attribute", "no node class: its forward is a property, no method", "def forward(self, cube):"),
        ("mine.helper", "'mine.helper' is a function, no class", "class Helper(ArrayNode):"),
        ("mine.C", "'mine.C' is an object of class PortSpec, no class", "class C(ArrayNode):"),
        ("mine.np", "'mine.np' is a module, no class", "provides: [mine.np.TheClass]"),
    ],
)
def test_provides_that_names_no_node_class_is_told_with_what_to_write(
    restore: Callable[..., Result], path: str, problem: str, line: str
) -> None:
    """A class without the base, a function, an object, a module: each has words of its own."""
    found = restore("Base", provides=path)
    assert found.exit_code == 1
    assert problem in found.stderr
    assert line in found.stderr


def test_provides_that_names_a_module_is_told_the_classes_in_it(
    shell: Shell, sum_plugin: Path, write_yaml: Callable[..., Path]
) -> None:
    """What is meant is nearly always the class in it."""
    manifest = write_yaml("plugins.yaml", {"plugins": {"sums": {"path": "../sums", "provides": ["sum_plugin.nodes"]}}})
    found = shell("cuvis-ai", "nodes", "show", "Sum", "--plugins-path", manifest)
    assert "'sum_plugin.nodes' is a module, no class" in found.stderr
    assert "provides: [sum_plugin.nodes.Sum]" in found.stderr


def test_an_observer_that_fails_is_named_with_node_stage_file_and_line(restore: Callable[..., Result]) -> None:
    """It does not keep the run from its results."""
    found = restore("Base", name="watched")
    assert found.exit_code == 0
    assert (
        "Warning: Plugin 'mine:plugin': hook cuvis_ai_node_finished of node 'watched' of stage 'inference' failed: "
        f"RuntimeError: I saw nothing ({place('observer')}) {SEE_MORE}\n"
    ) in found.stderr


def test_a_reader_that_fails_is_told_with_file_and_line(restore: Callable[..., Result]) -> None:
    """The line is that of the reader, not that of the library that it calls."""
    Path("scene.lab").write_bytes(b"no cube")
    found = restore("Base", cube="scene.lab")
    assert found.exit_code == 2
    assert "Error: The cube 'scene.lab' cannot be read: " in found.stderr
    assert f"({place('read_lab')})\n{SEE_MORE}\n" in found.stderr


@pytest.mark.slow
def test_a_slip_in_the_syntax_is_shown_from_another_process_without_lines_that_are_not_the_authors(
    restore: Callable[..., Result],
) -> None:
    """File, line and what stands there; nothing of the worker's own."""
    Path("mine/mine.py").write_text("def broken(:\n", encoding="utf-8")
    found = restore("Base", isolation="process")
    assert found.exit_code == 1
    assert "def broken(:" in found.stderr
    assert f"{Path('mine/mine.py').resolve()}, line 1" in found.stderr
    assert "Traceback" not in found.stderr
    assert "serve.py" not in found.stderr
