"""What an update of a manifest's plugins asks for, changes, tells and forgets; nothing is fetched or installed."""

from collections.abc import Collection, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from cuvis_ai_core.errors import ManifestError, NetworkError
from cuvis_ai_core.plugins.cache.checkout_entry import complete, identity
from cuvis_ai_core.plugins.cache.store import Store
from cuvis_ai_core.plugins.dependencies.search_path import interpreter
from cuvis_ai_core.plugins.lock import updating
from cuvis_ai_core.plugins.lock.lockfile import Lock, LockedPins, read_lock, write_lock
from cuvis_ai_core.plugins.lock.updating import Change, Update, find_update

if TYPE_CHECKING:
    from cuvis_ai_core.plugins.lock.locker import Locker

HOST = "https://user:secret@host"
MANIFEST = f"""\
plugins:
  second:
    repo: {HOST}/second.git
    tag: v2.0.0  # kept
    provides: [m.N]
  first:
    repo: {HOST}/first.git
    tag: v1.0.0
    provides: [m.N]
  own:
    path: own
    provides: [m.N]
"""
TAGS = {
    "second": {"v2.0.0": "2" * 40, "v2.1.0": "3" * 40, "v3.0.0rc1": "4" * 40},
    "first": {"v1.0.0": "1" * 40},
}


def entry(name: str, tag: str) -> dict[str, Any]:
    """Return what is locked of a plugin, of a local one where there is no tag."""
    if not tag:
        return {"path": name, "requirements": [], "isolation": "scoped"}
    commit = TAGS[name][tag]
    return {
        "repo": f"https://host/{name}.git",
        "tag": tag,
        "commit": commit,
        "content": "c" * 64,
        "isolation": "scoped",
    }


class FakeLocker:
    """Locks whatever it is given, and remembers what that was."""

    def __init__(self, pins: Mapping[str, tuple[str, ...]]) -> None:
        self.asked: list[tuple[dict[str, str], list[str], bool]] = []
        self._pins = pins

    def lock(
        self, manifest: Path, plugins: Mapping[str, Any], *, moving: Collection[str], dry_run: bool
    ) -> SimpleNamespace:
        """Lock each plugin at the commit of its tag."""
        tags = {name: getattr(each, "tag", "") for name, each in plugins.items()}
        self.asked.append((tags, list(moving), dry_run))
        entries = {name: entry(name, tag) for name, tag in tags.items()}
        self.lock_made = Lock(manifest.with_suffix(".lock"), entries, {interpreter(): LockedPins(self._pins, {})})
        return SimpleNamespace(lock=self.lock_made)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the addresses that are asked for tags."""
    addresses: list[str] = []

    def tags(repo: str) -> dict[str, str]:
        addresses.append(repo)
        found = TAGS[repo.rpartition("/")[2].removesuffix(".git")]
        if not found:
            raise NetworkError(f"{repo} does not answer")
        return found

    monkeypatch.setattr(updating, "remote_tags", tags)
    return addresses


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Return a manifest with two plugins of repositories and a local one."""
    file = tmp_path / "plugins.yaml"
    file.write_text(MANIFEST)
    return file


def update(
    manifest: Path, *names: str, pins: Mapping[str, tuple[str, ...]] | None = None, dry_run: bool = True
) -> tuple[Update, FakeLocker]:
    """Look for newer tags, with what is locked for this platform then."""
    locker = FakeLocker(pins or {})
    store = Store(manifest.parent / "cache")
    return find_update(manifest, names, cast("Locker", locker), store, dry_run=dry_run), locker


