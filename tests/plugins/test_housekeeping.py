"""What is kept in the plugin cache, what is removed from it, and that nothing is removed while it is used."""

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.errors import StoreError
from cuvis_ai_core.plugins.cache import entries_in_use
from cuvis_ai_core.plugins.cache.housekeeping import clear, entries, prune, size_of
from cuvis_ai_core.plugins.cache.sources import put_checkout
from cuvis_ai_core.plugins.cache.store import Store
from cuvis_ai_core.plugins.cache.target_entry import Target, write_marker
from cuvis_ai_core.plugins.cache.verification import verify_plugin, verify_store
from cuvis_ai_core.plugins.dependencies.distribution import Distribution
from cuvis_ai_core.plugins.manifest.manifest_schema import GitPlugin

LOAD_AND_WAIT = """\
import sys
import threading
from cuvis_ai_core import NodeRegistry
registry = NodeRegistry(discover=False)
registry.load_plugin("echo", {"repo": sys.argv[1], "tag": "v1.0.0", "provides": ["echo_plugin.nodes.Echo"]})
print("loaded", flush=True)
sys.stdin.read()
"""

FORK = """import os
if os.fork() == 0:
    registry.clear_plugins()
    os._exit(0)
os.wait()
"""


def entry(url: str, tag: str = "v1.0.0") -> dict[str, object]:
    """Return a manifest entry."""
    return {"repo": url, "tag": tag, "provides": ["echo_plugin.nodes.Echo"]}


def names(cache: Path) -> list[str]:
    """Return the checkouts and the contents that lie in a cache."""
    found = [*cache.glob("*@*"), *(path.parent for path in cache.glob(".targets/*/*"))]
    return sorted(path.name.partition("@")[0] for path in found)


def use_in_the_past(cache: Path, name: str, days: float) -> None:
    """Have the entries of a plugin used last so long ago."""
    then = time.time() - days * 86_400
    for path in cache.glob(f".uses/**/{name}@*/**/last"):
        os.utime(path, (then, then))


