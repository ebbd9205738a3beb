"""The end of a program that has loaded a plugin: the interpreter frees what it has, and does not wait for us."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

END = """
import gc, sys
from cuvis_ai_core import NodeRegistry
with NodeRegistry(discover=False) as registry:
    registry.load_plugin("echo", {"path": sys.argv[1], "provides": ["echo_plugin.nodes.Echo"]})
gc.set_debug(gc.DEBUG_STATS)
"""

NODE = """
from cuvis_ai_core.node import ArrayNode
from cuvis_ai_schemas.pipeline import PortSpec

class Echo(ArrayNode):
    INPUT_SPECS = {"cube": PortSpec(dtype="float32", shape=(-1,))}
    OUTPUT_SPECS = {"cube": PortSpec(dtype="float32", shape=(-1,))}

    def forward(self, **inputs):
        return inputs
"""


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="the standard library keeps modules itself, from 3.12 on")
def test_modules_are_free_when_the_interpreter_forgets_them(
    local_plugin: Callable[..., Path], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of ours, such as a finder or what is done in forked children, keeps them until the next collection."""
    monkeypatch.setenv("CUVIS_PLUGINS_DIR", str(cache))
    path = local_plugin(dependencies=("tomli-w",))
    # Without NumPy, which keeps modules itself.
    (path / "src/echo_plugin/nodes.py").write_text(NODE, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", END, str(path)], capture_output=True, text=True, check=True, timeout=300
    )
    # The first collects what is garbage anyway, the second comes after `sys.modules` was emptied.
    freed = [int(each) for each in re.findall(r"generation 2\.\.\.(?:.*\n)*?gc: done, (\d+) unreachable", done.stderr)]
    assert len(freed) > 2, done.stderr
    assert freed[1] > sum(freed[2:])
