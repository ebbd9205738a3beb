"""Which folder the plugin cache is, and what of it others must not be able to write."""

import os
from pathlib import Path

import pytest

from cuvis_ai_core.errors import StoreError
from cuvis_ai_core.plugins.cache.cache_dir import chosen_root, default_root, refuse_foreign

pytestmark = pytest.mark.skipif(os.name != "posix", reason="rights are those of POSIX")

BELIEVED = ("", ".targets", ".envs", ".records")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder as the cache is."""
    for name in (*BELIEVED, ".tmp"):
        (tmp_path / "cache" / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "cache" / name).chmod(0o755)
    return tmp_path / "cache"


@pytest.mark.parametrize("name", BELIEVED)
@pytest.mark.parametrize("mode", [0o775, 0o757])
def test_what_others_may_write_is_not_believed(root: Path, name: str, mode: int) -> None:
    """Of each folder from which code is run without another look; of others it does not matter."""
    (root / ".tmp").chmod(0o777)
    refuse_foreign(str(root), os.geteuid())
    (root / name).chmod(mode)
    for owner in (os.geteuid(), None):
        with pytest.raises(StoreError) as caught:
            refuse_foreign(str(root), owner)
        place = f"{root}/{name}".rstrip("/")
        assert caught.value.message == (
            f"The plugin cache {root} is not used: {place} can be written by other users, "
            "who could have you run anything."
        )
        assert str(caught.value.hint).startswith(f"Take that away: chmod -R go-w '{root}'. Or empty the cache,")
        assert caught.value.path == root


@pytest.mark.parametrize(
    ("mode", "closed"), [(0o700, True), (0o744, True), (0o711, False), (0o710, False), (0o701, False)]
)
def test_what_nobody_else_comes_into_may_be_open(root: Path, mode: int, closed: bool) -> None:  # noqa: FBT001
    """The rights below do not matter then; those of the folder itself do."""
    (root / ".envs").chmod(0o777)
    root.chmod(mode)
    if closed:
        refuse_foreign(str(root), os.geteuid())
    else:
        with pytest.raises(StoreError, match="can be written by other users"):
            refuse_foreign(str(root), os.geteuid())


def test_only_its_owner_and_root_are_believed(root: Path) -> None:
    """Unless somebody keeps it for others, where anybody's will do; what is not there is nobody's."""
    nobody = os.geteuid() + 1
    refuse_foreign(str(root), None)
    refuse_foreign(str(root / "gone"), nobody)
    if os.geteuid() == 0:
        refuse_foreign(str(root), nobody)
        os.chown(root / ".targets", nobody + 1, -1)
        found = nobody + 1
    else:
        found = os.geteuid()
    with pytest.raises(StoreError, match=rf"belongs to another user \(number {found}\), who could have"):
        refuse_foreign(str(root), nobody)
    refuse_foreign(str(root), found)


def test_the_folder_is_the_one_that_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the variable, else in the home folder; a relative one is seen from the working directory."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("CUVIS_PLUGINS_DIR", raising=False)
    assert default_root() == tmp_path / ".cuvis_plugins"
    monkeypatch.setenv("CUVIS_PLUGINS_DIR", "")
    assert default_root() == tmp_path / ".cuvis_plugins"
    monkeypatch.setenv("CUVIS_PLUGINS_DIR", "~/cache")
    assert default_root() == tmp_path / "cache"
    monkeypatch.chdir(tmp_path)
    assert chosen_root("here") == tmp_path / "here"
    assert chosen_root(tmp_path) == tmp_path


@pytest.mark.parametrize(
    ("text", "why"),
    [("", "it is empty"), (" \t", "it is empty"), ("a\0b", "it holds a null character"), ("~nobody-here/x", "home")],
)
def test_a_path_that_names_no_folder_is_refused(text: str, why: str) -> None:
    """An empty one would be the working folder."""
    with pytest.raises(StoreError) as caught:
        chosen_root(text)
    assert caught.value.message.startswith(f"{text!r} cannot be the folder of the plugin cache: ")
    assert why in caught.value.message
    assert "CUVIS_PLUGINS_DIR=FOLDER" in str(caught.value.hint)
