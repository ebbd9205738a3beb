"""The plugins of one manifest: fetched and installed side by side, their dependencies resolved together."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cuvis_ai_hookspecs import hookimpl

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.errors import (
    DependencyConflictError,
    DependencyNotFoundError,
    PluginLoadError,
    PluginsLoadError,
    StoreError,
)
from cuvis_ai_core.testing.git_host import GitHost

Files = dict[str, str]
MakeWheel = Callable[..., None]
WriteManifest = Callable[..., Path]

USER = """
import cuvis_test_dep
Echo.DEPENDENCY = cuvis_test_dep.VERSION
"""


@pytest.fixture
def versions(tmp_path: Path, make_wheel: MakeWheel, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Return a function that builds versions of `cuvis-test-dep`; what tests import of it is forgotten in the end."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("UV_FIND_LINKS", str(folder))

    def make(*numbers: str, **options: Any) -> None:
        for number in numbers:
            make_wheel(
                folder, "cuvis-test-dep", number, {"cuvis_test_dep/__init__.py": f"VERSION = {number!r}\n"}, **options
            )

    yield make
    for module in [name for name in sys.modules if name.partition(".")[0] == "cuvis_test_dep"]:
        del sys.modules[module]


@pytest.fixture
def manifest(tmp_path: Path, project_files: Callable[..., Files], write_files: Callable[..., Path]) -> WriteManifest:
    """Return a function that writes local plugins and their manifest, and returns its path."""

    def write(name: str = "plugins.yaml", **plugins: tuple[str, ...]) -> Path:
        lines = ["plugins:"]
        for plugin, requires in plugins.items():
            files = project_files(plugin, dependencies=requires)
            if any("cuvis-test-dep" in each for each in requires):
                files[f"src/{plugin}/nodes.py"] += USER
            write_files(tmp_path / plugin, files)
            lines.append(f"  {plugin}: {{path: {plugin}, provides: [{plugin}.nodes.Echo]}}")
        path = tmp_path / name
        path.write_text("\n".join(lines))
        return path

    return write


def dependency(registry: NodeRegistry, plugin: str) -> str:
    """Return which version of the dependency a plugin got."""
    return registry.get(f"{plugin}.nodes.Echo").DEPENDENCY  # type: ignore[attr-defined, no-any-return]


def test_one_version_is_chosen_that_suits_all(
    registry: NodeRegistry, versions: Callable[..., None], manifest: WriteManifest
) -> None:
    """The first plugin alone would have got the newest, with which the second could not live."""
    versions("1.0", "2.0", pure=False)
    path = manifest(first=("cuvis-test-dep",), second=("cuvis-test-dep<2",))
    assert registry.load_plugins(path) == 2
    assert (dependency(registry, "first"), dependency(registry, "second")) == ("1.0", "1.0")


def test_a_plugin_alone_gets_what_suits_it_alone(
    registry: NodeRegistry, versions: Callable[..., None], manifest: WriteManifest, tmp_path: Path
) -> None:
    """Both target directories exist, and each is found again without a process."""
    versions("1.0", "2.0")
    path = manifest(first=("cuvis-test-dep",), second=("cuvis-test-dep<2",))
    config = {"path": str(tmp_path / "first"), "provides": ["first.nodes.Echo"]}

    def loaded(load: Callable[[], Any]) -> Path:
        load()
        target = registry.plugin_info("first").target
        registry.clear_plugins()
        return target

    together = loaded(lambda: registry.load_plugins(path))
    alone = loaded(lambda: registry.load_plugin("first", config))
    assert together != alone
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "Popen", _refuse)
        assert loaded(lambda: registry.load_plugins(path)) == together
        assert loaded(lambda: registry.load_plugin("first", config)) == alone


def test_the_same_versions_in_other_company_are_chosen_once(
    registry: NodeRegistry,
    versions: Callable[..., None],
    manifest: WriteManifest,
    tmp_path: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A target directory that a plugin has beside others serves it alone too, from then on without a process."""
    versions("1.0")
    path = manifest(first=("cuvis-test-dep",), second=("cuvis-test-dep",))
    registry.load_plugins(path)
    together = registry.plugin_info("first").target
    for _ in range(2):
        registry.clear_plugins()
        registry.load_plugin("first", {"path": str(tmp_path / "first"), "provides": ["first.nodes.Echo"]})
        assert registry.plugin_info("first").target == together
        # What is remembered beside the installed files has to do: without the record of the last load.
        for record in cache.glob(".records/*"):
            record.unlink()
        monkeypatch.setattr(subprocess, "Popen", _refuse)


def _refuse(*arguments: object, **options: object) -> None:
    raise AssertionError(f"a process was started: {arguments}")


