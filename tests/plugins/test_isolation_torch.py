"""What torch does with a plugin's classes: it scripts, exports, traces and saves them, for two versions at once."""

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cuvis_ai_core import NodeRegistry

pytest.importorskip("torch")

pytestmark = pytest.mark.usefixtures("quick_collections")

Files = dict[str, str]

NET = """
import copy, io
import torch
from torch import nn
from nets import scale

def scaled(x: torch.Tensor) -> torch.Tensor:
    return x * scale.FACTOR

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return scaled(x) + self.weight

def value(net):
    return str(int(net(torch.ones(2))[0]))

def through_a_file(save, load, net):
    file = io.BytesIO()
    save(net, file)
    file.seek(0)
    return load(file)

def plain():
    return value(Block())

def scripted():
    return value(torch.jit.script(Block()))

def scripted_and_saved():
    return value(through_a_file(torch.jit.save, torch.jit.load, torch.jit.script(Block())))

def traced():
    return value(torch.jit.trace(Block(), torch.ones(2)))

def symbolically_traced():
    return value(torch.fx.symbolic_trace(Block()))

def exported():
    return value(torch.export.export(Block(), (torch.ones(2),)).module())

def saved_whole():
    net = through_a_file(torch.save, lambda file: torch.load(file, weights_only=False), Block())
    return value(net) if type(net) is Block else "another class"

def saved_as_state():
    net = Block()
    state = through_a_file(torch.save, lambda file: torch.load(file, weights_only=True), net.state_dict())
    net.load_state_dict(state)
    return value(net)

def copied():
    return value(copy.deepcopy(Block()))
"""

FORMS = [line.removeprefix("def ").partition("(")[0] for line in NET.splitlines() if line.endswith("():")]


@pytest.fixture(scope="module")
def projects(
    tmp_path_factory: pytest.TempPathFactory,
    project_files: Callable[..., Files],
    write_files: Callable[[Path, Files], Path],
) -> Path:
    """Return a folder with the projects of two versions of `nets`, and the cache that they are installed into once."""
    folder = tmp_path_factory.mktemp("nets")
    for version in "12":
        files = project_files("nets", version=version)
        files["src/nets/nodes.py"] += "from nets import net\nEcho.net = net\n"
        write_files(folder / version, files | {"src/nets/net.py": NET, "src/nets/scale.py": f"FACTOR = {version}\n"})
    return folder


@pytest.fixture
def nets(projects: Path) -> Iterator[list[Any]]:
    """Return the module of networks of two versions, loaded side by side."""
    NodeRegistry.set_cache_dir(projects / "plugin cache")
    registries, modules = [NodeRegistry(discover=False) for _ in "12"], []
    for registry, version in zip(registries, "12", strict=True):
        registry.load_plugin("nets", {"path": str(projects / version), "provides": ["nets.nodes.Echo"]})
        modules.append(registry.get("Echo").net)  # type: ignore[attr-defined]
    yield modules
    modules.clear()
    for registry in registries:
        registry.close()
    gc.collect()  # what lives on would be loaded again by the next test, as this one left it


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("form", FORMS)
def test_torch_handles_the_version_whose_code_asks(nets: list[Any], form: str) -> None:
    """In turns, and again after the other version did the same."""
    for net, version in [*zip(nets, "12", strict=True)] * 2:
        assert getattr(net, form)() == version
