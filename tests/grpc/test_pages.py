"""The page of the RPCs is that of the descriptors, and the notebook runs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_reference_is_what_the_descriptors_and_handlers_say() -> None:
    """Every RPC with its fields and statuses; written by the tool."""
    command = [sys.executable, str(ROOT / "tools" / "service_reference.py"), "--check"]
    assert subprocess.run(command, check=False).returncode == 0


@pytest.mark.parametrize("notebook", sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")), ids=lambda each: each.stem)
def test_a_notebook_runs_from_top_to_bottom(notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cell by cell, in one namespace; it holds no outputs."""
    monkeypatch.chdir(tmp_path)
    cells = [each for each in json.loads(notebook.read_text(encoding="utf-8"))["cells"] if each["cell_type"] == "code"]
    namespace: dict[str, object] = {}
    for cell in cells:
        assert cell["outputs"] == []
        exec(compile("".join(cell["source"]), str(notebook), "exec"), namespace)