def test_another_manifest_that_chooses_the_same_takes_the_same_target(
    registry: NodeRegistry, versions: Callable[..., None], manifest: WriteManifest, cache: Path
) -> None:
    """A target is the same whoever builds it; only what chose it is remembered more than once."""
    versions("1.0")
    registry.load_plugins(manifest(first=("cuvis-test-dep",), second=()))
    registry.clear_plugins()
    registry.load_plugins(manifest("other.yaml", first=("cuvis-test-dep",), third=()))
    assert len(list(cache.glob(".targets/first@*/*"))) == 1


@pytest.mark.slow
def test_what_was_chosen_later_goes_before_what_was_chosen_first(
    registry: NodeRegistry, versions: Callable[..., None], manifest: WriteManifest, tmp_path: Path
) -> None:
    """Where one target was cleared, all plugins are resolved anew and agree again."""
    versions("1.0", pure=False)
    path = manifest(first=("cuvis-test-dep",), second=("cuvis-test-dep",))
    registry.load_plugins(path)
    registry.clear_plugins()
    for module in [name for name in sys.modules if name.startswith("cuvis_test_dep")]:
        del sys.modules[module]
    versions("2.0", pure=False)
    NodeRegistry.clear_plugin_cache("second")
    for _ in range(2):
        registry.load_plugins(path)
        assert {dependency(registry, "first"), dependency(registry, "second")} == {"2.0"}
        registry.clear_plugins()


@pytest.mark.slow
def test_pure_versions_that_contradict_are_private_to_the_one_that_disagrees(
    registry: NodeRegistry, versions: Callable[..., None], manifest: WriteManifest
) -> None:
    """The others share one version; plugins are accepted in the order of the manifest."""
    versions("1.0", "1.5", "2.0")
    path = manifest(first=("cuvis-test-dep",), second=("cuvis-test-dep<2",), third=("cuvis-test-dep>=2",), fourth=())
    assert registry.load_plugins(path) == 4
    assert [dependency(registry, name) for name in ("first", "second", "third")] == ["1.5", "1.5", "2.0"]


@pytest.mark.slow
@pytest.mark.parametrize("again", [False, True], ids=["at first", "from the cache"])
def test_compiled_versions_that_contradict_are_one_error_with_all_who_have_a_say(
    registry: NodeRegistry, versions: Callable[..., None], manifest: WriteManifest, *, again: bool
) -> None:
    """It names plugins, requirements, versions and the way out; the plugins that agree stay loaded."""
    versions("1.0", "2.0", pure=False)
    path = manifest(first=("cuvis-test-dep<2",), other=(), second=("cuvis-test-dep>=2",))
    if again:
        with pytest.raises(PluginsLoadError):
            registry.load_plugins(path)
        registry.clear_plugins()
    with pytest.raises(PluginsLoadError, match="1 of 3 plugins") as caught:
        registry.load_plugins(path)
    assert registry.list_plugins() == ["first", "other"]
    error = caught.value.failed["second"].__cause__
    assert isinstance(error, DependencyConflictError)
    assert str(error).startswith("Dependency conflict: package second requires cuvis-test-dep>=2, but 1.0 is")
    assert "plugin 'first': package first requires cuvis-test-dep<2 and was given 1.0" in str(error)
    assert "plugin 'second': package second requires cuvis-test-dep>=2 and was given 2.0" in str(error)
    assert "isolation: process" in str(error)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        ("cuvis-test-nobody-made-this", DependencyNotFoundError),
        ("cuvis-ai-core<1", DependencyConflictError),
        ("cuvis-test-dep>=3", DependencyNotFoundError),
    ],
)
def test_a_plugin_that_cannot_be_resolved_does_not_hinder_the_others(
    registry: NodeRegistry, versions: Callable[..., None], manifest: WriteManifest, wrong: str, kind: type[Exception]
) -> None:
    """They are resolved together without it."""
    versions("1.0", "2.0", pure=False)
    path = manifest(first=("cuvis-test-dep",), broken=(wrong,), second=("cuvis-test-dep<2",))
    with pytest.raises(PluginsLoadError) as caught:
        registry.load_plugins(path)
    assert caught.value.loaded == ("first", "second")
    broken = caught.value.failed["broken"]
    assert isinstance(broken, PluginLoadError)
    assert isinstance(broken.__cause__, kind)
    assert broken.step == "resolving"
    assert (dependency(registry, "first"), dependency(registry, "second")) == ("1.0", "1.0")


@pytest.mark.slow
def test_requirements_that_only_a_build_can_tell_take_part(
    registry: NodeRegistry, versions: Callable[..., None], manifest: WriteManifest, tmp_path: Path
) -> None:
    """A project with dynamic dependencies is built before versions are chosen."""
    versions("1.0", "2.0", pure=False)
    path = manifest(first=("cuvis-test-dep",), second=("cuvis-test-dep<2",))
    (tmp_path / "second/pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "second"\nversion = "1"\ndynamic = ["dependencies"]\n'
        '[tool.setuptools.dynamic]\ndependencies = {file = "needs.txt"}\n'
    )
    (tmp_path / "second/needs.txt").write_text("cuvis-test-dep<2")
    registry.load_plugins(path)
    assert (dependency(registry, "first"), dependency(registry, "second")) == ("1.0", "1.0")


