"""The limits that `docs/explanation/isolation.md` states, each as it is today."""

import codecs
import gc
import logging
import pickle
import runpy
import subprocess
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from unittest import mock

import pytest

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.errors import PluginLoadError

Files = dict[str, str]

CODE = """
import threading, warnings
from concurrent.futures import ThreadPoolExecutor

stop = threading.Event()

class Point:
    pass

def late():
    import limits.late
    return limits.late.WHO

def late_point():
    from limits.late import Point
    return Point

def load(path):
    import torch
    return torch.load(path, weights_only=True)

def in_pool(function, *arguments):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function, *arguments).result()

def opened():
    return open("no such file")

def warn():
    warnings.warn("from the plugin")

def start():
    thread = threading.Thread(target=stop.wait, name="of limits")
    thread.start()
    return thread
"""


@pytest.fixture
def plugin(
    registry: NodeRegistry, tmp_path: Path, project_files: Callable[..., Files], write_files: Callable[..., Path]
) -> ModuleType:
    """Load a plugin and return one of its modules."""
    files = project_files("limits")
    files["src/limits/nodes.py"] += CODE
    files["src/limits/late.py"] = "WHO = 'limits'\nclass Point:\n    pass\n"
    config = {"path": str(write_files(tmp_path / "limits", files)), "provides": ["limits.nodes.Echo"]}
    registry.load_plugin(name="limits", config=config)
    return sys.modules[registry.get("Echo").__module__]


def test_a_librarys_function_in_a_thread_pool_does_not_find_public_names(plugin: ModuleType) -> None:
    """The plugin's own function does, in a thread of the pool or not."""
    assert plugin.in_pool(plugin.late) == "limits"
    by_public_name = b"climits.nodes\nPoint\n."
    with pytest.raises(ModuleNotFoundError, match="No module named 'limits'"):
        plugin.in_pool(pickle.loads, by_public_name)


@pytest.mark.slow
def test_weights_only_wants_the_name_that_the_file_has(plugin: ModuleType, tmp_path: Path) -> None:
    """A file that names the class by its public path: the class is allowed together with that name."""
    torch = pytest.importorskip("torch")
    file = tmp_path / "point.pt"
    code = "import sys, torch\nfrom limits.late import Point\ntorch.save(Point(), sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(file)], cwd=tmp_path / "limits/src", check=True)
    point = plugin.late_point()
    refused = pytest.raises(pickle.UnpicklingError, match=r"GLOBAL limits\.late\.Point")
    with torch.serialization.safe_globals([point]), refused:
        plugin.load(file)
    with torch.serialization.safe_globals([(point, "limits.late.Point")]):
        assert type(plugin.load(file)) is point


def test_a_change_to_builtins_is_not_seen(plugin: ModuleType) -> None:
    """Plugin code has builtins of its own."""
    with mock.patch("builtins.open", return_value="patched"), pytest.raises(FileNotFoundError):
        plugin.opened()


def test_warning_filters_by_public_name_do_not_match(plugin: ModuleType) -> None:
    """The warning comes from the private module name."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("ignore")
        warnings.filterwarnings("always", module=r"limits\.")
        plugin.warn()
        assert not seen
        warnings.filterwarnings("always", module=r".*\.limits\.")
        plugin.warn()
        assert len(seen) == 1


def test_the_host_does_not_run_a_plugins_module_by_public_name(plugin: ModuleType) -> None:
    """`python -m` and `runpy` look for modules of the program."""
    with pytest.raises(ImportError):
        runpy.run_module("limits.late")


def test_threads_live_on_after_an_unload(plugin: ModuleType, registry: NodeRegistry) -> None:
    """Nobody but the plugin can end them."""
    thread = plugin.start()
    registry.unload_plugin("limits")
    assert thread in threading.enumerate()
    plugin.stop.set()
    thread.join()


REGISTERING = """
import codecs, logging

def find(name):
    if name == "cuvis_test_codec":
        return codecs.CodecInfo(lambda text, errors="strict": (WHO.encode(), len(text)), None, name=name)

WHO = {who!r}
codecs.register(find)
handler = logging.StreamHandler()
handler.set_name("cuvis-test-handler")
logging.getLogger(__name__).addHandler(handler)

def encoded():
    return "text".encode("cuvis_test_codec").decode()

def handlers():
    return len(logging.getLogger(__name__).handlers)
"""

PANDAS = """
import warnings
import pandas as pd
from pandas.api.extensions import ExtensionDtype, register_extension_dtype

WHO = {who!r}

with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    @pd.api.extensions.register_dataframe_accessor("cuvis_test")
    class Accessor:
        def __init__(self, frame):
            self.who = WHO

@register_extension_dtype
class Kind(ExtensionDtype):
    name = "cuvis_test_kind"
    type = object
    who = WHO
    @classmethod
    def construct_array_type(cls):
        raise NotImplementedError

def accessor():
    return pd.DataFrame().cuvis_test.who

