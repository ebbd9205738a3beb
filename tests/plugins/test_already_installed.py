"""What of a request is there already, and which of its plugins get a process of their own."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from cuvis_ai_core.errors import CacheMismatchError, LockError, NotAllowedError, SourceError
from cuvis_ai_core.plugins.cache.environment_entry import described, write_environment
from cuvis_ai_core.plugins.cache.sources import Source, local_source
from cuvis_ai_core.plugins.cache.store import Store
from cuvis_ai_core.plugins.cache.target_entry import Target, write_marker
from cuvis_ai_core.plugins.dependencies.distribution import Distribution
from cuvis_ai_core.plugins.installing.already_installed import (
    find_installed,
    keys_of,
    place_of,
    usable_place,
    with_processes,
)
from cuvis_ai_core.plugins.installing.host_wheels import environment_folder
from cuvis_ai_core.plugins.installing.install_request import (
    Carried,
    Choice,
    InstallRequest,
    Needs,
    Versions,
)
from cuvis_ai_core.plugins.manifest.manifest_schema import GitPlugin, LocalPlugin


class _Declared(Versions):
    """Versions as a manifest without a lock file has them, but that one plugin's code may be refused."""

    def __init__(self, refused: str = "") -> None:
        self.refused = refused
        self.asked: list[str] = []

    def check(self, name: str, source: Source) -> None:
        self.asked.append(name)
        if name == self.refused:
            raise LockError("refused", path=source.folder)

    def carried(self, name: str) -> Carried | None:
        return None

    def isolation(self, name: str, declared: GitPlugin | LocalPlugin) -> str:
        return declared.isolation

    def environment(self, name: str) -> Choice | None:
        return None

    def keys(self, places: Mapping[str, Path]) -> dict[str, str]:
        return dict.fromkeys(places, "key")

    def choose(self, plugins: Mapping[str, Needs], uv: object, crew: object) -> dict[str, Choice]:
        raise NotImplementedError


@pytest.fixture
def request_of(tmp_path: Path, local_plugin: Callable[..., Path]) -> Callable[..., InstallRequest]:
    """Return a function that asks for local plugins, each with how it is isolated."""

    def ask(versions: Versions | None = None, **isolation: str) -> InstallRequest:
        plugins = {
            name: LocalPlugin(path=local_plugin(name), provides=("echo_plugin.nodes.Echo",), isolation=how)  # type: ignore[arg-type]
            for name, how in isolation.items()
        }
        told: list[str] = []
        return InstallRequest(
            plugins,
            versions or _Declared(),
            Store(tmp_path / "store"),
            lambda name, *_: told.append(name),
            offline=True,
        )

    return ask


@pytest.mark.parametrize(
    ("wanted", "kept", "processes"),
    [
        (["a", "b", "c", "d"], ["a", "b", "c", "d"], {"b", "d"}),
        (["a", "b"], ["a", "b", "c"], {"b"}),
        (["c"], ["a", "c"], set()),
        ([], ["a", "c"], set()),
    ],
)
def test_of_plugins_with_a_process_only_the_wanted_ones_are_asked_for(
    request_of: Callable[..., InstallRequest], wanted: list[str], kept: list[str], processes: set[str]
) -> None:
    """All of this process agree on versions, also those that are loaded; one that may be either is here at first."""
    found = with_processes(request_of(a="scoped", b="process", c="auto", d="process"), wanted)
    assert list(found.plugins) == kept
    assert found.processes == processes


def test_nothing_is_there_before_it_was_installed(request_of: Callable[..., InstallRequest]) -> None:
    """Nobody is told of a part of it, and to look is no error, whatever is wrong."""
    versions = _Declared()
    request = request_of(versions, a="scoped", b="scoped")
    assert find_installed(request) == {}
    assert versions.asked == ["a", "b"]
    refusing = _Declared("a")
    assert find_installed(request._replace(versions=refusing)) == {}
    assert refusing.asked == ["a"]
    request.store.release()


def test_an_environment_and_a_target_lie_apart(request_of: Callable[..., InstallRequest], tmp_path: Path) -> None:
    """Below the folders of their kinds, each after the name of its plugin."""
    request = with_processes(request_of(a="scoped", b="process"), ["b"])
    source = Source(tmp_path / "a", None, "content")
    places = {name: place_of(name, source, request) for name in request.plugins}
    assert places["a"].is_relative_to(request.store.root / ".targets")
    assert places["b"].is_relative_to(request.store.root / ".envs")
    below = request.plugins["a"].model_copy(update={"subdirectory": "gone"})
    with pytest.raises((SourceError, CacheMismatchError)):
        place_of("a", source, request._replace(plugins={"a": below}))
    request.store.release()


@pytest.mark.parametrize("isolation", ["scoped", "process"])
def test_a_policy_counts_for_what_was_installed_before_it(
    request_of: Callable[..., InstallRequest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, isolation: str
) -> None:
    """By what the plugin needs, as that was resolved, or as its metadata say it."""
    request = with_processes(request_of(a=isolation), ["a"])
    place = place_of("a", local_source(tmp_path / "a"), request)
    if isolation == "process":
        folder = environment_folder(place, request.plugins["a"], None)
        info = folder / "lib/python3.12/site-packages/echo_plugin-1.dist-info"
        for file in (folder / "bin/python", folder / "Scripts/python.exe", info / "RECORD"):
            file.parent.mkdir(parents=True)
            file.touch()
        (info / "METADATA").write_text("Name: echo-plugin\nVersion: 1\nRequires-Dist: numpy\n")
        write_environment(described(folder, "echo-plugin"))
    else:
        (place / "pins").mkdir(parents=True)
        write_marker(Target(place / "pins", Distribution("echo-plugin", "1", ("numpy",)), (), {}, {}, ("key",)))
    keys = keys_of({"a": place}, request)
    assert keys == ({} if isolation == "process" else {"a": "key"})
    assert usable_place("a", place, keys, request) is not None
    (tmp_path / "policy.yaml").write_text('allow: [{path: "/**"}]\nrequire: {bounded_dependencies: true}\n')
    tmp_path.chmod(0o700)
    monkeypatch.setenv("CUVIS_POLICY", str(tmp_path / "policy.yaml"))
    with pytest.raises(NotAllowedError, match="without an upper bound: numpy"):
        usable_place("a", place, keys, request)
    request.store.release()
