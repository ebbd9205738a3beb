"""The plugin cache on disk."""

import errno
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.errors import StoreError
from cuvis_ai_core.plugins.cache import entries_in_use
from cuvis_ai_core.plugins.cache.cache_dir import chosen_root, default_root
from cuvis_ai_core.plugins.cache.housekeeping import clear, entries, prune
from cuvis_ai_core.plugins.cache.store import MARKER, Store, leads_out, long_hash, short_hash


def test_the_folder_is_chosen_by_call_then_by_variable_then_by_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`set_cache_dir` beats `CUVIS_PLUGINS_DIR` beats `~/.cuvis_plugins`."""
    assert NodeRegistry._store().root == Path.home() / ".cuvis_plugins"
    monkeypatch.setenv("CUVIS_PLUGINS_DIR", "~/elsewhere")
    assert NodeRegistry._store().root == default_root() == Path.home() / "elsewhere"
    NodeRegistry.set_cache_dir(str(tmp_path / "chosen"))
    assert NodeRegistry._store().root == tmp_path / "chosen"


def test_looking_for_something_makes_no_folder(tmp_path: Path) -> None:
    """Nothing is written before something is put there."""
    store = Store(tmp_path / "cache")
    store.checkouts("x", "v1", "http://host/x.git")
    clear(store)
    prune(store, unused_for=0)
    assert entries(store) == []
    assert not (tmp_path / "cache").exists()


@given(st.text(min_size=1, max_size=40).filter(lambda tag: "\x00" not in tag))
def test_every_tag_is_one_folder_name_of_its_own(tag: str) -> None:
    """Whatever a tag holds, it neither leaves the cache nor nests in it."""
    store = Store(Path("/cache"))
    place, other = store.checkouts("plugin", tag, "http://host/x.git")
    assert place.parent == other.parent == Path("/cache")
    assert place.name not in {".", ".."}
    assert place != other


@given(st.sets(st.text("aA/%.2F", min_size=1, max_size=6), min_size=2, max_size=8))
def test_two_tags_never_share_a_place(tags: set[str]) -> None:
    """The encoding of a tag can be read back."""
    store = Store(Path("/cache"))
    assert len({store.checkouts("plugin", tag, "url")[0] for tag in tags}) == len(tags)


@pytest.mark.parametrize(("made", "digits"), [(short_hash, 8), (long_hash, 32)])
def test_a_hash_of_several_texts_tells_where_each_ends(made: Callable[..., str], digits: int) -> None:
    """Others, put together alike, are not the same; nor does the order not matter."""
    found = {made(*parts) for parts in (("a", "bc"), ("ab", "c"), ("abc",), ("bc", "a"), ("a", "b", "c"), ("abc", ""))}
    assert len(found) == 6
    assert {len(each) for each in found} == {digits}
    assert made("a\udcff", "b") == made("a\udcff", "b") != made("a", "b")


def test_wheels_of_bundles_are_there_or_not(tmp_path: Path) -> None:
    """A folder that is not there is not looked into."""
    store = Store(tmp_path)
    assert store.wheels is None
    store.carried.mkdir()
    assert store.wheels == store.carried


def test_whoever_uses_an_entry_is_told_when_somebody_removes_it(tmp_path: Path) -> None:
    """The holder of its lock knows that nobody does; afterwards it is there, or not."""
    store = Store(tmp_path)
    entry = tmp_path / "x@v1"
    assert not store.use(entry)
    entry.mkdir()
    assert store.use(entry)
    with entries_in_use.removing(store.uses(entry)):
        assert not store.use(entry)
    assert store.use(entry)
    with entries_in_use.removing(store.uses(entry)):
        assert store.use(entry, locked=True)
        assert store.use(entry)


def test_what_is_handed_over_ends_apart_from_the_rest(tmp_path: Path) -> None:
    """Entries of another cache are none of this one's."""
    store, used = Store(tmp_path / "cache"), tmp_path / "cache/.uses"
    first, second = tmp_path / "cache/x@v1", tmp_path / "cache/y@v1"
    for entry in (first, second):
        entry.mkdir(parents=True)
        store.use(entry)
    mine = store.hand_over(first, tmp_path / "elsewhere/z@v1")
    store.release()
    assert [len(entries_in_use.users(used / name)) for name in ("x@v1", "y@v1")] == [1, 0]
    mine.release()
    assert entries_in_use.users(used / "x@v1") == []


