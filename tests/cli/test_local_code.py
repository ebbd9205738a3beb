"""By what a record knows the code of a local plugin."""

import subprocess
from pathlib import Path

import pytest

from cuvis_ai_core.results.local_code import code_hash, local_code

FILES = {"pyproject.toml": "a", "src/m.py": "bc", "src/deep/p.yaml": "", "q.yml": "d", "n.so": "e", "w.pyd": "f"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with code."""
    for name, text in FILES.items():
        (tmp_path / "code" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "code" / name).write_text(text, encoding="utf-8")
    return tmp_path / "code"


@pytest.mark.parametrize("name", FILES)
def test_the_hash_is_of_names_and_contents(folder: Path, name: str) -> None:
    """Of all code, wherever it lies; which part of it is the content of which file counts."""
    before = code_hash(folder)
    assert before == code_hash(folder)
    (folder / name).write_text("other", encoding="utf-8")
    changed = code_hash(folder)
    (folder / name).rename(folder / f"x{Path(name).suffix}")
    renamed = code_hash(folder)
    (folder / f"x{Path(name).suffix}").unlink()
    assert len({before, changed, renamed, code_hash(folder)}) == 4


@pytest.mark.parametrize(
    "name",
    ["data.csv", "README.md", ".git/x.py", ".hidden/x.py", "build/x.py", "a_cache/y.txt", "src/__pycache__/x.py"],
)
def test_what_is_no_code_changes_no_hash(folder: Path, name: str) -> None:
    """Data, what is hidden, and what tools make."""
    before = code_hash(folder)
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("more", encoding="utf-8")
    assert code_hash(folder) == before


def test_links_do_not_lead_out_of_a_project(folder: Path) -> None:
    """Nor round in a circle; a link to a file is one, a folder called as one is none, and what is gone has no hash."""
    before = code_hash(folder)
    (folder / "back").symlink_to(folder)
    (folder / "folder.py").mkdir()
    assert code_hash(folder) == before
    (folder / "linked.py").symlink_to(folder / "src/m.py")
    assert code_hash(folder) not in {before, None}
    assert code_hash(folder / "gone") is None


def test_changed_files_are_named_as_they_are(folder: Path) -> None:
    """Sorted, with blanks and other signs, seen from the repository; code that was edited has no hash."""
    assert local_code(folder, edited=None) == {
        "commit": None,
        "changed": None,
        "edited": None,
        "sha256": code_hash(folder),
    }
    git = ["git", "-C", str(folder.parent), "-c", "user.name=me", "-c", "user.email=me@example.org"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "First"]):
        subprocess.run([*git, *command], check=True, capture_output=True)
    (folder / "z ö.py").touch()
    (folder / "src/m.py").write_text("changed")
    (folder.parent / "elsewhere.py").touch()
    found = local_code(folder, edited=True)
    assert (found["changed"], found["edited"], found["sha256"]) == (["code/src/m.py", "code/z ö.py"], True, None)
    assert len(found["commit"]) == 40
