"""What a plugin costs that is in the plugin cache: counted, not timed."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

COUNTING = """
import json, sys
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
registry.load_plugin("echo", json.loads(sys.argv[1]))
new = set(sys.modules) - before
ours = [name for name in new if name.startswith("cuvis_ai_core.") and not name.startswith("cuvis_ai_core.scoped.")]
print(json.dumps({
    "started": started,
    "read_twice": sorted({name for name in read if read.count(name) > 1}),
    "ours": len(ours),
    "others": sorted(new - set(ours)),
}))
"""

HEAVY = {"packaging", "yaml", "git", "filelock", "tomllib", "uv", "importlib_metadata", "psutil", "difflib"}


@pytest.fixture
def counted(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return a function that loads a plugin in a new process and returns what that took."""
    monkeypatch.setenv("CUVIS_PLUGINS_DIR", str(cache))

    def run(config: dict[str, Any]) -> dict[str, Any]:
        command = [sys.executable, "-c", COUNTING, json.dumps(config)]
        result: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        return result

    return run


@pytest.mark.parametrize("kind", ["git", "local"])
def test_a_warm_load_starts_nothing_and_reads_metadata_once(
    counted: Callable[[dict[str, Any]], dict[str, Any]],
    git_plugin: Callable[..., str],
    local_plugin: Callable[..., Path],
    kind: str,
) -> None:
    """No process, no connection, no heavy library, and of our own modules no more than today."""
    where = {"repo": git_plugin(), "tag": "v1.0.0"} if kind == "git" else {"path": str(local_plugin())}
    config = {**where, "provides": ["echo_plugin.nodes.Echo"]}
    counted(config)
    warm = counted(config)
    assert warm["started"] == []
    assert warm["read_twice"] == []
    assert HEAVY.isdisjoint(name.partition(".")[0] for name in warm["others"])
    assert warm["ours"] <= 15
