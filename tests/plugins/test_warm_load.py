"""What a plugin costs that is in the plugin cache: counted, not timed."""

import ast
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

COUNTING = """
import ast, sys
import pydantic, numpy, cuvis_ai_schemas.pipeline, cuvis_ai_core.node, cuvis_ai_core.registry

started, read = [], []

def listen(event, arguments):
    if event in ("subprocess.Popen", "os.fork", "os.exec", "os.posix_spawn", "os.system", "socket.connect"):
        started.append(event)
    elif event == "open" and str(arguments[0]).endswith("entry_points.txt"):
        read.append(str(arguments[0]))

sys.addaudithook(listen)
before = set(sys.modules)
registry = cuvis_ai_core.registry.NodeRegistry()
config = ast.literal_eval(sys.argv[1])
registry.load_plugin("echo", config) if isinstance(config, dict) else registry.load_plugins(config)
new = set(sys.modules) - before
ours = [name for name in new if name.startswith("cuvis_ai_core.") and not name.startswith("cuvis_ai_core.scoped.")]
print(repr({
    "started": started,
    "read_twice": sorted({name for name in read if read.count(name) > 1}),
    "ours": len(ours),
    "others": sorted(new - set(ours)),
}))
"""

HEAVY = {"json", "packaging", "yaml", "git", "filelock", "tomllib", "uv", "importlib_metadata", "psutil", "difflib"}


Counted = Callable[[dict[str, Any] | str], dict[str, Any]]


@pytest.fixture
def counted(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Counted:
    """Return a function that loads a plugin, or a manifest, in a new process and returns what that took."""
    monkeypatch.setenv("CUVIS_PLUGINS_DIR", str(cache))

    def run(config: dict[str, Any] | str) -> dict[str, Any]:
        command = [sys.executable, "-c", COUNTING, repr(config)]
        result: dict[str, Any] = ast.literal_eval(
            subprocess.run(command, capture_output=True, text=True, check=True).stdout
        )
        return result

    return run


@pytest.mark.parametrize("kind", ["git", "local", pytest.param("manifest", marks=pytest.mark.slow)])
def test_a_warm_load_starts_nothing_and_reads_metadata_once(
    counted: Counted, git_plugin: Callable[..., str], local_plugin: Callable[..., Path], tmp_path: Path, kind: str
) -> None:
    """No process, no connection, no heavy library, and of our own modules few."""
    where = {"path": str(local_plugin())} if kind == "local" else {"repo": git_plugin(), "tag": "v1.0.0"}
    config: dict[str, Any] | str = {**where, "provides": ["echo_plugin.nodes.Echo"]}
    if kind == "manifest":
        file = tmp_path / "plugins.yaml"
        file.write_text(json.dumps({"plugins": {"echo": config}}))
        config = str(file)
    counted(config)
    counted(config)  # nothing is noted where another test wrote into this environment a moment ago
    warm = counted(config)
    assert warm["started"] == []
    assert warm["read_twice"] == []
    assert HEAVY.isdisjoint(name.partition(".")[0] for name in warm["others"])
    assert warm["ours"] <= 15
