"""Files on disk are the old or the new, never a half."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from cuvis_ai_core._atomic_writes import remove_tree, write_atomic
from cuvis_ai_core._untrusted_files import read_json


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


def test_a_file_gets_the_rights_that_new_files_have(tmp_path: Path) -> None:
    """What the user takes away of them stays taken away, for files of others too."""
    before = os.umask(0o027)
    try:
        write_atomic(tmp_path / "record.json", "{}")
    finally:
        after = os.umask(before)
    assert after == 0o027
    if os.name == "posix":
        assert stat.S_IMODE((tmp_path / "record.json").stat().st_mode) == 0o640


@pytest.mark.parametrize("text", ["[1]", "{", "[" * 100_000, "\udcff{}"])
def test_what_is_no_record_reads_as_none(tmp_path: Path, text: str) -> None:
    """Whatever somebody did to the file."""
    (tmp_path / "record.json").write_bytes(text.encode(errors="surrogateescape"))
    assert read_json(tmp_path / "record.json") is None


@pytest.mark.skipif(os.name != "posix", reason="rights of files")
def test_a_link_that_cannot_be_removed_gives_nobody_rights_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link has the rights of what it leads to, which is not ours to change."""
    kept, folder = tmp_path / "kept", tmp_path / "folder"
    kept.write_text("text")
    kept.chmod(0o400)
    folder.mkdir()
    (folder / "link").symlink_to(kept)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("no")

    monkeypatch.setattr(os, "unlink", refuse)
    with pytest.raises(OSError):  # noqa: PT011 - of the folder, which is not empty
        remove_tree(folder)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o400
