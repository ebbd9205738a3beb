"""An unchanged plugin is loaded from the record of its last load, and from nothing but that; all else looks again."""

import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.errors import PluginLoadError, PluginsLoadError
from cuvis_ai_core.plugins.cache.store import short_hash
from cuvis_ai_core.plugins.dependencies.search_path import site_folders
from cuvis_ai_core.plugins.loading import load_record, loader

PROVIDES = ["echo_plugin.nodes.Echo"]
Load = Callable[..., bool]


@pytest.fixture
def looks(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Return a function that loads a plugin in a new registry, and tells whether everything was looked at.

    The folders of this environment are left out: other tests, which run at the same time, may write there.
    """
    monkeypatch.setattr(load_record, "site_folders", lambda: [each for each in site_folders() if str(tmp_path) in each])
    looked: list[object] = []
    load_all = loader.load

    def counting(*args: Any) -> Any:
        looked.append(args)
        return load_all(*args)

    monkeypatch.setattr(loader, "load", counting)

    def load(config: dict[str, Any], expected: str = "1.0.0") -> bool:
        looked.clear()
        with NodeRegistry(discover=False) as registry:
            registry.load_plugin("echo", config)
            assert expected == registry.get("Echo").VERSION  # type: ignore[attr-defined]
            assert registry.plugin_info("echo").nodes == tuple(PROVIDES)
        return bool(looked)

    return load


@pytest.fixture
def project(local_plugin: Callable[..., Path]) -> Path:
    """Return the folder of a plugin whose project file nobody edited just now."""
    folder = local_plugin()
    time.sleep(0.1)
    return folder


@pytest.fixture
def local(project: Path, looks: Load) -> dict[str, Any]:
    """Return the entry of a local plugin that was loaded before."""
    config = {"path": str(project), "provides": PROVIDES}
    assert looks(config)
    assert not looks(config)
    return config


@pytest.fixture
def git(git_plugin: Callable[..., str], looks: Load) -> dict[str, Any]:
    """Return the entry of a plugin from a tag that was loaded before."""
    config = {"repo": git_plugin(), "tag": "v1.0.0", "provides": PROVIDES}
    assert looks(config)
    assert not looks(config)
    return config


def record_of(cache: Path) -> Path:
    """Return the record of the only plugin."""
    (record,) = cache.glob(".records/*")
    return record


def test_edited_code_is_seen(local: dict[str, Any], project: Path, looks: Load) -> None:
    """Code of a local plugin is looked at on every load, whatever the record says."""
    nodes = project / "src/echo_plugin/nodes.py"
    nodes.write_text(nodes.read_text().replace("1.0.0", "3.0.0"))
    assert not looks(local, "3.0.0")


def test_a_new_module_is_seen(local: dict[str, Any], project: Path, looks: Load) -> None:
    """A module that is added beside the plugin's package is its own from the next load on."""
    (project / "src/echo_more.py").write_text("VERSION = '4.0.0'")
    nodes = project / "src/echo_plugin/nodes.py"
    nodes.write_text(f"from echo_more import VERSION as MORE\n{nodes.read_text()}    VERSION = MORE\n")
    assert not looks(local, "4.0.0")


def edit_project(project: Path) -> None:
    """Require something else, in as many characters, and set the time back."""
    file = project / "pyproject.toml"
    state = file.stat()
    file.write_text(file.read_text().replace('version = "1.0.0"', 'version = "1.0.1"'))
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))


def touch_project(project: Path) -> None:
    """Give the project file another time."""
    os.utime(project / "pyproject.toml")


def lose_project(project: Path) -> None:
    """Put another file in its place, which has the same content."""
    file = project / "pyproject.toml"
    shutil.copy2(file, project / "copy")
    (project / "copy").replace(file)


@pytest.mark.parametrize("change", [edit_project, touch_project, lose_project])
def test_a_changed_project_file_is_read(
    local: dict[str, Any], project: Path, looks: Load, change: Callable[[Path], None]
) -> None:
    """Whatever was done to the project file, it is read; afterwards the record is right again."""
    change(project)
    assert looks(local)
    time.sleep(0.1)
    looks(local)
    assert not looks(local)


def test_an_edit_during_the_load_is_not_missed(project: Path, looks: Load, cache: Path) -> None:
    """A project file that was edited a moment ago could be edited again within the same time: nothing is noted."""
    config = {"path": str(project), "provides": PROVIDES}
    os.utime(project / "pyproject.toml", (time.time() + 5, time.time() + 5))
    assert looks(config)
    assert looks(config)
    assert not list(cache.glob(".records/*"))


