"""Without a network: what is there is loaded, what is missing is named, and no connection is opened."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.cli.main import main as cuvis_ai
from cuvis_ai_core.errors import OfflineError, PluginLoadError, PluginsLoadError
from cuvis_ai_core.testing.git_host import GitHost

Files = dict[str, str]


class Trap:
    """A server that answers nobody, and counts who comes."""

    def __init__(self) -> None:
        self.visits = 0
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._wait, daemon=True).start()

    def _wait(self) -> None:
        with suppress(OSError):
            while True:
                self._server.accept()[0].close()
                self.visits += 1

    def close(self) -> None:
        """Stop."""
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()


@pytest.fixture
def trap(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Trap]:
    """Have a trap that every program would run into: as proxy and as package index; uv's cache is empty."""
    trap = Trap()
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(variable, trap.address)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"{trap.address}/simple")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "empty uv cache"))
    yield trap
    trap.close()


@pytest.fixture
def manifest(tmp_path: Path, git_plugin: Callable[..., str], local_plugin: Callable[..., Path]) -> Path:
    """Return a manifest with two plugins that are not in the cache, one that lacks a package, and one that is whole."""
    url = git_plugin("1.0.0")
    local_plugin("ready", package="ready_plugin", node="Ready")
    local_plugin("lacking", package="lacking_plugin", dependencies=("cuvis-test-nobody-made-this>=2",))
    path = tmp_path / "plugins.yaml"
    path.write_text(
        f"plugins:\n"
        f"  first: {{repo: '{url}', tag: v1.0.0, provides: [echo_plugin.nodes.Echo]}}\n"
        f"  ready: {{path: ready, provides: [ready_plugin.nodes.Ready]}}\n"
        f"  lacking: {{path: lacking, provides: [lacking_plugin.nodes.Echo]}}\n"
        f"  second: {{repo: '{url}', tag: v2.0.0, provides: [echo_plugin.nodes.Echo]}}\n"
    )
    return path


