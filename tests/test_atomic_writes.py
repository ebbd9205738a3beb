"""Files on disk are the old or the new, never a half."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from cuvis_ai_core._atomic_writes import write_atomic


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


def test_a_name_may_be_as_long_as_the_disk_allows(tmp_path: Path) -> None:
    """The temporary one is no longer."""
    write_atomic(tmp_path / ("x" * 255), "new")
    assert (tmp_path / ("x" * 255)).read_text() == "new"


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
