"""A folder goes with all that is in it, and nothing else does."""

import os
import stat
from pathlib import Path

import pytest

from cuvis_ai_core._folder_removal import remove_tree


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