@pytest.fixture
def other_process(
    request: pytest.FixtureRequest, git_plugin: Callable[..., str], cache: Path
) -> Iterator["subprocess.Popen[str]"]:
    """Return a process that has a plugin loaded, until its input ends; it may be given more to do before it says so."""
    before, said, after = LOAD_AND_WAIT.partition("print")
    process = subprocess.Popen(
        [sys.executable, "-c", f"{before}{getattr(request, 'param', '')}{said}{after}", git_plugin()],
        env={**os.environ, "CUVIS_PLUGINS_DIR": str(cache)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "loaded\n"
    yield process
    process.kill()
    process.communicate()


def test_what_another_process_uses_is_kept_with_a_warning_that_names_it(
    other_process: "subprocess.Popen[str]", cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Checkout and target directory, whether they are cleared or pruned; afterwards they go."""
    store = Store(cache)
    assert clear(store, "echo") == prune(store, unused_for=0) == prune(store, max_size=0, dry_run=True) == []
    assert names(cache) == ["echo", "echo"]
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 6
    for said in warnings:
        assert f"process {other_process.pid} ({sys.executable} -c)" in said
        assert "is kept" in said
        assert said.endswith("To remove it, first end it, and try again.")
    other_process.communicate()
    assert [each.kind for each in clear(store, "echo")] == ["checkout", "target"]
    assert names(cache) == []


def test_what_a_killed_process_used_is_not_in_use(other_process: "subprocess.Popen[str]", cache: Path) -> None:
    """It could not say that it is over; its number may be that of another process tomorrow."""
    other_process.kill()
    other_process.wait()
    assert len(clear(Store(cache))) == 2


def test_the_number_of_a_process_that_began_later_is_not_taken_for_the_user(
    other_process: "subprocess.Popen[str]", cache: Path
) -> None:
    """Numbers are used again: who began after the use did not use it."""
    for record in cache.glob(f".uses/**/{other_process.pid}-*"):
        os.utime(record, (1e9, 1e9))
    assert all(each.users() == [] for each in entries(Store(cache)))


def test_a_process_that_has_ended_uses_nothing_though_nobody_asked_how(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its number is not free before its parent does; who may not look at a process takes it for a user."""
    with subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE) as ended:
        assert ended.stdout is not None
        ended.stdout.read()
        with monkeypatch.context() as patch:
            patch.setattr(os, "getpid", lambda: ended.pid)
            kept = entries_in_use.Uses()
            kept.begin(tmp_path / "entry")
        until = time.monotonic() + 60
        while entries_in_use.users(tmp_path / "entry") and time.monotonic() < until:
            time.sleep(0.01)
        assert entries_in_use.users(tmp_path / "entry") == []


def test_the_last_use_is_the_latest(tmp_path: Path) -> None:
    """One that goes on counts from its beginning, and the next one from its own."""
    folder = tmp_path / "entry"
    assert entries_in_use.last_use(folder) is None
    for _ in range(2):
        used = entries_in_use.Uses()
        used.begin(folder)
        assert [each.name.count("-") for each in folder.iterdir()] == [2]
        assert [user.pid for user in entries_in_use.users(folder)] == [os.getpid()]
        last = entries_in_use.last_use(folder)
        assert last is not None
        assert abs(last - time.time()) < 3600
        used.release()
        assert [each.name for each in folder.iterdir()] == ["last"]
        os.utime(folder / "last", (1e9, 1e9))
    assert entries_in_use.last_use(folder) == 1e9


@pytest.mark.parametrize(("of_killed", "of_last"), [(1e9, 2e9), (2e9, 1e9)])
def test_what_a_killed_process_left_tells_of_the_last_use(tmp_path: Path, of_killed: float, of_last: float) -> None:
    """Unless there was a later one."""
    folder = tmp_path / "entry"
    used = entries_in_use.Uses()
    used.begin(folder)
    mine = next(folder.iterdir())
    left = mine.with_name(f"{2**22 + 1}-{mine.name.split('-')[1]}-ffffffff")  # no system has so high a number
    for file, seconds in ((left, of_killed), (folder / "last", of_last)):
        file.touch()
        os.utime(file, (seconds, seconds))
    assert [user.pid for user in entries_in_use.users(folder)] == [os.getpid()]
    assert not left.exists()
    assert (folder / "last").stat().st_mtime == 2e9
    used.release()


def test_a_use_on_another_machine_counts_for_a_day(other_process: "subprocess.Popen[str]", cache: Path) -> None:
    """Nobody here can see that process: a cache may be shared by machines or containers."""
    for record in cache.glob(f".uses/**/{other_process.pid}-*"):
        record.rename(record.with_name("1-00000000-00000000"))
    assert [str(user) for each in entries(Store(cache)) for user in each.users()] == [
        "process 1 (on another machine or in another container)"
    ] * 2
    for record in cache.glob(".uses/**/1-*"):
        os.utime(record, (time.time() - 90_000,) * 2)
    assert all(each.users() == [] for each in entries(Store(cache)))


def test_what_this_process_has_loaded_is_kept_until_it_is_unloaded(
    registry: NodeRegistry, git_plugin: Callable[..., str], cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A server whose one client clears the cache goes on serving the others; the warning says what to do."""
    registry.load_plugin("echo", entry(git_plugin()))
    NodeRegistry.clear_plugin_cache("echo")
    assert names(cache) == ["echo", "echo"]
    assert f"process {os.getpid()} (this process)" in caplog.text
    assert 'registry.unload_plugin("echo")' in caplog.text
    registry.unload_plugin("echo")
    NodeRegistry.clear_plugin_cache("echo")
    assert names(cache) == []


def test_a_load_that_failed_uses_nothing(registry: NodeRegistry, git_plugin: Callable[..., str], cache: Path) -> None:
    """Though its error is kept, clearing the plugin is the remedy."""
    with pytest.raises(ImportError):
        registry.load_plugin("echo", {**entry(git_plugin()), "provides": ["echo_plugin.nodes.Missing"]})
    assert registry.failed_plugins
    assert names(cache) == ["echo", "echo"]
    NodeRegistry.clear_plugin_cache("echo")
    assert names(cache) == []


def test_a_registry_that_is_dropped_uses_nothing(git_plugin: Callable[..., str], cache: Path) -> None:
    """Nobody has to close it."""
    registry = NodeRegistry(discover=False)
    registry.load_plugin("echo", entry(git_plugin()))
    assert [bool(each.users()) for each in entries(Store(cache))] == [True, True]
    del registry
    assert [bool(each.users()) for each in entries(Store(cache))] == [False, False]


@pytest.mark.parametrize("other_process", [FORK], indirect=True, ids=["forks"])
@pytest.mark.usefixtures("other_process")
def test_a_forked_process_ends_no_use_of_its_parent(cache: Path) -> None:
    """It has a copy of the registry, and lets go of it."""
    assert [bool(each.users()) for each in entries(Store(cache))] == [True, True]


def test_clearing_one_plugin_leaves_those_whose_names_begin_alike(
    registry: NodeRegistry, git_plugin: Callable[..., str], cache: Path
) -> None:
    """`clear_plugin_cache("echo")` never touches `echo2@…`."""
    url = git_plugin()
    for name in ("echo", "echo2"):
        registry.load_plugin(name, entry(url))
    registry.clear_plugins()
    NodeRegistry.clear_plugin_cache("echo")
    assert names(cache) == ["echo2", "echo2"]


def test_what_was_not_used_for_some_time_is_pruned(
    registry: NodeRegistry, git_plugin: Callable[..., str], cache: Path
) -> None:
    """The time of the last load counts, not that of the installation."""
    url = git_plugin()
    for name in ("old", "new"):
        registry.load_plugin(name, entry(url))
        registry.unload_plugin(name)
        use_in_the_past(cache, name, days=31)
    registry.load_plugin("new", entry(url))
    registry.unload_plugin("new")
    store, month = Store(cache), 30 * 86_400.0
    assert prune(store, unused_for=32 * 86_400) == []
    assert [each.plugin for each in prune(store, unused_for=month, dry_run=True)] == ["old", "old"]
    assert names(cache) == ["new", "new", "old", "old"]
    assert [each.plugin for each in prune(store, unused_for=month)] == ["old", "old"]
    assert names(cache) == ["new", "new"]
    assert not list(cache.glob(".uses/old@*"))


def test_what_was_used_longest_ago_is_pruned_until_the_rest_is_small_enough(
    registry: NodeRegistry, git_plugin: Callable[..., str], cache: Path
) -> None:
    """Whatever its order or its size."""
    url = git_plugin()
    for age, name in enumerate(("new", "old", "older")):
        registry.load_plugin(name, entry(url))
        registry.unload_plugin(name)
        use_in_the_past(cache, name, days=age)
    store = Store(cache)
    size = sum(each.size for each in entries(store))
    assert prune(store, max_size=size) == []
    assert {each.plugin for each in prune(store, max_size=size - 1)} == {"older"}
    assert {each.plugin for each in prune(store, max_size=0)} == {"new", "old", "older"}


def test_a_file_of_several_entries_counts_once(
    registry: NodeRegistry, git_plugin: Callable[..., str], cache: Path, tmp_path: Path
) -> None:
    """Installers link files: with the last of its names alone a file goes."""
    (tmp_path / "large").write_bytes(bytes(10**6))
    url = git_plugin()
    for age, name in enumerate(("new", "old", "older")):
        registry.load_plugin(name, entry(url))
        registry.unload_plugin(name)
        use_in_the_past(cache, name, days=age)
        os.link(tmp_path / "large", cache / f"{name}@v1.0.0/large")
    store = Store(cache)
    size = size_of(entries(store))
    assert 10**6 < size < 2 * 10**6
    assert sum(each.size for each in entries(store)) > 3 * 10**6
    assert prune(store, max_size=size) == []
    assert {each.plugin for each in prune(store, max_size=size - 1)} == {"older"}
    prune(store, max_size=10**6 - 1)
    assert list(cache.glob("*/large")) == []


def test_what_nobody_ever_used_counts_from_when_it_was_put_there(tmp_path: Path) -> None:
    """It is no older than everything else; with the last of a plugin its folder goes, and what loads found."""
    target = tmp_path / ".targets/x@0011/pins"
    target.mkdir(parents=True)
    (tmp_path / ".records").mkdir()
    (tmp_path / ".records/one").write_text("")
    os.utime(target, (1e9, 1e9))
    store = Store(tmp_path)
    assert [each.last_use for each in entries(store)] == [1e9]
    assert len(clear(store, "x")) == 1
    assert not target.parent.exists()
    assert list((tmp_path / ".records").iterdir()) == []


def test_pruning_removes_what_killed_processes_left(tmp_path: Path) -> None:
    """Where something is in the cache; only looking removes nothing."""
    left = tmp_path / ".tmp/abcdef"
    left.mkdir(parents=True)
    os.utime(left, (0, 0))
    store = Store(tmp_path)
    (tmp_path / ".targets/x@0011/pins").mkdir(parents=True)
    prune(store, unused_for=1e6, dry_run=True)
    assert left.exists()
    prune(store, unused_for=1e6)
    assert not left.exists()
    assert (tmp_path / ".targets/x@0011/pins").is_dir()


def test_each_place_is_verified_once(tmp_path: Path) -> None:
    """However many there are of one content; credentials are in no finding."""
    for name in ("a", "b"):
        (tmp_path / ".targets/x@0011" / name).mkdir(parents=True)
    found = list(verify_store(Store(tmp_path)))
    assert [Path(each.where).name for each in found] == ["a", "b"]
    assert all(each.differs for each in found)
    declared = GitPlugin(repo="http://me:secret@127.0.0.1:1/x.git", tag="v1", provides=("x.Node",))
    put_checkout("x", declared, checkout_of(tmp_path / "new"), "a" * 40, Store(tmp_path), settled=True)
    found = list(verify_plugin("x", declared, Store(tmp_path)))
    assert [each.what for each in found] == ["tag", "checkout"]
    assert "secret" not in str(found)
    assert [each.differs for each in found] == [False, False]  # nobody could be asked


def test_what_cannot_be_read_is_not_verified(tmp_path: Path) -> None:
    """It is told as what is wrong, as every other finding."""
    target = tmp_path / ".targets/x@0011/pins"
    (target / "x-1.dist-info").mkdir(parents=True)
    write_marker(Target(target, Distribution("x", "1"), (), {}, {}, ("key",)))
    (found,) = verify_store(Store(tmp_path))
    assert (found.plugin, found.what, found.where, found.problem) == ("x", "target", str(target), None)
    (target / "x-1.dist-info/RECORD").mkdir()
    (found,) = verify_store(Store(tmp_path))
    assert isinstance(found.problem, StoreError)
    assert found.problem.message.startswith("It cannot be read: ")
    assert found.differs


def checkout_of(folder: Path) -> Path:
    """Make what looks like a checkout."""
    (folder / ".git").mkdir(parents=True)
    (folder / ".git/HEAD").write_text("a" * 40 + "\n")
    return folder


def test_the_same_tag_of_another_repository_is_an_entry_of_its_own(
    registry: NodeRegistry, git_plugin: Callable[..., str], cache: Path
) -> None:
    """It is found, and removed under the lock of both."""
    url = git_plugin()
    for each in (url, url.replace("127.0.0.1", "localhost")):
        registry.load_plugin("echo", entry(each))
        registry.unload_plugin("echo")
    found = [each for each in entries(Store(cache)) if each.kind == "checkout"]
    assert [each._lock() for each in found] == ["echo@v1.0.0"] * 2
    assert len(clear(Store(cache))) == 4


def test_an_edited_project_file_replaces_the_target_directory(
    registry: NodeRegistry, local_plugin: Callable[..., Path], cache: Path
) -> None:
    """A local plugin under development has one entry, not one per edit."""
    folder = local_plugin()
    config = {"path": str(folder), "provides": ["echo_plugin.nodes.Echo"]}
    for edit in range(3):
        with (folder / "pyproject.toml").open("a") as file:
            file.write(f"# edit {edit}\n")
        registry.load_plugin("echo", config)
        registry.unload_plugin("echo")
        assert len(list(cache.glob(".targets/*/*"))) == 1


def test_an_edited_project_file_leaves_what_is_loaded(local_plugin: Callable[..., Path], cache: Path) -> None:
    """Another registry goes on with what it had; the next edit removes it."""
    folder = local_plugin()
    config = {"path": str(folder), "provides": ["echo_plugin.nodes.Echo"]}
    with NodeRegistry(discover=False) as first, NodeRegistry(discover=False) as second:
        first.load_plugin("echo", config)
        (folder / "pyproject.toml").write_text((folder / "pyproject.toml").read_text() + "# edited\n")
        second.load_plugin("echo", config)
        assert first.plugin_info("echo").target.is_dir()
        assert len(list(cache.glob(".targets/*/*"))) == 2
        first.unload_plugin("echo")
        (folder / "pyproject.toml").write_text((folder / "pyproject.toml").read_text() + "# edited\n")
        first.load_plugin("echo", config)
        assert len(list(cache.glob(".targets/*/*"))) == 2


def test_two_folders_of_one_name_do_not_replace_each_other(
    registry: NodeRegistry, local_plugin: Callable[..., Path], cache: Path
) -> None:
    """The path belongs to what an entry is."""
    for name in ("one", "two"):
        registry.load_plugin("echo", {"path": str(local_plugin(name)), "provides": ["echo_plugin.nodes.Echo"]})
        registry.unload_plugin("echo")
    assert len(list(cache.glob(".targets/*/*"))) == 2


def test_who_wanted_to_remove_an_entry_and_was_killed_hinders_nobody(
    registry: NodeRegistry, git_plugin: Callable[..., str], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in that minute, when the next load makes sure under the entry's lock, nor later, without a lock."""
    config = entry(git_plugin())
    registry.load_plugin("echo", config)
    registry.unload_plugin("echo")
    folders = [path.parent for path in cache.glob(".uses/**/last")]
    assert len(folders) == 2
    for folder in folders:
        (folder / "removing").touch()
    registry.load_plugin("echo", config)
    registry.unload_plugin("echo")
    assert list(cache.glob(".uses/**/removing")) == []
    for folder in folders:
        (folder / "removing").touch()
        os.utime(folder / "removing", (1e9, 1e9))
    with monkeypatch.context() as patch:
        patch.setattr(Store, "lock", None)
        registry.load_plugin("echo", config)


def test_wheels_of_bundles_go_with_everything_only(cache: Path) -> None:
    """They belong to no plugin, and a machine without network could not get them again."""
    (cache / ".wheels/4d7a").mkdir(parents=True)
    (cache / ".wheels/4d7a/cuvis_test_leaf-1.0-py3-none-any.whl").write_bytes(b"x" * 100)
    store = Store(cache)
    assert [(each.kind, each.plugin, each.size) for each in entries(store)] == [("wheels", "", 100)]
    assert prune(store, unused_for=0) == prune(store, max_size=0) == clear(store, "wheels") == clear(store, "") == []
    assert [each.kind for each in clear(store)] == ["wheels"]
    assert store.wheels is None


def test_wheels_of_this_package_go_with_everything_only(cache: Path) -> None:
    """They are made anew of what is running; a plugin's environment has its own copy."""
    store = Store(cache)
    (store.host_wheels / "00").mkdir(parents=True)
    assert entries(store) == clear(store, "00") == []
    with store.workspace():  # as whoever installs from them has it
        assert clear(store) == []
    assert store.host_wheels.is_dir()
    assert clear(store) == []
    assert not store.host_wheels.exists()


def test_two_may_clear_a_cache_at_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the first has removed is no error of the second, which waited for it."""
    store = Store(cache)
    store.host_wheels.mkdir(parents=True)
    waits = threading.Event()
    monkeypatch.setattr(logging.getLogger(Store.__module__), "info", lambda _: waits.set())
    with ThreadPoolExecutor() as pool:
        with store.lock("host-wheels"):
            second = pool.submit(clear, store)
            assert waits.wait(60)
            store.host_wheels.rmdir()
        assert second.result() == []


@pytest.fixture
def three(tmp_path: Path) -> Store:
    """Return a cache with three entries of 100 bytes each, used one, two and three hours ago, and wheels of 50."""
    for hours, name in ((2, "two"), (1, "one"), (3, "three")):
        target = tmp_path / f".targets/{name}@0011/pins"
        (target / "below").mkdir(parents=True)
        (target / "file").write_bytes(b"x" * 40)
        (target / "below/file").write_bytes(b"x" * 60)
        (tmp_path / f".uses/.targets/{name}@0011/pins").mkdir(parents=True)
        (tmp_path / f".uses/.targets/{name}@0011/pins/last").touch()
        os.utime(tmp_path / f".uses/.targets/{name}@0011/pins/last", (time.time() - 3600 * hours,) * 2)
    (tmp_path / ".wheels/00").mkdir(parents=True)
    (tmp_path / ".wheels/00/a-1.zip").write_bytes(b"x" * 50)
    return Store(tmp_path)


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize(
    ("limits", "removed"),
    [
        ({"max_size": 350}, []),
        ({"max_size": 349}, ["three"]),
        ({"max_size": 250}, ["three"]),
        ({"max_size": 249}, ["three", "two"]),
        ({"max_size": 0}, ["three", "two", "one"]),
        ({"unused_for": 2.5 * 3600}, ["three"]),
        ({"unused_for": 2.5 * 3600, "max_size": 300}, ["three"]),
        ({"unused_for": 2.5 * 3600, "max_size": 249}, ["three", "two"]),
        ({"unused_for": 1.5 * 3600, "max_size": 340}, ["three", "two"]),
        ({}, []),
    ],
)
def test_what_is_pruned_is_no_more_than_is_asked(
    three: Store, limits: dict[str, float], removed: list[str], *, dry_run: bool
) -> None:
    """What was used longest ago first; wheels count, and stay."""
    found = prune(three, dry_run=dry_run, **limits)  # type: ignore[arg-type]
    assert [(each.plugin, each.kind, each.size) for each in found] == [(name, "target", 100) for name in removed]
    left = sorted(each.plugin for each in entries(three))
    assert left == sorted(["", *({"one", "two", "three"} - (set() if dry_run else {*removed}))])


def test_a_link_counts_as_itself(tmp_path: Path) -> None:
    """Wherever it leads."""
    target = tmp_path / ".targets/x@0011/pins"
    target.mkdir(parents=True)
    (target / "file").write_bytes(b"x" * 1000)
    (target / "link").symlink_to("file")
    assert [each.size for each in entries(Store(tmp_path))] == [1004]


def test_each_process_that_uses_an_entry_is_named_once(tmp_path: Path) -> None:
    """However often; what is no use is none."""
    uses = [entries_in_use.Uses() for _ in range(2)]
    for each in uses:
        each.begin(tmp_path)
    for name in ("last", "removing", "a-b-c", "1-2", "1-2-3-4"):
        (tmp_path / name).touch()
    assert list(map(str, entries_in_use.users(tmp_path))) == [f"process {os.getpid()} (this process)"]
    uses[0].release()
    assert len(entries_in_use.users(tmp_path)) == 1
    uses[1].release()
    assert entries_in_use.users(tmp_path) == []


def test_nothing_is_removed_while_somebody_builds_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever removes it waits for the lock of its builders."""
    target = tmp_path / ".targets/x@0011/pins"
    target.mkdir(parents=True)
    caplog.set_level(logging.INFO)
    thread = threading.Thread(target=clear, args=(Store(tmp_path), "x"))
    with Store(tmp_path).lock("x@0011"):
        thread.start()
        while thread.is_alive() and "waiting for another process that builds x@0011" not in caplog.text:
            time.sleep(0.01)
        assert target.is_dir()
    thread.join()
    assert not target.exists()
