"""Projects are copied before they are built, and none is that cannot be read to its end."""

import os
from pathlib import Path

import pytest

from cuvis_ai_core.errors import ProjectFileError
from cuvis_ai_core.plugins.installing.source_copy import copy_project, refuse_unreadable


def test_a_copy_has_all_but_what_is_left_out(tmp_path: Path) -> None:
    """At every depth, and links stay links, also those to nothing."""
    top = tmp_path / "mine"
    for name in ("a", "b/c", "b/.git/x", ".git/x", "b/x.egg-info/y", "build/x"):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(name)
    (top / "link").symlink_to("a")
    (top / "folder").symlink_to("b")
    (top / "nowhere").symlink_to("gone")
    copy_project(top, tmp_path / "copy", (".git", "*.egg-info", "build"))
    found = {path.relative_to(tmp_path / "copy").as_posix() for path in (tmp_path / "copy").rglob("*")}
    assert found == {"a", "b", "b/c", "link", "folder", "nowhere"}
    links = {name: str((tmp_path / "copy" / name).readlink()) for name in ("link", "folder", "nowhere")}
    assert links == {"link": "a", "folder": "b", "nowhere": "gone"}


@pytest.mark.parametrize("place", ["x", "b/x", "link"])
def test_what_nobody_can_read_to_its_end_is_refused(tmp_path: Path, place: str) -> None:
    """A pipe or a device, also behind a link, is named with what it is; where it is left out it does not count."""
    top = tmp_path / "mine"
    (top / "b").mkdir(parents=True)
    refuse_unreadable(top, ())
    if place == "link":
        (top / place).symlink_to("/dev/zero")
        said = f"{top / place}, a link to /dev/zero, is no part of a project: it is a device, no file."
    else:
        os.mkfifo(top / place)
        said = f"{top / place} is no part of a project: it is a pipe, no file."
    for copy in (False, True):
        with pytest.raises(ProjectFileError) as caught:
            copy_project(top, tmp_path / "copy", ()) if copy else refuse_unreadable(top, ("other",))
        assert (caught.value.message, caught.value.path) == (said, top / place)
        assert caught.value.hint == "Take it out of the project's folder."
    assert not (tmp_path / "copy").exists()
    refuse_unreadable(top, ("x", "li*"))


@pytest.mark.parametrize(("folders", "refused"), [(100, False), (101, True)])
def test_folders_may_lie_a_hundred_deep(tmp_path: Path, folders: int, refused: bool) -> None:  # noqa: FBT001
    """What lies deeper is hard to remove; what is behind a link is not counted."""
    place = tmp_path / "mine"
    place.mkdir()
    (place / "round").symlink_to(place)
    for _ in range(folders):
        place /= "d"
        place.mkdir()
    (place / "file").touch()
    if refused:
        with pytest.raises(ProjectFileError, match=r"… lies more than 100 folders deep\."):
            refuse_unreadable(tmp_path / "mine", ())
    else:
        refuse_unreadable(tmp_path / "mine", ())