def test_what_changes_is_told_in_the_order_of_the_manifest(manifest: Path, asked: list[str]) -> None:
    """Tag, commit and each dependency, with what it was and becomes; what is not there, or goes, is nothing."""
    pins = {"first": ("a==1", "gone==1", "same==1", "x @ https://h/x==1.whl"), "second": ("b==1",)}
    entries = {"first": entry("first", "v1.0.0"), "second": entry("second", "v2.0.0")}
    hashes = {pin: (f"sha256:{'a' * 64}",) for found in pins.values() for pin in found}
    old = {interpreter(): LockedPins(pins, hashes)}
    write_lock(Lock(manifest.with_suffix(".lock"), entries, old))
    new = {"first": ("a==2", "new==1", "same==1", "x @ https://h/x==2.whl"), "second": ("b==1",)}
    found, locker = update(manifest, pins=new)
    assert sorted(asked) == [f"{HOST}/first.git", f"{HOST}/second.git"]
    tags = {"second": "v2.1.0", "first": "v1.0.0", "own": ""}
    assert locker.asked == [(tags, ["second", "first", "own"], True)]
    assert found.changes == [
        Change("second", "tag", "v2.0.0", "v2.1.0"),
        Change("second", "commit", "2" * 12, "3" * 12),
        Change("first", "a", "1", "2"),
        Change("first", "gone", "1", ""),
        Change("first", "new", "", "1"),
        Change("first", "x", "https://h/x==1.whl", "https://h/x==2.whl"),
    ]
    assert (found.manifest, found.text) == (manifest, MANIFEST.replace("v2.0.0", "v2.1.0"))
    assert found.lock is locker.lock_made


def test_without_a_lock_file_all_is_new(manifest: Path, asked: list[str]) -> None:
    """Only what is named is asked for and moves; the text stays where no tag changes."""
    found, locker = update(manifest, "first", pins={"first": ("a==1",)}, dry_run=False)
    assert (asked, found.text) == ([f"{HOST}/first.git"], None)
    assert locker.asked == [({"second": "v2.0.0", "first": "v1.0.0", "own": ""}, ["first"], False)]
    assert found.changes == [
        Change("second", "commit", "", "2" * 12),
        Change("first", "commit", "", "1" * 12),
        Change("first", "a", "", "1"),
    ]
    _, locker = update(manifest, "own")
    assert (len(asked), locker.asked[0][1]) == (1, ["own"])


def test_a_repository_that_does_not_answer_ends_it(
    manifest: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several the first of the manifest is told, however fast the others were."""
    monkeypatch.setitem(TAGS, "first", {})
    with pytest.raises(NetworkError, match=r"first\.git does not answer"):
        update(manifest)
    monkeypatch.setitem(TAGS, "second", {})
    with pytest.raises(NetworkError, match=r"second\.git does not answer"):
        update(manifest)
    assert len(asked) == 4


@pytest.mark.usefixtures("asked")
def test_a_checkout_of_a_tag_that_moved_is_forgotten(manifest: Path) -> None:
    """Of that plugin and tag only, and in no dry run; one at the commit that the tag is now stays."""
    store = Store(manifest.parent / "cache")

    def checkout(name: str, tag: str, commit: str) -> Path:
        wanted = identity(name, f"{HOST}/{name}.git", tag)
        place = store.checkouts(name, tag, wanted["repo"])[0]
        (place / ".git").mkdir(parents=True)
        complete(place, commit, wanted)
        return place

    moved = checkout("first", "v1.0.0", "9" * 40)
    others = [checkout("first", "v0.1.0", "9" * 40), checkout("second", "v2.1.0", "3" * 40)]
    update(manifest)
    assert moved.exists()
    update(manifest, dry_run=False)
    assert (moved.exists(), [each.exists() for each in others]) == (False, [True, True])


@pytest.mark.usefixtures("asked")
def test_lock_and_manifest_are_written(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through a link; the lock first, so that a manifest that cannot be written is told."""
    link = manifest.with_name("link.yaml")
    link.symlink_to(manifest)
    found, _ = update(link)
    found.write()
    assert link.is_symlink()
    assert manifest.read_text() == MANIFEST.replace("v2.0.0", "v2.1.0")
    written = read_lock(link)
    assert written is not None
    assert written.plugins["second"]["commit"] == "3" * 40

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(updating, "write_atomic", refuse)
    found._replace(text=None).write()
    with pytest.raises(ManifestError) as caught:
        found.write()
    assert caught.value.message == f"{link} cannot be written: Permission denied; its lock file has the new tags."
    assert caught.value.path == link
