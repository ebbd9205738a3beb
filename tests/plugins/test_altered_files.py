"""What lies in the plugin cache is what was put there, or the next load says that it is not."""

import errno
import functools
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core._folder_removal import remove_tree
from cuvis_ai_core.errors import CacheMismatchError, PluginLoadError
from cuvis_ai_core.plugins.cache import altered_entries
from cuvis_ai_core.plugins.cache.sources import usable_source
from cuvis_ai_core.plugins.cache.store import Store
from cuvis_ai_core.plugins.cache.target_entry import target_for
from cuvis_ai_core.plugins.disk import altered_files
from cuvis_ai_core.plugins.manifest.manifest_schema import GitPlugin
from cuvis_ai_core.testing.git_host import GitHost

Alter = Callable[[Path], object]
Files = dict[str, str]

NODES = "src/echo_plugin/nodes.py"


@pytest.fixture
def config(registry: NodeRegistry, git_plugin: Callable[..., str]) -> dict[str, object]:
    """Return the entry of a plugin that was loaded once, and unloaded."""
    entry: dict[str, object] = {"repo": git_plugin(), "tag": "v1.0.0", "provides": ["echo_plugin.nodes.Echo"]}
    registry.load_plugin("echo", entry)
    registry.unload_plugin("echo")
    return entry


@pytest.fixture
def target(cache: Path, config: dict[str, object]) -> Path:
    """Return its target directory."""
    (folder,) = cache.glob(".targets/*/*")
    return folder


def edit(path: Path) -> None:
    """Change a file, its size and time of change aside, through a name of its own."""
    kept, state = path.read_text(), path.stat()
    path.unlink()
    path.write_text(kept.replace("1.0.0", "6.6.6"))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1))


def refused(registry: NodeRegistry, config: dict[str, object]) -> str:
    """Load a plugin that must be refused, and return what is said."""
    with pytest.raises(PluginLoadError, match="Tag mismatch in cache for plugin 'echo'") as caught:
        registry.load_plugin("echo", config)
    assert isinstance(caught.value.__cause__, CacheMismatchError)
    assert 'NodeRegistry.clear_plugin_cache("echo")' in str(caught.value)
    return str(caught.value)


def loads_after_the_remedy(registry: NodeRegistry, config: dict[str, object]) -> bool:
    """Do what the message says, load, and tell whether the class is that of the tag."""
    NodeRegistry.clear_plugin_cache("echo")
    registry.load_plugin("echo", config)
    return bool(registry.get("Echo").VERSION == "1.0.0")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "alter",
    [
        lambda folder: edit(folder / NODES),
        lambda folder: (folder / NODES).unlink(),
        lambda folder: (folder / NODES).write_text(""),
        lambda folder: (folder / ".git/HEAD").write_bytes(b"\xff"),
        lambda folder: (folder / ".git/HEAD").write_text("ref: refs/heads/main"),
    ],
)
def test_an_altered_checkout_is_noticed_by_every_load(
    registry: NodeRegistry, config: dict[str, object], cache: Path, alter: Alter
) -> None:
    """Though what was installed from it before is as it was; the remedy helps."""
    alter(cache / "echo@v1.0.0")
    assert str(cache / "echo@v1.0.0") in refused(registry, config)
    assert loads_after_the_remedy(registry, config)


@pytest.mark.parametrize(
    "alter",
    [
        lambda folder: edit(folder / "echo_plugin/nodes.py"),
        lambda folder: (folder / "echo_plugin/nodes.py").unlink(),
        lambda folder: edit(next(folder.glob("*.dist-info/RECORD"))),
    ],
)
def test_an_altered_target_directory_is_noticed_by_every_load(
    registry: NodeRegistry, config: dict[str, object], target: Path, alter: Alter
) -> None:
    """It is what runs; the message names the files, and the remedy helps."""
    alter(target)
    said = refused(registry, config)
    assert str(target) in said
    assert "echo_plugin" in said
    assert loads_after_the_remedy(registry, config)


