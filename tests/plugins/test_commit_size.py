"""A commit that is more on disk than a plugin is: told from what git lists, before anything is written."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cuvis_ai_core.errors import SourceError
from cuvis_ai_core.plugins.git import commit_size
from cuvis_ai_core.plugins.git.commit_size import refuse_too_much

URL = "https://user:secret@a.org/x"

Commit = Callable[..., Path]


@pytest.fixture
def commit(tmp_path: Path) -> Commit:
    """Return a function that commits files, by their paths, and returns the repository."""

    def make(**files: int) -> Path:
        for name, size in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x" * size)
        for words in (
            ["init", "-q"],
            ["add", "."],
            ["-c", "user.name=A", "-c", "user.email=a@b", "commit", "-q", "--no-gpg-sign", "-m", "x"],
        ):
            subprocess.run(["git", *words], cwd=tmp_path, check=True)
        return tmp_path

    return make


def refused(folder: Path) -> str:
    """Return why a commit is too much, without its end; nothing where it is not."""
    try:
        refuse_too_much(folder, "HEAD", URL)
    except SourceError as error:
        return error.message.removeprefix("https://a.org/x: it would be ").partition(". No plugin is that;")[0]
    return ""


def test_files_are_counted(commit: Commit, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as there may be are allowed, one more is not."""
    folder = commit(**{"a": 1, "b/c": 1, "b/d": 1})
    monkeypatch.setattr(commit_size, "_MOST_FILES", 3)
    assert refused(folder) == ""
    monkeypatch.setattr(commit_size, "_MOST_FILES", 2)
    assert refused(folder) == "more than 2 files"
    with pytest.raises(SourceError) as caught:
        refuse_too_much(folder, "HEAD", URL)
    assert caught.value.hint == "Ask the author for a tag without them; weights and data belong elsewhere."
    assert caught.value.location == "https://a.org/x"


def test_bytes_are_counted(commit: Commit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some are free, more may come out of much that is packed, and there is a limit for all."""
    folder = commit(**{"a": 600_000, "b/c": 400_000})
    packed = sum(file.stat().st_size for file in (folder / ".git/objects").rglob("*") if file.is_file())
    monkeypatch.setattr(commit_size, "_RATIO", 10**6 // packed + 1)
    for free, refuses in ((10**6, False), (10**6 - 1, False), (0, False)):
        monkeypatch.setattr(commit_size, "_FREE", free)
        assert bool(refused(folder)) is refuses
    monkeypatch.setattr(commit_size, "_RATIO", 0)
    monkeypatch.setattr(commit_size, "_FREE", 10**6)
    assert refused(folder) == ""
    monkeypatch.setattr(commit_size, "_FREE", 10**6 - 1)
    assert refused(folder).endswith(" may come out of it")
    monkeypatch.setattr(commit_size, "_FREE", 10**7)
    monkeypatch.setattr(commit_size, "_MOST_BYTES", 10**6)
    assert refused(folder) == ""
    monkeypatch.setattr(commit_size, "_MOST_BYTES", 10**6 - 1)
    assert "at most" in refused(folder)


def test_folders_are_counted(commit: Commit, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path is shown as it is written, and cut."""
    folder = commit(**{"größe/ä/" + "x" * 70: 1})
    monkeypatch.setattr(commit_size, "_DEEPEST", 2)
    assert refused(folder) == ""
    monkeypatch.setattr(commit_size, "_DEEPEST", 1)
    assert refused(folder) == f"more than 1 folders in each other (größe/ä/{'x' * 52}…)"
