"""Systems other than this one, as far as code can show it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

POSIX_ONLY = ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog", "readline", "spwd", "crypt", "nis")

WITHOUT = f"""\
import sys
for name in {POSIX_ONLY!r}:
    sys.modules[name] = None
"""

IMPORT_ALL = """
import importlib, pkgutil
import cuvis_ai_core, cuvis_ai_hookspecs
wrong = []
for package in (cuvis_ai_core, cuvis_ai_hookspecs):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if ".example_plugins" in module.name or module.name.endswith("__main__"):
            continue
        try:
            importlib.import_module(module.name)
        except ImportError as error:
            if error.name in sys.modules and sys.modules[error.name] is None:
                wrong.append(f"{module.name} needs {error.name}")
            elif type(error) is ImportError or not hasattr(error, "extra"):
                if error.name not in OPTIONAL:
                    wrong.append(f"{module.name}: {error!r}")
assert not wrong, wrong
"""

LOAD = """
from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.errors import PluginLoadError
entry = {"path": sys.argv[1], "provides": ["echo_plugin.nodes.Echo"]}
with NodeRegistry(discover=False) as registry:
    registry.load_plugin("echo", entry)
    print(registry.get("Echo").__name__)
with NodeRegistry(discover=False) as registry:
    try:
        registry.load_plugin("echo", {**entry, "isolation": "process"})
    except PluginLoadError as error:
        print(error)
"""


def run(code: str, cache: Path, *arguments: str) -> str:
    """Run code in a process without the modules that only POSIX systems have, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WITHOUT + code, *arguments],
        env={**os.environ, "CUVIS_PLUGINS_DIR": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_no_module_needs_what_only_posix_systems_have(cache: Path) -> None:
    """Whatever is imported on Windows can be imported there."""
    optional = {"torch", "pytorch_lightning", "hydra", "matplotlib", "graphviz", "cuvis", "pycocotools", "tensorly"}
    run(f"OPTIONAL = {optional!r}\n{IMPORT_ALL}", cache)


@pytest.mark.slow
def test_where_a_process_of_its_own_is_not_possible_all_else_is(local_plugin: Callable[..., Path], cache: Path) -> None:
    """The refusal names the plugin, the systems and the way out."""
    said = run(LOAD, cache, str(local_plugin(dependencies=("tomli-w",)))).splitlines()
    assert said[0] == "Echo"
    assert "Plugin 'echo' asks for a process of its own, which is available on Linux and macOS only" in said[1]
    assert "isolation: scoped" in said[2]