def test_an_altered_file_and_its_record_are_noticed_together(
    registry: NodeRegistry, config: dict[str, object], target: Path
) -> None:
    """Who mends the installer's record after the file does not go unnoticed: the marker has a hash of the records."""
    edit(target / "echo_plugin/nodes.py")
    record = next(target.glob("*.dist-info/RECORD"))
    hashed = dict(altered_files.installed_files(target))["echo_plugin/nodes.py"]
    new = altered_files._content(target / "echo_plugin/nodes.py", "sha256")
    record.write_text(record.read_text().replace(hashed, new))
    assert "installed files in" in refused(registry, config)


def test_an_altered_target_directory_is_not_adopted(
    registry: NodeRegistry,
    config: dict[str, object],
    target: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where the host changed and the target is looked at anew, it is looked at closely."""
    edit(target / "echo_plugin/nodes.py")
    (tmp_path / "site-packages/new_thing-1.0.dist-info").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(tmp_path / "site-packages"))
    refused(registry, config)


def test_a_plugin_may_keep_data_beside_its_code(
    registry: NodeRegistry, config: dict[str, object], target: Path
) -> None:
    """Downloaded weights are no alteration, even where a copy of the cache is looked at closely."""
    (target / "echo_plugin/weights.bin").write_bytes(b"x")
    os.utime(target / "echo_plugin/nodes.py")
    registry.load_plugin("echo", config)
    assert registry.plugin_info("echo").target == target
    assert (target / "echo_plugin/weights.bin").read_bytes() == b"x"


def test_a_module_that_nobody_installed_is_found_by_a_close_look(
    registry: NodeRegistry, config: dict[str, object], target: Path
) -> None:
    """It could shadow one of the plugin's."""
    (target / "echo_plugin/more.py").write_text("")
    os.utime(target / "echo_plugin/nodes.py")
    assert "echo_plugin/more.py" in refused(registry, config)


def test_a_copy_of_a_cache_is_read_once_and_then_looked_at(
    registry: NodeRegistry, config: dict[str, object], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files have other times; the contents decide, and the markers learn the times."""
    copy = cache.with_name("copy")
    shutil.copytree(cache, copy, copy_function=shutil.copy)
    remove_tree(cache)
    NodeRegistry.set_cache_dir(copy)
    registry.load_plugin("echo", config)
    registry.unload_plugin("echo")

    def refuse(*arguments: object) -> None:
        raise AssertionError("all files were read")

    monkeypatch.setattr(altered_files, "checkout_digest", refuse)
    monkeypatch.setattr(altered_files, "altered_files", refuse)
    registry.load_plugin("echo", config)
    assert registry.plugin_info("echo").target.is_relative_to(copy)


def test_times_in_whole_seconds_are_no_change(tmp_path: Path) -> None:
    """Archives and some file systems keep no more."""
    (tmp_path / "file").write_text("x")
    os.utime(tmp_path / "file", ns=(1_500_000_001, 1_500_000_001))
    watched = altered_files.watch(tmp_path, ["file"])
    assert altered_files.looks_unchanged(tmp_path, watched)
    os.utime(tmp_path / "file", (1, 1))
    assert altered_files.looks_unchanged(tmp_path, watched)
    os.utime(tmp_path / "file", (2, 2))
    assert not altered_files.looks_unchanged(tmp_path, watched)


@pytest.mark.parametrize(("text", "nanoseconds"), [("", 0), ("xx", 0), ("x", 1), ("x", -1)])
def test_another_size_or_time_is_a_reason_to_look_closer(tmp_path: Path, text: str, nanoseconds: int) -> None:
    """Smaller or larger, sooner or later, within the same second too."""
    (tmp_path / "file").write_text("x")
    os.utime(tmp_path / "file", ns=(1_500_000_005, 1_500_000_005))
    watched = altered_files.watch(tmp_path, ["file"])
    (tmp_path / "file").write_text(text)
    os.utime(tmp_path / "file", ns=(1_500_000_005, 1_500_000_005 + nanoseconds))
    assert not altered_files.looks_unchanged(tmp_path, watched)


def lead_elsewhere(link: Path, place: str) -> None:
    """Have a link lead to another place."""
    link.unlink()
    link.symlink_to(place)


CHECKOUT: dict[str, Alter] = {
    "a name": lambda folder: (folder / "code.py").rename(folder / "coder.py"),
    "a content": lambda folder: (folder / "code.py").write_text("y"),
    "where a link leads": lambda folder: lead_elsewhere(folder / "link", "sub"),
    "where a link to a folder leads": lambda folder: lead_elsewhere(folder / "sub2", "code.py"),
    "a file in a folder below that is called like Git's": lambda folder: (folder / "sub/.git/config").write_text("y"),
    "a new file": lambda folder: (folder / "sub/new").write_text(""),
    "a file less": lambda folder: (folder / "code.py").unlink(),
}


@pytest.mark.parametrize("alter", CHECKOUT.values(), ids=CHECKOUT)
def test_the_hash_of_a_checkout_is_of_all_that_is_in_it(tmp_path: Path, alter: Alter) -> None:
    """But for the folder in which Git keeps its own."""
    for name in (".git/config", "code.py", "sub/.git/config"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "link").symlink_to("code.py")
    (tmp_path / "sub2").symlink_to("sub")

    def digest() -> str:
        return altered_files.checkout_digest(tmp_path, altered_files.checkout_files(tmp_path))

    before = digest()
    (tmp_path / ".git/index").write_text("")
    assert digest() == before
    alter(tmp_path)
    assert digest() != before


def test_an_edit_of_a_project_is_seen_where_its_code_is(tmp_path: Path) -> None:
    """Of a file by its size or its time, wherever it lies; not in what Git, tools and builds keep there."""
    file = tmp_path / "src/code.py"
    file.parent.mkdir()
    states = set()
    for text, seconds in (("x", 1), ("x", 2), ("xx", 2)):
        file.write_text(text)
        os.utime(file, (seconds, seconds))
        states.add(altered_files.source_stamp(tmp_path))
    file = file.rename(tmp_path / "src/other.py")
    states.add(altered_files.source_stamp(tmp_path))
    assert len(states) == 4
    for folder in (".git", ".venv", "build", "src/__pycache__", ".mypy_cache", "node_modules"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "file").write_text("x")
    assert altered_files.source_stamp(tmp_path) in states
    (tmp_path / "src/builder").mkdir()
    (tmp_path / "src/builder/file").write_text("x")
    assert altered_files.source_stamp(tmp_path) not in states


def test_what_installers_recorded_is_asked_of_what_lies_below_only(tmp_path: Path) -> None:
    """Of each file with a hash, and of the record itself; a record may name files anywhere."""
    record = tmp_path / "x-1.dist-info/RECORD"
    record.parent.mkdir()
    record.write_text(
        "x.py,sha256=abc,3\n../bin/x,sha256=abc,3\n/etc/x,sha256=abc,3\na/../../x,sha256=abc,3\nx.txt,,\n"
    )
    found = altered_files.installed_files(tmp_path)
    assert list(found) == ["x.py", "x-1.dist-info/RECORD"]
    record.write_text(record.read_text() + "y.txt,,\n")
    again = altered_files.installed_files(tmp_path)
    assert again["x.py"] == found["x.py"]
    assert altered_files.digest_of(again) != altered_files.digest_of(found)
    record.write_bytes(b'"a,b\r.py",sha256=abc,3\r\n')
    assert list(altered_files.installed_files(tmp_path)) == ["a,b\r.py", "x-1.dist-info/RECORD"]


def test_whoever_adds_something_that_is_imported_is_noticed(tmp_path: Path) -> None:
    """What Python itself writes beside modules, and data, are no such thing."""
    added = ["a.py", "b.pyc", "c.so", "d.pyd", "e.pth", "sub/f.py"]
    for name in (*added, "data.csv", "sub/__pycache__/f.cpython-311.pyc", "sub/py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    assert list(altered_files.altered_files(tmp_path, {})) == added


def test_few_files_are_looked_at(tmp_path: Path) -> None:
    """At most 64, the outermost ones: a load does not get slower with the size of a plugin."""
    names = [f"deep/{number}.py" for number in range(100)] + ["pyproject.toml"]
    (tmp_path / "deep").mkdir()
    for name in names:
        (tmp_path / name).write_text("")
    watched = altered_files.watch(tmp_path, names)
    assert len(watched) == 64
    assert "pyproject.toml" in watched


@pytest.mark.parametrize("watched", [{"nodes.py": None}, {"nodes.py": [1]}, {"nodes.py": "xx"}, {"no": [0, 0]}])
def test_a_marker_that_somebody_changed_vouches_for_nothing(
    registry: NodeRegistry, config: dict[str, object], cache: Path, watched: object
) -> None:
    """All files are read then, and are as they were."""
    for marker in (cache / "echo@v1.0.0/.git/cuvis-checkout.json", *cache.glob(".targets/*/*/cuvis-target.json")):
        marker.write_text(json.dumps({**json.loads(marker.read_text()), "watched": watched}))
    registry.load_plugin("echo", config)
    assert all("watched" in marker.read_text() for marker in cache.glob(".targets/*/*/cuvis-target.json"))


def test_an_edited_dependency_is_not_installed_again_from_the_cache_of_uv(
    registry: NodeRegistry,
    git_host: GitHost,
    project_files: Callable[..., Files],
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An edit in a target directory is one in uv's cache, which links files: uv is asked for a fresh copy then."""
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache of uv"))
    url = git_host.add("linked-dependency", project_files(dependencies=("toolz==1.0.0",)), tag="v1.0.0")
    config = {"repo": url, "tag": "v1.0.0", "provides": ["echo_plugin.nodes.Echo"]}
    registry.load_plugin("echo", config)
    registry.unload_plugin("echo")
    (file,) = cache.glob(".targets/*/*/toolz/dicttoolz.py")
    whole = file.read_bytes()
    with file.open("ab") as appended:
        appended.write(b"# edited\n")
    remove_tree(cache / ".targets")
    registry.load_plugin("echo", config)
    (again,) = cache.glob(".targets/*/*/toolz/dicttoolz.py")
    assert again.read_bytes() == whole


def test_what_somebody_removes_while_it_is_looked_at_was_not_altered(
    config: dict[str, object], target: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who looks has no lock yet: what another process moves away at that moment is not there, and is made anew."""
    look = altered_files.looks_unchanged

    def while_another_process_clears(folder: Path, watched: altered_files.Watched) -> bool:
        folder.replace(cache / f".tmp/{folder.name}")
        return look(folder, watched)

    monkeypatch.setattr(altered_files, "looks_unchanged", while_another_process_clears)
    monkeypatch.setattr(altered_entries, "looks_unchanged", while_another_process_clears)
    key = next(iter(json.loads((target / "cuvis-target.json").read_text())["hosts"]))
    assert target_for(target.parent, key) is None
    assert usable_source("echo", GitPlugin.model_validate(config), Store(cache)) is None
    assert not target.exists()
    assert not (cache / "echo@v1.0.0").exists()


@pytest.mark.parametrize("remembered", [False, True])
def test_a_stale_file_of_another_machine_was_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, remembered: bool
) -> None:
    """A folder of a server (NFS) says so of what went while it was open; what is still there is another fault.

    So it is where the state of a folder is remembered, and not asked for anew.
    """
    if remembered:
        monkeypatch.setattr(os, "stat", functools.cache(os.stat))

    def stale() -> None:
        raise OSError(errno.ESTALE, "Stale file handle")

    def removed() -> None:
        tmp_path.joinpath("entry").rmdir()
        stale()

    entry = tmp_path / "entry"
    entry.mkdir()
    with pytest.raises(OSError, match="Stale"):
        altered_entries.unless_removed(entry, stale)
    assert altered_entries.unless_removed(entry, removed) is None
