"""Files on disk are the old or the new, never a half."""

import os
from pathlib import Path
from typing import Any

import pytest

from cuvis_ai_core._files import remove_tree, write_atomic


def test_a_file_is_on_the_disk_before_it_takes_the_place_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a power failure would leave an empty one."""
    done: list[str] = []

    def note(name: str) -> Any:
        call = getattr(os, name)

        def noted(*arguments: Any) -> Any:
            done.append(name)
            return call(*arguments)

        return noted

    monkeypatch.setattr(os, "fsync", note("fsync"))
    monkeypatch.setattr(os, "replace", note("replace"))
    write_atomic(tmp_path / "record.json", "{}")
    assert done == ["fsync", "replace"]
    assert (tmp_path / "record.json").read_text() == "{}"


@pytest.mark.parametrize("what", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Whatever step it is that fails."""
    file = tmp_path / "record.json"
    file.write_text("old")

    def fail(*_: object) -> None:
        raise OSError("no")

    monkeypatch.setattr(os, what, fail)
    with pytest.raises(OSError, match="no"):
        write_atomic(file, "new")
    assert [each.name for each in tmp_path.iterdir()] == ["record.json"]
    assert file.read_text() == "old"


def test_folders_that_lie_deeper_than_calls_are_removed(tmp_path: Path) -> None:
    """What a stranger's archive or repository left there keeps nobody from going on; links are not followed."""
    kept = tmp_path / "kept"
    kept.mkdir()
    before = Path.cwd()
    folder = tmp_path / "deep"
    folder.mkdir()
    try:
        os.chdir(folder)
        for _ in range(1200):
            os.mkdir("d")  # noqa: PTH102
            os.chdir("d")
        Path("link").symlink_to(kept)
        Path("file").write_text("text")
    finally:
        os.chdir(before)
    remove_tree(folder)
    assert not folder.exists()
    assert kept.is_dir()