def test_a_workspace_is_removed_whatever_happens(tmp_path: Path) -> None:
    """Work in progress leaves nothing."""
    store = Store(tmp_path / "cache")

    def fail(folder: Path) -> None:
        (folder / "read-only").mkdir(mode=0o500)
        (folder / "file").write_text("x")
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"), store.workspace() as folder:
        fail(folder)
    assert list((tmp_path / "cache/.tmp").iterdir()) == []


def test_a_published_folder_replaces_a_half_of_one(tmp_path: Path) -> None:
    """What lies at its place without a marker goes."""
    store = Store(tmp_path / "cache")
    place = tmp_path / "cache/x@v1"
    place.mkdir(parents=True)
    (place / "half").write_text("")
    with store.workspace() as folder:
        (folder / "whole").mkdir()
        (folder / "whole/file").write_text("x")
        store.publish(folder / "whole", place)
    assert [path.name for path in place.iterdir()] == ["file"]


def put_checkout(place: Path) -> None:
    """Make what counts as a checkout of ours: its marker lies in `.git`."""
    (place / ".git").mkdir(parents=True)
    (place / ".git" / MARKER).write_text("{}")


def test_clearing_touches_one_plugin_only(tmp_path: Path) -> None:
    """`x` is not `x2`, and the lock and work folders stay."""
    store = Store(tmp_path)
    for name in ("x@v1", "x@v2+abcdef01", "x2@v1"):
        put_checkout(tmp_path / name)
    for name in ("x@0011", "x2@0011"):
        (tmp_path / ".targets" / name / "pins").mkdir(parents=True)
    clear(store, "x")
    assert sorted(path.name for path in tmp_path.glob("*@*")) == ["x2@v1"]
    assert [path.name for path in (tmp_path / ".targets").iterdir()] == ["x2@0011"]
    clear(store, "../x2@v1")
    assert (tmp_path / "x2@v1").is_dir()


def test_clearing_leaves_what_is_not_ours(tmp_path: Path) -> None:
    """A user may choose a folder that holds other things, whatever these are called."""
    (tmp_path / "me@host.txt").write_text("mine")
    for name in ("@types", "backup@2024", "node@18/.git"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / ".targets").mkdir()
    (tmp_path / ".targets/note@home").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    store = Store(tmp_path)
    clear(store)
    clear(store, "backup")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("path", ["", "  ", "~nobody-has-this-name/cache", "nul\0l"])
def test_a_folder_that_cannot_be_meant_is_refused(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By one error that shows what was given and both ways to choose."""
    with pytest.raises(StoreError, match="cannot be the folder of the plugin cache") as caught:
        chosen_root(path)
    assert repr(path) in str(caught.value)
    assert "set_cache_dir" in str(caught.value)
    if path.strip() and "\0" not in path:
        monkeypatch.setenv("CUVIS_PLUGINS_DIR", path)
        with pytest.raises(StoreError):
            default_root()


def test_an_empty_variable_chooses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a shell, it is as if it were not set."""
    monkeypatch.setenv("CUVIS_PLUGINS_DIR", "")
    assert default_root() == Path.home() / ".cuvis_plugins"


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "some/file"),
        shutil.Error([("a", "b", f"[Errno 28] {os.strerror(errno.ENOSPC)}: 'b'")]),
        OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
    ],
)
def test_a_disk_that_gets_full_while_something_is_built_is_named(tmp_path: Path, error: OSError) -> None:
    """With the space that is free; other failures stay what they are."""
    store = Store(tmp_path / "cache")
    with pytest.raises(StoreError, match=r"The disk is full \(\d+ MB are free at "), store.workspace():
        raise error
    with pytest.raises(IsADirectoryError), store.workspace():
        raise IsADirectoryError(errno.EISDIR, "x")


