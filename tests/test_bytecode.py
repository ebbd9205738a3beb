"""What uv's cache holds bytecode of need not be compiled in each new environment: `tools/bytecode.py`."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from cuvis_ai_core.plugins.installing.uv_commands import Uv


@pytest.mark.parametrize("written", [True, False])
def test_what_is_installed_comes_with_bytecode(
    load_tool: Callable[[str], ModuleType],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    written: bool,  # noqa: FBT001 - a case
) -> None:
    """An installation links what lies beside a module in its cache; by itself there is none."""
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv cache"))
    if written:
        load_tool("bytecode").write(["pluggy"], ["pluggy"])
    target = tmp_path / "target"
    Uv("some", tmp_path).install(target, ["pluggy"])
    assert list(target.glob("pluggy/__pycache__/__init__.*.pyc")) if written else not list(target.rglob("*.pyc"))