@pytest.fixture(params=["registry", "variable"])
def offline(request: pytest.FixtureRequest, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[NodeRegistry]:
    """Return a registry that may open no connection, told so in each of the two ways."""
    if request.param == "variable":
        monkeypatch.setenv("CUVIS_OFFLINE", "1")
    with NodeRegistry(discover=False, offline=request.param == "registry") as registry:
        yield registry


@pytest.mark.slow
def test_what_is_missing_is_listed_in_one_error_and_no_connection_is_opened(
    offline: NodeRegistry, manifest: Path, git_host: GitHost, request: pytest.FixtureRequest
) -> None:
    """What was whole before is loaded; the next step stands once."""
    with NodeRegistry(discover=False) as registry, pytest.MonkeyPatch.context() as patch:
        patch.delenv("CUVIS_OFFLINE", raising=False)
        with pytest.raises(PluginsLoadError):
            registry.load_plugins(manifest)
        NodeRegistry.clear_plugin_cache("first")
    NodeRegistry.clear_plugin_cache("first")
    trap = request.getfixturevalue("trap")
    requests = git_host.requests
    with pytest.raises(PluginsLoadError, match="3 of 4 plugins") as caught:
        offline.load_plugins(manifest)
    assert offline.list_plugins() == ["ready"]
    assert (git_host.requests, trap.visits) == (requests, 0)
    text = str(caught.value)
    assert "v1.0.0 is not in the plugin cache, and no connection may be opened" in text
    assert "v2.0.0 is not in the plugin cache, and no connection may be opened" in text
    assert "cuvis-test-nobody-made-this" in text
    assert text.count("cuvis-ai plugins bundle") == 1
    assert all(isinstance(error.__cause__, OfflineError) for error in caught.value.failed.values())


def test_a_build_that_lacks_its_back_end_is_named(
    offline: NodeRegistry, local_plugin: Callable[..., Path], trap: Trap
) -> None:
    """Build requirements count as missing too."""
    folder = local_plugin()
    project = (folder / "pyproject.toml").read_text()
    project = project.replace('["uv_build"]', '["hatchling"]').replace('"uv_build"', '"hatchling.build"')
    (folder / "pyproject.toml").write_text(project)
    config = {"path": str(folder), "provides": ["echo_plugin.nodes.Echo"]}
    with pytest.raises(PluginLoadError, match="hatchling") as caught:
        offline.load_plugin("echo", config)
    assert isinstance(caught.value.__cause__, OfflineError)
    assert trap.visits == 0


def test_a_warm_cache_needs_no_network(
    offline: NodeRegistry, git_plugin: Callable[..., str], request: pytest.FixtureRequest, git_host: GitHost
) -> None:
    """What was loaded once is loaded again."""
    config = {"repo": git_plugin(), "tag": "v1.0.0", "provides": ["echo_plugin.nodes.Echo"]}
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("CUVIS_OFFLINE", raising=False)
        with NodeRegistry(discover=False) as registry:
            registry.load_plugin("echo", config)
    requests, trap = git_host.requests, request.getfixturevalue("trap")
    offline.load_plugin("echo", config)
    assert (git_host.requests, trap.visits) == (requests, 0)


@pytest.mark.parametrize("value", ["y", "True", "2"])
def test_a_value_that_is_no_no_means_yes(
    registry: NodeRegistry, git_plugin: Callable[..., str], monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    """Whoever sets the variable so, means that nothing is to be asked."""
    monkeypatch.setenv("CUVIS_OFFLINE", value)
    config = {"repo": git_plugin(), "tag": "v1.0.0", "provides": ["echo_plugin.nodes.Echo"]}
    with pytest.raises(PluginLoadError) as caught:
        registry.load_plugin("echo", config)
    assert isinstance(caught.value.__cause__, OfflineError)


@pytest.mark.parametrize("value", ["0", "", "no"])
def test_other_values_of_the_variable_mean_nothing(
    registry: NodeRegistry,
    git_plugin: Callable[..., str],
    git_host: GitHost,
    monkeypatch: pytest.MonkeyPatch,
    value: str,
) -> None:
    """As with the other switches: the plugin is fetched."""
    monkeypatch.setenv("CUVIS_OFFLINE", value)
    config = {"repo": git_plugin(), "tag": "v1.0.0", "provides": ["echo_plugin.nodes.Echo"]}
    requests = git_host.requests
    registry.load_plugin("echo", config)
    assert registry.plugin_info("echo").tag == "v1.0.0"
    assert git_host.requests > requests


@pytest.mark.parametrize(
    "command",
    [
        ("nodes", "show", "Echo", "--plugins-path"),
        ("plugins", "lock"),
    ],
)
def test_commands_that_load_plugins_take_the_option(
    command: tuple[str, ...],
    manifest: Path,
    cache: Path,
    git_host: GitHost,
    trap: Trap,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It ends with the command."""
    requests = git_host.requests
    result = CliRunner().invoke(cuvis_ai, [*command, str(manifest), "--offline"])
    assert result.exit_code == 1
    assert "no connection may be opened" in result.stderr
    assert (git_host.requests, trap.visits) == (requests, 0)
    result = CliRunner().invoke(cuvis_ai, ["plugins", "update", "--dry-run", "--plugins-path", str(manifest)])
    assert git_host.requests > requests or trap.visits


def test_an_update_is_refused_offline(
    manifest: Path, cache: Path, git_host: GitHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Newer tags are with their repositories."""
    monkeypatch.setenv("CUVIS_OFFLINE", "1")
    requests = git_host.requests
    result = CliRunner().invoke(cuvis_ai, ["plugins", "update", "--plugins-path", str(manifest)])
    assert result.exit_code == 1
    assert "was not asked: no connection may be opened" in result.stderr
    assert git_host.requests == requests