def test_a_cache_that_cannot_be_made_is_one_error(tmp_path: Path) -> None:
    """The error names the folder and the ways to choose another."""
    (tmp_path / "file").write_text("")
    store = Store(tmp_path / "file/cache")
    with pytest.raises(StoreError, match="CUVIS_PLUGINS_DIR") as caught, store.workspace():
        pass
    assert isinstance(caught.value, OSError)
    assert str(tmp_path / "file") in str(caught.value)


def test_a_store_that_is_read_only_serves_what_it_has(
    registry: NodeRegistry, git_plugin: Callable[..., str], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers take no lock, and write nothing but that they read."""
    config = {"repo": git_plugin(), "tag": "v1.0.0", "provides": ["echo_plugin.nodes.Echo"]}
    registry.load_plugin("echo", config)
    registry.unload_plugin("echo")
    mine = {"__pycache__", ".uses"}
    before = {path: path.stat().st_mtime_ns for path in [cache, *cache.rglob("*")] if not mine & {*path.parts}}

    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("a warm load locks nothing")

    monkeypatch.setattr(Store, "lock", refuse)
    monkeypatch.setattr(Store, "workspace", refuse)
    registry.load_plugin("echo", config)
    after = {path: path.stat().st_mtime_ns for path in before}
    assert after == before


def test_work_in_progress_of_a_killed_process_is_removed_by_the_next(tmp_path: Path) -> None:
    """What a living process works on stays."""
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom cuvis_ai_core.plugins.cache.store import Store\n"
        "with Store(Path(sys.argv[1])).workspace() as folder:\n"
        "    (folder / 'half').write_text('x')\n    print(folder, flush=True)\n    time.sleep(60)\n"
    )
    killed, living = (
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    )
    folders = [Path(process.stdout.readline().strip()) for process in (killed, living) if process.stdout]
    killed.kill()
    killed.communicate()
    with Store(tmp_path).workspace():
        assert [folder.exists() for folder in folders] == [False, True]
    living.kill()
    living.communicate()
    with Store(tmp_path).workspace() as own:
        assert sorted(path.name for path in (tmp_path / ".tmp").iterdir()) == sorted([own.name, f"{own.name}.lock"])


def test_a_lock_that_lost_its_folder_goes_after_an_hour(tmp_path: Path) -> None:
    """Just made it belongs to somebody who is about to make the folder; a folder without a lock has no owner."""
    work = tmp_path / ".tmp"
    with Store(tmp_path).workspace() as own:
        system = own.name.partition("-")[0]
    for name in ("later", "alone"):
        (work / f"{system}-{name}").mkdir(parents=True)
    for name, seconds in (("fresh", 3500), ("forgotten", 3700), ("later", 3700)):
        (work / f"{system}-{name}.lock").touch()
        os.utime(work / f"{system}-{name}.lock", (time.time() - seconds,) * 2)
    Store(tmp_path).sweep()
    assert [path.name for path in work.iterdir()] == [f"{system}-fresh.lock"]


@pytest.mark.parametrize(("hours", "stays"), [(23, True), (25, False)])
@pytest.mark.parametrize("name", ["other", "other.lock"])
def test_what_another_machine_works_on_stays_for_a_day(tmp_path: Path, name: str, hours: int, *, stays: bool) -> None:
    """Its locks are none here where the file system is mounted with locks of each machine alone, or without any."""
    left = tmp_path / ".tmp" / name
    left.parent.mkdir()
    left.touch() if left.suffix else left.mkdir()
    os.utime(left, (time.time() - 3600 * hours,) * 2)
    Store(tmp_path).sweep()
    assert left.exists() is stays


def test_a_child_that_is_forked_off_leaves_the_work_of_its_parent(tmp_path: Path) -> None:
    """Also where it ends in an orderly way, out of whatever its parent was in."""
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom cuvis_ai_core.plugins.cache.store import Store\n"
        "with Store(Path(sys.argv[1])).workspace() as folder:\n"
        "    child = os.fork()\n    if not child:\n        sys.exit()\n"
        "    os.waitpid(child, 0)\n"
        "    assert {each.name for each in folder.parent.iterdir()} == {folder.name, f'{folder.name}.lock'}\n"
        "assert not list(folder.parent.iterdir())\n"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path], check=True)


@pytest.mark.parametrize(
    ("tag", "kept"), [("v" * 120, True), ("v" * 121, False), ("é" * 60, True), ("é" * 61, False), ("/" * 41, False)]
)
def test_a_tag_that_is_too_long_for_a_folder_has_a_short_one(tag: str, kept: bool) -> None:  # noqa: FBT001
    """Of its own, which no tag is written as; another repository's is longer by a hash."""
    store = Store(Path("/cache"))
    plain, other = store.checkouts("plugin", tag, "http://host/x.git")
    assert (plain.name == f"plugin@{tag}") is kept
    assert len(plain.name.encode()) <= 128
    assert other.name.startswith(f"{plain.name}+")
    assert len(other.name) == len(plain.name) + 9
    assert store.checkouts("plugin", f"{tag[:-1]}w", "http://host/x.git")[0] != plain
    assert store.checkouts("plugin", plain.name.partition("@")[2], "http://host/x.git")[0] != plain or kept
    assert store.checkouts("plugin", tag, "http://host/y.git") != (plain, other)


def test_only_a_tag_that_is_surely_not_there_is_lacking(tmp_path: Path) -> None:
    """Of an entry that nobody has checked; what is none may be anything."""
    store = Store(tmp_path)
    (tmp_path / "x@v1").mkdir()
    assert store.lacks("x", {"tag": "v2"})
    assert store.lacks("y", {"tag": "v1"})
    for name, entry in (
        ("x", {"tag": "v1"}),
        (7, {"tag": "v2"}),
        ("x", {"tag": 2}),
        ("x", {}),
        ("x", "v2"),
        ("x", None),
    ):
        assert not store.lacks(name, entry)


def test_a_new_cache_says_what_it_is(tmp_path: Path) -> None:
    """In a file that stays as somebody wrote it."""
    store = Store(tmp_path / "below/cache")
    with store.lock("x"):
        assert "safe to delete" in (store.root / "README").read_text()
    (store.root / "README").write_text("mine")
    with store.lock("x"), store.workspace():
        assert (store.root / "README").read_text() == "mine"


@pytest.mark.parametrize(
    ("entry", "out"), [("cache/x", False), ("cache/inside", False), ("cache/outside", True), ("cache/beside", True)]
)
def test_an_entry_that_lies_elsewhere_leads_out(tmp_path: Path, entry: str, out: bool) -> None:  # noqa: FBT001
    """By way of a link, also to a folder whose name begins as that of the cache."""
    root = tmp_path / "cache"
    for folder in ("cache/x", "cache-other/x", "elsewhere"):
        (tmp_path / folder).mkdir(parents=True)
    for name, place in (("inside", "x"), ("outside", "../elsewhere"), ("beside", "../cache-other/x")):
        (root / name).symlink_to(place)
    assert leads_out(tmp_path / entry, root) is out
    (tmp_path / "link").symlink_to("cache")
    assert leads_out(tmp_path / entry, tmp_path / "link") is out


@pytest.mark.parametrize(("ago", "goes_on"), [(55, True), (65, False), (-55, True), (-65, False)])
def test_somebody_is_removing_an_entry_for_a_minute_at_most(tmp_path: Path, ago: int, goes_on: bool) -> None:  # noqa: FBT001
    """The clock of a file server may be ahead of this one as well as behind."""
    folder = tmp_path / "entry"
    with entries_in_use.removing(folder):
        os.utime(folder / "removing", (time.time() - ago,) * 2)
        assert entries_in_use.being_removed(folder) is goes_on
    assert not entries_in_use.being_removed(folder)


def test_who_waits_for_an_entry_is_told_and_has_it_afterwards(tmp_path: Path) -> None:
    """Not before whoever has it lets go; where nobody has it nobody is told."""
    told, order = threading.Event(), list[str]()

    def waiting(text: str) -> None:
        order.append(text)
        told.set()

    def take() -> None:
        with Store(tmp_path).lock("x@v1", waiting):
            order.append("taken")

    with Store(tmp_path).lock("x@v1", waiting):
        thread = threading.Thread(target=take)
        thread.start()
        assert told.wait(60)
        thread.join(0.05)
        order.append("let go")
    thread.join(60)
    assert order == ["waiting for another process that builds x@v1", "let go", "taken"]
