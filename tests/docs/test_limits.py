"""The limits that `docs/explanation/isolation.md` states, each as it is today."""

import pickle
import runpy
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from unittest import mock

import pytest

from cuvis_ai_core import NodeRegistry

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


def test_weights_only_wants_the_name_that_the_file_has(plugin: ModuleType, tmp_path: Path) -> None:
    """A file that names the class by its public path: the class is allowed together with that name."""
    import torch

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