def kind():
    return pd.api.types.pandas_dtype("cuvis_test_kind").who
"""


@pytest.fixture
def two(
    cache: Path, tmp_path: Path, project_files: Callable[..., Files], write_files: Callable[..., Path]
) -> Iterator[Callable[..., list[ModuleType]]]:
    """Return a function that loads two versions of a plugin and returns a module of each."""
    registries: list[NodeRegistry] = []

    def load(code: str, *requires: str) -> list[ModuleType]:
        modules = []
        for who in ("first", "second"):
            files = project_files("limits", dependencies=requires)
            files["src/limits/nodes.py"] += code.replace("{who!r}", repr(who))
            folder = write_files(tmp_path / who, files)
            registries.append(NodeRegistry(discover=False))
            registries[-1].load_plugin("limits", {"path": str(folder), "provides": ["limits.nodes.Echo"]})
            modules.append(sys.modules[registries[-1].get("Echo").__module__])
        return modules

    yield load
    for registry in registries:
        module = sys.modules[registry.get("Echo").__module__]
        if hasattr(module, "find"):
            codecs.unregister(module.find)
            logging.getLogger("limits.nodes").removeHandler(module.handler)
        registry.close()


def test_a_codec_of_one_name_is_the_first_ones(two: Callable[..., list[ModuleType]]) -> None:
    """Python asks its search functions in turn, and remembers the first answer."""
    assert [module.encoded() for module in two(REGISTERING)] == ["first", "first"]


def test_handlers_of_two_versions_are_on_one_logger(two: Callable[..., list[ModuleType]]) -> None:
    """Loggers have public names, so that people can configure them; each version adds its handler."""
    assert [module.handlers() for module in two(REGISTERING)] == [2, 2]


def test_names_in_pandas_have_one_meaning(two: Callable[..., list[ModuleType]]) -> None:
    """An accessor is the last one's, which pandas warns of; a dtype is found by its name as the first one's."""
    modules = two(PANDAS, "pandas>=2.2")
    assert [module.accessor() for module in modules] == ["second", "second"]
    assert not modules[0].seen
    assert "is overriding a preexisting attribute" in str(modules[1].seen[0].message)
    assert [module.kind() for module in modules] == ["first", "first"]


def test_an_operator_of_a_plugin_that_asks_first_is_not_noticed(two: Callable[..., list[ModuleType]]) -> None:
    """Code that registers only where the name is free uses the other version's."""
    pytest.importorskip("torch")
    code = """
import torch
from torch import Tensor

if not hasattr(torch.ops.cuvis_test_limits, "who"):
    @torch.library.custom_op("cuvis_test_limits::who", mutates_args=())
    def who(x: Tensor) -> Tensor:
        return x + (1 if {who!r} == "first" else 2)

def run():
    return float(torch.ops.cuvis_test_limits.who(torch.zeros(())))
"""
    assert [module.run() for module in two(code)] == [1, 1]


TORCH_KEEPS = {
    "an operator": """
@torch.library.custom_op("cuvis_test_limits::kept", mutates_args=())
def kept(x: torch.Tensor) -> torch.Tensor:
    return x + 1
""",
    "a scripted class": """
class Net(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x

torch.jit.script(Net())
""",
    "nothing": "",
}


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("what", TORCH_KEEPS)
def test_torch_keeps_the_code_of_an_unloaded_plugin(
    registry: NodeRegistry,
    tmp_path: Path,
    project_files: Callable[..., Files],
    write_files: Callable[..., Path],
    what: str,
) -> None:
    """What is registered with it is there for as long as the process; a plugin without that is gone when unloaded."""
    pytest.importorskip("torch")
    files = project_files("limits")
    files["src/limits/nodes.py"] += f"import torch\n{TORCH_KEEPS[what]}"
    registry.load_plugin("limits", {"path": str(write_files(tmp_path, files)), "provides": ["limits.nodes.Echo"]})
    code = weakref.ref(registry.get("limits.nodes.Echo").forward)
    registry.unload_plugin("limits")
    gc.collect()
    assert (code() is not None) == (what != "nothing")


def test_what_was_imported_for_a_plugin_that_failed_stays_imported(
    registry: NodeRegistry, tmp_path: Path, project_files: Callable[..., Files], write_files: Callable[..., Path]
) -> None:
    """A dependency's modules cannot be taken back: others may have met them."""
    assert find_spec("xmltodict") is None, "this needs a package that the environment has not"
    files = project_files("limits", dependencies=("xmltodict==0.14.2",))
    files["src/limits/nodes.py"] += "import xmltodict\nraise ValueError\n"
    before = set(sys.modules)
    with pytest.raises(PluginLoadError):
        registry.load_plugin("limits", {"path": str(write_files(tmp_path, files)), "provides": ["limits.nodes.Echo"]})
    assert sys.modules["xmltodict"].__version__ == "0.14.2"
    for name in set(sys.modules) - before:
        if name.startswith("xmltodict"):
            del sys.modules[name]