def test_a_new_distribution_in_the_host_is_noticed(
    project: Path, looks: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is installed in the host decides which dependencies a plugin lacks."""
    site = tmp_path / "site-packages"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    time.sleep(0.1)
    config = {"path": str(project), "provides": PROVIDES}
    assert looks(config)
    assert not looks(config)
    (site / "new-1.0.dist-info").mkdir()
    assert looks(config)
    time.sleep(0.1)
    looks(config)
    assert not looks(config)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != str(site)])
    assert looks(config)


def test_another_interpreter_looks_itself(local: dict[str, Any], looks: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record is for one interpreter."""
    with monkeypatch.context() as patch:
        patch.setattr(sys.implementation, "cache_tag", "cpython-399")
        assert looks(local)
    assert not looks(local)


@pytest.mark.parametrize("option", [{"build": ["antlr"]}, {"isolation": "auto"}, {"provides": [*PROVIDES]}])
def test_other_options_are_another_entry(local: dict[str, Any], looks: Load, option: dict[str, Any]) -> None:
    """A record is for an entry as it stands in the manifest."""
    assert looks({**local, **option}) is (option != {"provides": PROVIDES})


def test_an_entry_that_breaks_a_rule_is_refused_as_ever(local: dict[str, Any]) -> None:
    """The record of a good entry says nothing about a bad one."""
    with NodeRegistry(discover=False) as registry, pytest.raises(ValueError, match="colour"):
        registry.load_plugin("echo", {**local, "colour": "red"})


def test_a_removed_target_is_installed_again(local: dict[str, Any], looks: Load, cache: Path) -> None:
    """A record does not replace what it tells of."""
    shutil.rmtree(cache / ".targets")
    assert looks(local)


def test_clearing_forgets(local: dict[str, Any], looks: Load, cache: Path) -> None:
    """What is removed from the plugin cache leaves no record."""
    NodeRegistry.clear_plugin_cache("echo")
    assert not list(cache.glob(".records/*"))
    assert looks(local)


def test_a_link_that_leads_elsewhere_now(
    local_plugin: Callable[..., Path], tmp_path: Path, looks: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path may be a link, or begin at the working directory: what counts is where it leads."""
    first, second = local_plugin(), tmp_path / "second"
    shutil.copytree(first, second)
    nodes = second / "src/echo_plugin/nodes.py"
    nodes.write_text(nodes.read_text().replace("1.0.0", "2.0.0"))
    link = tmp_path / "here" / "link"
    link.parent.mkdir()
    link.symlink_to(first)
    time.sleep(0.1)
    monkeypatch.chdir(link.parent)
    config = {"path": "link", "provides": PROVIDES}
    assert looks(config)
    assert not looks(config)
    link.unlink()
    link.symlink_to(second)
    assert looks(config, "2.0.0")


def half(record: Path) -> None:
    """Leave half of it, as a disk that got full."""
    record.write_bytes(record.read_bytes()[: record.stat().st_size // 2])


def empty(record: Path) -> None:
    """Leave nothing."""
    record.write_bytes(b"")


def another_kind(record: Path) -> None:
    """Write something that is no record, under its right hash."""
    record.write_text(f"{short_hash('[1, 2]')}\n[1, 2]")


def code(record: Path) -> None:
    """Write something that would run, if anybody ran it."""
    text = "print('run') or exit()"
    record.write_text(f"{short_hash(text)}\n{text}")


def altered(record: Path) -> None:
    """Have it name another class."""
    text = record.read_text()
    known = "'nodes': ('echo_plugin.nodes.Echo"
    assert known in text
    record.write_text(text.replace(known, known.replace("Echo", "Evil")))


def of_the_future(record: Path) -> None:
    """Have it written by another version."""
    text = record.read_text().partition("\n")[2].replace("'format': ", "'format': 1")
    record.write_text(f"{short_hash(text)}\n{text}")


def a_folder(record: Path) -> None:
    """Put a folder in its place."""
    record.unlink()
    record.mkdir()


@pytest.mark.parametrize("spoil", [half, empty, another_kind, code, altered, of_the_future, a_folder])
def test_a_spoilt_record_is_no_record(
    local: dict[str, Any], looks: Load, cache: Path, spoil: Callable[[Path], None]
) -> None:
    """Whatever somebody did to it, the load looks at everything."""
    spoil(record_of(cache))
    assert looks(local)


def test_a_copied_cache_does_not_lead_back(
    local: dict[str, Any], looks: Load, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of a plugin cache stands for itself: nothing is taken from the one that it was made of."""
    copy = tmp_path / "copy"
    shutil.copytree(cache, copy)
    monkeypatch.setattr(NodeRegistry, "_cache_dir", copy)
    assert looks(local)
    with NodeRegistry(discover=False) as registry:
        registry.load_plugin("echo", local)
        assert registry.plugin_info("echo").target.is_relative_to(copy)


def test_a_cache_that_cannot_be_written_serves(local: dict[str, Any], looks: Load, cache: Path) -> None:
    """Records are best effort."""
    shutil.rmtree(cache / ".records")
    (cache / ".records").write_text("no folder")
    assert looks(local)
    assert looks(local)


@pytest.mark.parametrize("place", [".git/HEAD", "src/echo_plugin/nodes.py", "pyproject.toml"])
def test_an_altered_checkout_is_refused_as_ever(git: dict[str, Any], cache: Path, place: str) -> None:
    """A checkout that is at another commit, or has other files, is found out as it is without a record."""
    (checkout,) = cache.glob("echo@*")
    file = checkout / place
    file.write_text(file.read_text().replace("1", "2"))
    with NodeRegistry(discover=False) as registry, pytest.raises(PluginLoadError, match="Tag mismatch"):
        registry.load_plugin("echo", git)


def test_an_altered_target_is_refused_as_ever(git: dict[str, Any], cache: Path) -> None:
    """So is what was installed."""
    (file,) = cache.glob(".targets/*/*/echo_plugin/nodes.py")
    file.unlink()
    file.write_text("VERSION = '6.6.6'")
    with NodeRegistry(discover=False) as registry, pytest.raises(PluginLoadError, match="Tag mismatch"):
        registry.load_plugin("echo", git)


def test_another_tag_is_another_entry(git: dict[str, Any], looks: Load) -> None:
    """The record of one tag says nothing about another."""
    with pytest.raises(PluginLoadError):
        looks({**git, "tag": "v2.0.0"})
    assert not looks(git)


def test_observers_hear_the_same(local: dict[str, Any]) -> None:
    """Whoever watches a plugin's states sees no difference between the two ways."""

    class Observer:
        def __init__(self) -> None:
            self.heard: list[tuple[str, str]] = []

    from cuvis_ai_hookspecs import hookimpl

    class Listening(Observer):
        @hookimpl
        def cuvis_ai_plugin_state(self, plugin: str, state: str, detail: str) -> None:
            assert plugin == "echo"
            self.heard.append((str(state), detail))

    def states(config: dict[str, Any]) -> list[tuple[str, str]]:
        listening = Listening()
        with NodeRegistry(discover=False) as registry:
            registry.register_hooks(listening, "listening")
            registry.load_plugin("echo", config)
        return listening.heard

    short = states(local)
    long = states({**local, "extras": []})
    assert short == long


def test_a_failing_import_fails_once(local: dict[str, Any], project: Path, looks: Load) -> None:
    """Code that raises is run once, and the error names the step, as without a record."""
    nodes = project / "src/echo_plugin/nodes.py"
    kept = nodes.read_text()
    ran = project / "ran"
    nodes.write_text(f"from pathlib import Path\nPath({str(ran)!r}).mkdir()\nraise RuntimeError('broken')")
    with NodeRegistry(discover=False) as registry:
        with pytest.raises(PluginLoadError, match=r"\(importing\): RuntimeError: broken"):
            registry.load_plugin("echo", local)
        assert list(registry.failed_plugins) == ["echo"]
        ran.rmdir()
        nodes.write_text(kept)
        registry.load_plugin("echo", local)
        assert not registry.failed_plugins


def test_the_same_entry_again_does_nothing(local: dict[str, Any]) -> None:
    """A plugin that was loaded by its record is compared with what is asked for later."""
    with NodeRegistry(discover=False) as registry:
        registry.load_plugin("echo", local)
        known = registry.get("Echo")
        registry.load_plugin("echo", {**local, "extras": []})
        assert registry.get("Echo") is known
        with pytest.raises(ValueError, match="another configuration"):
            registry.load_plugin("echo", {**local, "isolation": "auto"})


@pytest.fixture
def manifest(project: Path, git_plugin: Callable[..., str], tmp_path: Path) -> Path:
    """Return a manifest of a local plugin and one from a tag, which nobody edited just now."""
    url = git_plugin(package="other_plugin", node="Other")
    file = tmp_path / "plugins.yaml"
    file.write_text(
        f"plugins:\n"
        f"  echo:\n    path: {os.path.relpath(project, tmp_path)}\n    provides: [echo_plugin.nodes.Echo]\n"
        f"  other:\n    repo: {url}\n    tag: v1.0.0\n    provides: [other_plugin.nodes.Other]\n"
    )
    time.sleep(0.1)
    return file


@pytest.fixture
def looks_at(looks: Load, monkeypatch: pytest.MonkeyPatch) -> Callable[..., bool]:
    """Return a function that loads a manifest in a new registry, and tells whether everything was looked at."""
    looked: list[object] = []
    load_all = loader.load

    def counting(*args: Any) -> Any:
        looked.append(args)
        return load_all(*args)

    monkeypatch.setattr(loader, "load", counting)

    def load(path: Path, names: list[str], **options: Any) -> bool:
        looked.clear()
        with NodeRegistry(discover=False) as registry:
            assert registry.load_plugins(path, **options) == len(names)
            assert registry.list_plugins() == names
        return bool(looked)

    return load


def test_an_unchanged_manifest_is_not_read_again(manifest: Path, looks_at: Callable[..., bool]) -> None:
    """Several plugins at once have one record; so have some of them, by their names."""
    both = ["echo", "other"]
    assert looks_at(manifest, both)
    assert not looks_at(manifest, both)
    assert looks_at(manifest, ["other"], only=iter(["other"]))
    assert not looks_at(manifest, ["other"], only={"other"})


def test_an_edited_manifest_is_read(manifest: Path, looks_at: Callable[..., bool]) -> None:
    """Whatever was written into it counts at once."""
    looks_at(manifest, ["echo", "other"])
    manifest.write_text(manifest.read_text().replace("other:", "third:"))
    assert looks_at(manifest, ["echo", "third"])
    manifest.write_text("plugins: {}")
    assert not looks_at(manifest, [])
    manifest.unlink()
    with NodeRegistry(discover=False) as registry, pytest.raises(ValueError, match="manifest"):
        registry.load_plugins(manifest)


def test_a_lock_file_that_appears_counts(manifest: Path, looks_at: Callable[..., bool]) -> None:
    """That there was none is among what decided."""
    looks_at(manifest, ["echo", "other"])
    manifest.with_suffix(".lock").write_text("version = 99")
    with NodeRegistry(discover=False) as registry, pytest.raises(ValueError, match="version"):
        registry.load_plugins(manifest)


def test_a_link_in_a_manifest_that_leads_elsewhere_now(
    manifest: Path, project: Path, tmp_path: Path, looks_at: Callable[..., bool]
) -> None:
    """Paths of a manifest may be links, too."""
    second = tmp_path / "second"
    shutil.copytree(project, second)
    link = tmp_path / "link"
    link.symlink_to(project)
    manifest.write_text("plugins:\n  echo:\n    path: link\n    provides: [echo_plugin.nodes.Echo]\n")
    time.sleep(0.1)
    assert looks_at(manifest, ["echo"])
    assert not looks_at(manifest, ["echo"])
    link.unlink()
    link.symlink_to(second)
    assert looks_at(manifest, ["echo"])


def test_one_that_is_loaded_already_is_compared(manifest: Path, looks_at: Callable[..., bool], project: Path) -> None:
    """A record does not pass over what the registry has under a name."""
    looks_at(manifest, ["echo", "other"])
    with NodeRegistry(discover=False) as registry:
        registry.load_plugin("echo", {"path": str(project), "provides": PROVIDES, "isolation": "auto"})
        with pytest.raises(PluginsLoadError, match="another configuration"):
            registry.load_plugins(manifest)
        assert registry.list_plugins() == ["echo", "other"]


def test_failing_plugins_of_a_manifest_are_named(manifest: Path, looks_at: Callable[..., bool], project: Path) -> None:
    """One that fails is told of as ever; the others stay loaded."""
    looks_at(manifest, ["echo", "other"])
    (project / "src/echo_plugin/nodes.py").write_text("raise RuntimeError('broken')")
    with NodeRegistry(discover=False) as registry:
        with pytest.raises(PluginsLoadError, match="1 of 2 plugins") as caught:
            registry.load_plugins(manifest)
        assert caught.value.loaded == ("other",)
        assert list(registry.failed_plugins) == ["echo"]


def test_other_places_of_a_policy_are_looked_at(
    local: dict[str, Any], looks: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By these variables another one may be in force."""
    assert not looks(local)
    for name in ("XDG_CONFIG_HOME", "XDG_CONFIG_DIRS", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
        assert looks(local)
        assert not looks(local)


def test_credentials_are_noted_nowhere(git: dict[str, Any], looks: Load, cache: Path) -> None:
    """Such an entry is looked at each time."""
    secret = {**git, "repo": git["repo"].replace("http://", "http://me:secret@")}
    assert looks(secret)
    assert looks(secret)
    assert "secret" not in "".join(each.read_text() for each in cache.glob(".records/*"))


def test_a_path_below_a_home_is_looked_at(project: Path, looks_at: Callable[..., bool], tmp_path: Path) -> None:
    """It may be another home the next time."""
    (Path.home() / "echo").symlink_to(project)
    manifest = tmp_path / "plugins.yaml"
    manifest.write_text("plugins: {echo: {path: ~/echo, provides: [echo_plugin.nodes.Echo]}}\n")
    time.sleep(0.1)
    assert looks_at(manifest, ["echo"])
    assert looks_at(manifest, ["echo"])