def test_sources_are_fetched_side_by_side(
    registry: NodeRegistry, git_host: GitHost, project_files: Callable[..., Files], tmp_path: Path
) -> None:
    """The host answers nobody before all three have asked."""
    names = [f"together-{which}" for which in "abc"]
    lines = ["plugins:"]
    for name in names:
        url = git_host.add(name, project_files(name.replace("-", "_")), tag="v1")
        plugin = name.replace("-", "_")
        lines.append(f"  {plugin}: {{repo: '{url}', tag: v1, provides: [{plugin}.nodes.Echo]}}")
    path = tmp_path / "plugins.yaml"
    path.write_text("\n".join(lines))
    barrier = threading.Barrier(len(names))
    arrived = git_host._arrived

    def wait() -> None:
        if not barrier.broken and git_host.requests < before + len(names):
            arrived()
            barrier.wait(timeout=60)
        else:
            arrived()

    before = git_host.requests
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(git_host, "_arrived", wait)
        assert registry.load_plugins(path) == 3
    assert not barrier.broken


def test_observers_are_told_in_the_thread_of_the_caller(registry: NodeRegistry, manifest: WriteManifest) -> None:
    """They need not be thread-safe, and may use the registry."""
    told: list[tuple[str, str]] = []
    threads: set[int] = set()

    class Observer:
        @hookimpl
        def cuvis_ai_plugin_state(self, plugin: str, state: str) -> None:
            told.append((plugin, str(state)))
            threads.add(threading.get_ident())
            registry.list_plugins()

    registry.register_hooks(Observer())
    registry.load_plugins(manifest(first=(), second=(), third=()))
    assert threads == {threading.get_ident()}
    for name in ("first", "second", "third"):
        assert [state for plugin, state in told if plugin == name] == [
            "path resolved",
            "installing",
            "importing",
            "registered",
            "active",
        ]


def test_plugins_are_imported_in_the_order_of_the_manifest(registry: NodeRegistry, manifest: WriteManifest) -> None:
    """However long each took before."""
    registry.load_plugins(manifest(zeta=(), alpha=(), mid=()))
    assert registry.list_plugins() == ["zeta", "alpha", "mid"]


def test_what_is_loaded_already_takes_part_but_is_not_loaded_again(
    registry: NodeRegistry, versions: Callable[..., None], manifest: WriteManifest, tmp_path: Path
) -> None:
    """The other plugins of the manifest get what suits all of it."""
    versions("1.0", "2.0")
    path = manifest(first=("cuvis-test-dep<2",), second=("cuvis-test-dep",))
    registry.load_plugin("first", {"path": str(tmp_path / "first"), "provides": ["first.nodes.Echo"]})
    first = registry.get("first.nodes.Echo")
    assert registry.load_plugins(path) == 2
    assert registry.get("first.nodes.Echo") is first
    assert dependency(registry, "second") == "1.0"


def test_a_cache_that_cannot_be_written_fails_every_plugin_that_needs_it(
    registry: NodeRegistry, manifest: WriteManifest, cache: Path
) -> None:
    """One clear error each, and nothing else."""
    cache.write_text("a file where the folder should be")
    with pytest.raises(PluginsLoadError) as caught:
        registry.load_plugins(manifest(first=(), second=()))
    assert [type(error.__cause__) for error in caught.value.failed.values()] == [StoreError, StoreError]


@pytest.mark.skipif(sys.platform == "win32", reason="signals and /proc")
@pytest.mark.usefixtures("interruptible")
def test_an_interruption_ends_the_programs_of_all_threads(tmp_path: Path, project_files: Callable[..., Files]) -> None:
    """Ctrl-C while two fetches hang: the program ends at once, and no git lives on."""
    with GitHost(tmp_path / "git", stall=120) as host:
        urls = [host.add(name, project_files(name), tag="v1") for name in ("one", "two")]
        path = tmp_path / "plugins.yaml"
        path.write_text(
            "plugins:\n"
            + "".join(
                f"  {name}: {{repo: '{url}', tag: v1, provides: [{name}.nodes.Echo]}}\n"
                for name, url in zip(("one", "two"), urls, strict=True)
            )
        )
        code = (
            "import sys; from cuvis_ai_core import NodeRegistry; NodeRegistry(discover=False).load_plugins(sys.argv[1])"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(path)], stderr=subprocess.PIPE, start_new_session=True, env=os.environ
        )
        while host.requests < 2 and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, words = process.communicate(timeout=60)
        assert b"KeyboardInterrupt" in words
        assert process.returncode != 0
        commands = [file.read_bytes() for file in Path("/proc").glob("[0-9]*/cmdline") if file.exists()]
        assert not [command for command in commands if f":{host.port}/".encode() in command]
