"""`cuvis-ai plugins new` makes projects that work at once: their tests pass, wheels are whole, mypy is content."""

import importlib.util
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from uv import find_uv_bin

Shell = Callable[..., Any]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "backend"),
    [("array", "hatchling"), ("hooks", "setuptools"), ("reader", "uv_build"), ("torch", "hatchling")],
)
def test_a_new_project_passes_its_own_tests(shell: Shell, tmp_path: Path, kind: str, backend: str) -> None:
    """Of each kind, and with each build back end; and its node is found by a manifest."""
    if kind == "torch":
        pytest.importorskip("torch")
    made = shell("cuvis-ai", "plugins", "new", "leaf-index", "--kind", kind, "--build-backend", backend)
    assert made.exit_code == 0, made.output
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider"]
    command += [f"--basetemp={tmp_path / 'temporary'}"]  # else it ends by removing those of earlier runs of any tests
    done = subprocess.run(command, cwd="leaf-index", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    listed = shell("cuvis-ai", "nodes", "list", "--plugins-path", "leaf-index/plugins.yaml")
    assert "leaf_index.nodes.LeafIndex" in listed.stdout
    # What is known of NumPy and of this package is kept for the other tests with mypy: it takes most of the time.
    kept = Path(__file__).parents[2] / ".mypy_cache" / "examples"
    mypy = [sys.executable, "-m", "mypy", "--strict", f"--cache-dir={kept}", "src"]
    typed = subprocess.run(mypy, cwd="leaf-index", capture_output=True, text=True, check=False)
    assert typed.returncode == 0, typed.stdout
    build = [find_uv_bin(), "build", "-q", "--wheel", "--out-dir", "dist", "leaf-index"]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = Path("dist").glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "leaf_index/py.typed" in names
    assert ("leaf_index/configs/leaf_index.yaml" in names) == (kind != "reader")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("1st", "is no name for a plugin"),
        ("class", "is no name"),
        ("json", "is no name"),
        ("numpy", "a package 'numpy' is installed here"),
        ("array-api-compat", "a package 'array_api_compat' is installed here"),
        ("there", "is there already"),
    ],
)
def test_a_name_that_will_not_do_is_refused(shell: Shell, name: str, says: str) -> None:
    """With the rule; nothing is written."""
    Path("there").mkdir()
    found = shell("cuvis-ai", "plugins", "new", name)
    assert found.exit_code == 2
    assert says in found.stderr
    assert [path.name for path in Path().iterdir()] == ["there"]


def test_a_torch_project_says_what_is_missing_where_torch_is_not(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a Python for which no build is at hand: when it is made, by its tests, and by the check."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    made = shell("cuvis-ai", "plugins", "new", "leaf-index", "--kind", "torch")
    assert "pip install -e .   # torch is not installed here, and the tests need it" in made.stdout
    assert "pip install pytest   # it is not installed here" in made.stdout
    text = Path("leaf-index/tests/test_leaf_index.py").read_text(encoding="utf-8")
    assert 'pytest.importorskip("torch", reason="torch is not installed here: pip install -e .")' in text


def test_a_project_is_made_where_git_is_not_installed(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it, without a repository."""
    Path("empty").mkdir()
    monkeypatch.setenv("PATH", str(Path("empty").absolute()))
    made = shell("cuvis-ai", "plugins", "new", "leaf-index")
    assert made.exit_code == 0, made.output
    assert Path("leaf-index/src/leaf_index/nodes.py").is_file()
    assert not Path("leaf-index/.git").exists()
