"""What README and docs show passes type checkers, as users run them: strictly, against the installed package."""

import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "hookspecs" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SLIPS = """\
from cuvis_ai_core import NodeRegistry, Pipeline

Pipeline("p").forward(btch={})
NodeRegistry.get("RXDetector")().nothing
NodeRegistry().get("RXDetector", instnce=None)
"""

Blocks = Callable[[Path], list[Any]]


@pytest.fixture(scope="module")
def examples(blocks_of: Blocks, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the Python of each page into modules: that which is run as one, and each file that it writes; and slips."""
    folder = tmp_path_factory.mktemp("examples")
    (folder / "slips.py").write_text(SLIPS, encoding="utf-8")
    for number, page in enumerate(PAGES):
        stem, script = f"page{number}_{page.stem.replace('-', '_').lower()}", ""
        for block in blocks_of(page):
            if block.language != "python":
                continue
            if block.file:
                (folder / f"{stem}_{Path(block.file).stem}.py").write_text(block.text, encoding="utf-8")
            else:
                script += "\n" * (block.line - 1 - script.count("\n")) + block.text
        (folder / f"{stem}.py").write_text(script, encoding="utf-8")
    (folder / "h5py.pyi").write_text("def __getattr__(name: str) -> Any: ...\nfrom typing import Any\n")  # has no types
    if importlib.util.find_spec("torch") is None:
        for module in folder.glob("*.py"):
            if "torch" in module.read_text(encoding="utf-8"):
                module.unlink()
    return folder


def mypy(folder: Path) -> str:
    """Return what mypy says about the modules in a folder; what it knows of packages it keeps for the next time."""
    kept = ROOT / ".mypy_cache" / "examples"
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={kept}"]
    modules = sorted(path.name for path in folder.glob("*.py"))
    return subprocess.run([*command, *modules], cwd=folder, capture_output=True, text=True, check=False).stdout


def pyright(folder: Path) -> str:
    """Return what pyright says about the modules in a folder; of its distributions, one brings what it runs in."""
    settings = folder / "pyrightconfig.json"
    settings.write_text('{"typeCheckingMode": "standard"}', encoding="utf-8")
    program = Path(sys.executable).with_name("basedpyright")
    command = [str(program), f"--pythonpath={sys.executable}", f"--project={settings}"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False).stdout


@pytest.fixture(scope="module", params=[mypy, pyright])
def said(request: pytest.FixtureRequest, examples: Path) -> str:
    """Return what a checker says about them: strictly, without configuration; or that which people have in editors."""
    return str(request.param(examples))


@pytest.mark.slow
def test_examples_pass(said: str) -> None:
    """No configuration is needed, and no package of ours lacks its types."""
    assert [line for line in said.splitlines() if " error: " in line and "slips.py:" not in line] == []
    assert re.match(r"Found 3 errors in 1 file|3 errors, ", said.splitlines()[-1]), said


@pytest.mark.slow
def test_slips_in_what_follows_a_registry_are_found(said: str) -> None:
    """A class from a registry has the attributes of a node and no others."""
    found = [line.partition("slips.py:")[2] for line in said.splitlines() if " error: " in line]
    assert sorted(line.partition(":")[0] for line in found) == ["3", "4", "5"]
