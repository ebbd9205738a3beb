"""Torch operators of plugins: one of each name in a process, and no second one in secret."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.errors import OperatorConflictError, PluginLoadError

pytest.importorskip("torch")

pytestmark = pytest.mark.usefixtures("quick_collections")

Files = dict[str, str]
LoadCode = Callable[..., Any]

CUSTOM = """
import torch
from torch import Tensor

@torch.library.custom_op("cuvis_test_{space}::scaled", mutates_args=())
def scaled(x: Tensor) -> Tensor:
    return x * {factor}

def run():
    return float(scaled(torch.ones(())))
"""

LIBRARY = """
import torch

library = torch.library.Library("cuvis_test_{space}", "{kind}")
library.define("scaled(Tensor x) -> Tensor")
library.impl("scaled", lambda x: x * {factor}, "CompositeExplicitAutograd")

def run():
    return float(torch.ops.cuvis_test_{space}.scaled(torch.ones(())))
"""

FUNCTIONS = """
import torch

torch.library.define("cuvis_test_{space}::scaled", "(Tensor x) -> Tensor")

@torch.library.impl("cuvis_test_{space}::scaled", "cpu")
def scaled(x):
    return x * {factor}

def run():
    return float(torch.ops.cuvis_test_{space}.scaled(torch.ones(())))
"""

WAYS = {
    "custom_op": CUSTOM,
    "DEF": LIBRARY.replace("{kind}", "DEF"),
    "FRAGMENT": LIBRARY.replace("{kind}", "FRAGMENT"),
    "define": FUNCTIONS,
}


def told(error: PluginLoadError, space: str) -> None:
    """Check that an error names the operator or its namespace, the rule and the way out."""
    assert isinstance(error.__cause__, OperatorConflictError)
    assert f"cuvis_test_{space}" in str(error)
    assert "There is one operator of each name in a process" in str(error)
    assert "isolation: process" in str(error)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.usefixtures("no_private_modules")
def test_a_second_operator_of_one_name_fails_the_plugin(load_code: LoadCode, registry: NodeRegistry, way: str) -> None:
    """By every way of registering; the first goes on computing what it did, and nothing of the second is left."""
    first = load_code("first", WAYS[way].format(space=way, factor=2))
    assert first.run() == 2
    with pytest.raises(PluginLoadError) as caught:
        load_code("second", WAYS[way].format(space=way, factor=3))
    told(caught.value, way)
    assert registry.list_plugins() == ["first"]
    assert not [name for name in sys.modules if name.endswith("second.nodes")]
    assert first.run() == 2


@pytest.mark.parametrize("way", WAYS)
def test_a_plugin_that_goes_on_with_the_others_operator_fails_too(load_code: LoadCode, way: str) -> None:
    """`except RuntimeError: pass` around the registration would mean the first's operator, silently."""
    space = f"caught_{way}"
    code = WAYS[way].format(space=space, factor=2)
    load_code("first", code)
    indented = "".join(f"    {line}\n" for line in code.splitlines())
    with pytest.raises(PluginLoadError) as caught:
        load_code("second", f"try:\n{indented}except RuntimeError:\n    pass\n")
    told(caught.value, space)


def test_an_operator_that_is_not_there_is_no_second_one(load_code: LoadCode) -> None:
    """A torchvision that was built for another torch fails so: its own words are shown, and no clash is suspected."""
    code = "import torch\ntorch.library.register_fake('cuvis_test_absent::nms', lambda x: x)\n"
    with pytest.raises(PluginLoadError, match="operator cuvis_test_absent::nms does not exist") as caught:
        load_code("first", code)
    assert not isinstance(caught.value.__cause__, OperatorConflictError)
    assert "one operator of each name" not in str(caught.value)


def test_an_operator_of_the_program_is_not_replaced(load_code: LoadCode) -> None:
    """The program's own comes first."""
    program: dict[str, Any] = {}
    exec(CUSTOM.format(space="mine", factor=5), program)
    with pytest.raises(PluginLoadError, match="is registered already, by this program or one of its libraries"):
        load_code("second", CUSTOM.format(space="mine", factor=3))
    assert program["run"]() == 5


def test_the_program_may_replace_its_own_operators(load_code: LoadCode) -> None:
    """As torch lets it: a cell of a notebook that is run again; with plugins loaded, too."""
    load_code("first", CUSTOM.format(space="unrelated", factor=2))
    program: dict[str, Any] = {}
    for factor in (2, 3):
        exec(CUSTOM.format(space="cell", factor=factor), program)
        assert program["run"]() == factor


def test_an_edited_plugin_registers_its_operator_anew(load_code: LoadCode, registry: NodeRegistry) -> None:
    """After an unload nobody computes with the old one: edit and run again."""
    assert load_code("first", CUSTOM.format(space="edited", factor=2)).run() == 2
    registry.unload_plugin("first")
    assert load_code("first", CUSTOM.format(space="edited", factor=3)).run() == 3


def test_one_content_in_two_registries_registers_once(load_code: LoadCode, registry: NodeRegistry) -> None:
    """It is one loaded copy, and after an unload revived, not executed again."""
    first = load_code("first", CUSTOM.format(space="once", factor=2))
    path = Path(first.__file__).parents[2]
    config = {"path": str(path), "provides": ["first.nodes.Echo"]}
    with NodeRegistry(discover=False) as other:
        other.load_plugin("first", config)
        registry.unload_plugin("first")
        registry.load_plugin("first", config)
    assert first.run() == 2


@pytest.mark.slow
def test_a_plugin_that_brings_torch_in_is_watched_from_the_start(
    tmp_path: Path, cache: Path, project_files: Callable[..., Files], write_files: Callable[..., Path]
) -> None:
    """Nobody imported torch before it, and this package never does."""
    for name, factor in (("first", 2), ("second", 3)):
        files = project_files(name)
        files[f"src/{name}/nodes.py"] += CUSTOM.format(space="fresh", factor=factor) + "Echo.run = staticmethod(run)\n"
        write_files(tmp_path / name, files)
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nfrom cuvis_ai_core import NodeRegistry\nfrom cuvis_ai_core.errors import PluginLoadError\n"
        "registry = NodeRegistry(discover=False)\nassert 'torch' not in sys.modules\n"
        "def load(name):\n"
        f"    config = {{'path': {str(tmp_path)!r} + '/' + name, 'provides': [name + '.nodes.Echo']}}\n"
        "    registry.load_plugin(name, config)\n"
        "load('first')\n"
        "try:\n    load('second')\nexcept PluginLoadError as error:\n    print(type(error.__cause__).__name__)\n"
        "print(registry.get('first.nodes.Echo').run())\n"
    )
    environment = {"PATH": "/usr/bin", "CUVIS_PLUGINS_DIR": str(cache), "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False, env=environment)
    assert (done.stdout.split(), done.returncode) == (["OperatorConflictError", "2.0"], 0), done.stderr
