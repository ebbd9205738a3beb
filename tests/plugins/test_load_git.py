"""Plugins from a Git tag, served by a real `git http-backend` on loopback."""

import json
import os
import pwd
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.errors import (
    AuthenticationError,
    BuildError,
    CacheMismatchError,
    NetworkError,
    PluginLoadError,
    PluginsLoadError,
    ProjectFileError,
    RepositoryNotFoundError,
    StoreError,
    TagNotFoundError,
    TimeLimitError,
    ToolNotFoundError,
)
from cuvis_ai_core.testing.git_host import GitHost

Files = dict[str, str]
ECHO = ["echo_plugin.nodes.Echo"]

COUNTED = """\
import collections, json, os, sys
events, written = collections.Counter(), []

def count(event, arguments):
    if event.startswith(("socket.", "fcntl.", "os.fork", "os.exec", "os.posix_spawn", "os.system", "subprocess.")):
        events[event] += 1
    if event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        written.append(arguments[0])

sys.addaudithook(count)
from cuvis_ai_core import NodeRegistry
with NodeRegistry(discover=False) as registry:
    registry.load_plugin("echo", json.loads(sys.argv[1]))
    registry.get("Echo")
others = {"filelock", "git", "grpc", "psutil", "torch", "uv"} & {*sys.modules}
print(json.dumps({"events": events, "written": written, "modules": sorted(others)}))
"""


def config(url: str, tag: str = "v1.0.0", provides: list[str] | None = None) -> dict[str, object]:
    """Return a manifest entry."""
    return {"repo": url, "tag": tag, "provides": provides or ECHO}


def failure(registry: NodeRegistry, url: str, tag: str = "v1.0.0") -> PluginLoadError:
    """Load a plugin that cannot be loaded, check that nothing is left, and return the error."""
    with pytest.raises(PluginLoadError) as caught:
        registry.load_plugin("echo", config(url, tag))
    assert str(caught.value).startswith("Failed to load plugin 'echo'")
    assert registry.list_plugins() == []
    assert "Echo" not in registry.plugin_registry
    return caught.value


def test_a_tag_is_cloned_installed_and_loaded(
    registry: NodeRegistry, git_plugin: Callable[..., str], cache: Path
) -> None:
    """The checkout lies at name@tag with its marker, the wheel in a target directory of its own."""
    url = git_plugin("1.0.0")
    registry.load_plugin("echo", config(url))

    info = registry.plugin_info("echo")
    marker = json.loads((cache / "echo@v1.0.0/.git/cuvis-checkout.json").read_text())
    assert registry.get("Echo").VERSION == "1.0.0"  # type: ignore[attr-defined]
    assert (info.kind, info.tag, info.version, info.source) == ("git", "v1.0.0", "1.0.0", url)
    assert info.commit == marker["commit"]
    assert marker["repo"] == url
    assert info.target.is_relative_to(cache / ".targets")
    assert (info.target / "echo_plugin/nodes.py").is_file()
    assert (cache / "README").is_file()


def test_the_checkout_stays_clean(registry: NodeRegistry, git_plugin: Callable[..., str], cache: Path) -> None:
    """Neither marker nor build leave anything in the tree."""
    registry.load_plugin("echo", config(git_plugin()))
    status = subprocess.run(
        ["git", "status", "--porcelain", "--ignored"],
        cwd=cache / "echo@v1.0.0",
        capture_output=True,
        text=True,
        check=True,
    )
    assert status.stdout == ""


def test_a_warm_load_starts_no_process_opens_no_connection_and_takes_no_lock(
    registry: NodeRegistry, git_plugin: Callable[..., str], git_host: GitHost, cache: Path
) -> None:
    """In a process of its own, whose interpreter counts; what only others need is not imported either."""
    url = git_plugin()
    registry.load_plugin("echo", config(url))
    requests = git_host.requests
    environment = {**os.environ, "CUVIS_PLUGINS_DIR": str(cache), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", COUNTED, json.dumps(config(url))],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    said = json.loads(done.stdout)
    assert said["events"] == {}
    assert said["modules"] == []
    assert {Path(path).relative_to(cache).parts[0] for path in said["written"]} == {".uses"}
    assert git_host.requests == requests


def test_a_cold_load_starts_git_and_uv_only_for_what_has_to_be_done(
    cache: Path, git_plugin: Callable[..., str]
) -> None:
    """Git makes, fetches, tells sizes, checks out; uv builds and installs; importing GitPython would start it twice."""
    url = git_plugin()
    environment = {**os.environ, "CUVIS_PLUGINS_DIR": str(cache)}
    command = [sys.executable, "-c", COUNTED, json.dumps(config(url))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    said = json.loads(done.stdout)
    assert said["events"]["subprocess.Popen"] == 6
    assert "git" not in said["modules"]


def test_two_versions_live_side_by_side(cache: Path, git_plugin: Callable[..., str]) -> None:
    """Two registries hold two tags of one plugin, each with its own classes and dependencies intact."""
    url = git_plugin("1.0.0", "2.0.0")
    with NodeRegistry(discover=False) as first, NodeRegistry(discover=False) as second:
        first.load_plugin("echo", config(url, "v1.0.0"))
        second.load_plugin("echo", config(url, "v2.0.0"))
        one, two = first.get("Echo"), second.get("Echo")
        assert (one.VERSION, two.VERSION) == ("1.0.0", "2.0.0")  # type: ignore[attr-defined]
        assert one is not two
        assert sorted(path.name for path in cache.glob("echo@*")) == ["echo@v1.0.0", "echo@v2.0.0"]
        assert "echo_plugin" not in sys.modules


def test_two_versions_in_one_registry_are_ambiguous_until_one_goes(
    registry: NodeRegistry, git_plugin: Callable[..., str]
) -> None:
    """`in` is true, `get` raises naming both; after one is unloaded the other answers."""
    url = git_plugin("1.0.0", "2.0.0")
    registry.load_plugin("one", config(url, "v1.0.0"))
    registry.load_plugin("two", config(url, "v2.0.0"))
    assert "Echo" in registry.plugin_registry
    with pytest.raises(KeyError, match=r"ambiguous.*'one'.*'two'"):
        registry.get("Echo")
    with pytest.raises(KeyError, match="ambiguous"):
        registry.plugin_registry["Echo"]
    registry.unload_plugin("one")
    assert registry.get("Echo").VERSION == "2.0.0"  # type: ignore[attr-defined]


def test_the_same_name_and_tag_of_another_repository_is_another_plugin(
    cache: Path, git_host: GitHost, project_files: Callable[..., Files]
) -> None:
    """Both checkouts coexist; neither is served for the other."""
    urls = [git_host.add(f"same-name-{which}", project_files(version=which), tag="v1") for which in "12"]
    with NodeRegistry(discover=False) as first, NodeRegistry(discover=False) as second:
        first.load_plugin("echo", config(urls[0], "v1"))
        second.load_plugin("echo", config(urls[1], "v1"))
        assert first.get("Echo").VERSION == "1"  # type: ignore[attr-defined]
        assert second.get("Echo").VERSION == "2"  # type: ignore[attr-defined]
    assert len(list(cache.glob("echo@v1*"))) == 2


def test_a_tag_wins_over_a_branch_of_the_same_name(
    registry: NodeRegistry, git_host: GitHost, project_files: Callable[..., Files]
) -> None:
    """Always refs/tags/<tag>."""
    url = git_host.add("branch-and-tag", project_files(version="1"), tag="both")
    git_host.commit("branch-and-tag", project_files(version="2"))
    git_host.branch("branch-and-tag", "both")
    registry.load_plugin("echo", config(url, "both"))
    assert registry.get("Echo").VERSION == "1"  # type: ignore[attr-defined]


def test_tags_with_slashes_are_folders_of_one_level(
    registry: NodeRegistry, git_host: GitHost, project_files: Callable[..., Files], cache: Path
) -> None:
    """`release/1.0` becomes one entry of the cache."""
    url = git_host.add("slashes", project_files(), tag="release/1.0")
    registry.load_plugin("echo", config(url, "release/1.0"))
    assert (cache / "echo@release%2F1.0").is_dir()


def test_a_manifest_loads_all_it_can_and_names_the_rest(
    registry: NodeRegistry, git_plugin: Callable[..., str], local_plugin: Callable[..., Path], tmp_path: Path
) -> None:
    """Relative paths count from the manifest; the error has `loaded` and `failed`."""
    local_plugin("plugins/local", package="other_plugin", node="Other")
    manifest = tmp_path / "plugins.yaml"
    manifest.write_text(
        f"plugins:\n"
        f"  echo: {{repo: '{git_plugin()}', tag: v1.0.0, provides: [echo_plugin.nodes.Echo]}}\n"
        f"  gone: {{path: nowhere, provides: [gone.Gone]}}\n"
        f"  local: {{path: plugins/local, provides: [other_plugin.nodes.Other]}}\n"
    )
    with pytest.raises(PluginsLoadError, match="1 of 3 plugins") as caught:
        registry.load_plugins(manifest)
    assert caught.value.loaded == ("echo", "local")
    assert list(caught.value.failed) == ["gone"]
    assert list(registry.failed_plugins) == ["gone"]
    assert sorted(registry.plugin_registry) == ["Echo", "Other"]

    (tmp_path / "plugins.yaml").write_text(
        manifest.read_text().replace("  gone: {path: nowhere, provides: [gone.Gone]}\n", "")
    )
    assert registry.load_plugins(manifest) == 2


def test_clearing_the_cache_removes_checkout_and_target_of_one_plugin(
    registry: NodeRegistry, git_plugin: Callable[..., str], cache: Path
) -> None:
    """`clear_plugin_cache(name)` leaves other plugins, and what is not there is fine."""
    url = git_plugin("1.0.0")
    registry.load_plugin("echo", config(url))
    registry.load_plugin("echo2", config(url))
    registry.clear_plugins()
    NodeRegistry.clear_plugin_cache("no such/../plugin")
    NodeRegistry.clear_plugin_cache("echo")
    assert sorted(path.name for path in cache.glob("*@*")) == ["echo2@v1.0.0"]
    assert [path.name.partition("@")[0] for path in (cache / ".targets").iterdir()] == ["echo2"]
    NodeRegistry.clear_plugin_cache()
    assert list(cache.glob("*@*")) == []


def test_an_unknown_tag_says_how_to_list_tags(
    registry: NodeRegistry, git_plugin: Callable[..., str], git_host: GitHost, cache: Path
) -> None:
    """The next step is a command without credentials in it."""
    url = git_plugin().replace("http://", "http://me:hidden@")
    error = failure(registry, url, "v9")
    assert isinstance(error.__cause__, TagNotFoundError)
    assert error.step == "downloading"
    assert f"git ls-remote --tags {url.replace('me:hidden@', '')}" in str(error)
    assert "hidden" not in str(error)
    assert list(cache.glob("echo@*")) == []
    assert list((cache / ".tmp").iterdir()) == []


def test_a_branch_is_no_tag(registry: NodeRegistry, git_plugin: Callable[..., str], git_host: GitHost) -> None:
    """If only a branch of that name exists, the error says so."""
    url = git_plugin()
    git_host.branch(url.rpartition("/")[2].removesuffix(".git"), "develop")
    error = failure(registry, url, "develop")
    assert "'develop' is a branch, not a tag" in str(error)


def test_a_repository_that_is_not_there(registry: NodeRegistry, git_host: GitHost) -> None:
    """The error names the address."""
    error = failure(registry, git_host.url("nobody-made-this"))
    assert isinstance(error.__cause__, RepositoryNotFoundError)
    assert "nobody-made-this" in str(error)


def test_an_address_with_credentials_that_is_not_found_may_be_one_that_they_do_not_open(
    registry: NodeRegistry, git_host: GitHost
) -> None:
    """Large hosts say the same of both: a token may have expired; a user alone has none that could."""
    error = failure(registry, git_host.url("nobody-made-this").replace("//", "//me:expired@"))
    assert isinstance(error.__cause__, RepositoryNotFoundError)
    assert "127.0.0.1" in str(error)
    assert "Make a new token" in str(error)
    assert "me:expired" not in str(error)
    for who in ("me@", "@"):
        error = failure(registry, git_host.url("nobody-made-this").replace("//", f"//{who}"))
        assert isinstance(error.__cause__, RepositoryNotFoundError)
        assert "new token" not in str(error)


def test_a_host_that_cannot_be_reached(registry: NodeRegistry) -> None:
    """No network is its own error."""
    error = failure(registry, "http://127.0.0.1:9/x.git")
    assert isinstance(error.__cause__, NetworkError)


def test_a_repository_that_asks_for_credentials(
    registry: NodeRegistry, tmp_path: Path, project_files: Callable[..., Files]
) -> None:
    """Git is never asked on a terminal; the error says how to store credentials."""
    with GitHost(tmp_path / "private", require_password=True) as host:
        url = host.add("private", project_files(), tag="v1.0.0")
        error = failure(registry, url)
        assert isinstance(error.__cause__, AuthenticationError)
        assert "credential helper" in str(error)


def test_credentials_in_an_address_work_and_are_not_kept(
    registry: NodeRegistry, tmp_path: Path, project_files: Callable[..., Files], cache: Path
) -> None:
    """They are used for the fetch; nothing below the cache holds them."""
    with GitHost(tmp_path / "private", require_password=True) as host:
        url = host.add("private", project_files(), tag="v1.0.0")
        registry.load_plugin("echo", config(url.replace("http://", f"http://{host.user}:{host.password}@")))
        assert registry.plugin_info("echo").source == url
        kept = [path for path in cache.rglob("*") if path.is_file() and host.password.encode() in path.read_bytes()]
        assert kept == []


def test_a_git_that_takes_too_long_is_stopped(
    registry: NodeRegistry, tmp_path: Path, project_files: Callable[..., Files], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time limit is named in the message."""
    monkeypatch.setenv("CUVIS_INSTALL_TIMEOUT", "0.5")
    with GitHost(tmp_path / "slow", stall=20) as host:
        error = failure(registry, host.add("slow", project_files(), tag="v1.0.0"))
    assert isinstance(error.__cause__, TimeLimitError)
    assert "0.5 s" in str(error)
    assert "CUVIS_INSTALL_TIMEOUT" in str(error)


def test_git_or_uv_that_is_missing(
    registry: NodeRegistry, git_plugin: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each is named, with what to do."""
    url = git_plugin()
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path))
        error = failure(registry, url)
        assert isinstance(error.__cause__, ToolNotFoundError)
        assert "'git' was not found" in str(error)
    import uv

    def lost() -> str:
        raise FileNotFoundError("no uv")

    monkeypatch.setattr(uv, "find_uv_bin", lost)
    error = failure(registry, url)
    assert "'uv' was not found" in str(error)
    assert error.step == "installing"


def test_a_git_plugin_needs_a_project_file(registry: NodeRegistry, git_host: GitHost, cache: Path) -> None:
    """PEP 621 is the rule; the message shows the least that is needed."""
    url = git_host.add("no-project", {"echo_plugin/__init__.py": ""}, tag="v1.0.0")
    error = failure(registry, url)
    assert isinstance(error.__cause__, ProjectFileError)
    assert "[project]" in str(error)
    assert not (cache / ".targets").exists()


def test_a_build_that_fails(registry: NodeRegistry, git_host: GitHost, project_files: Callable[..., Files]) -> None:
    """The error is the build's, with uv's own words."""
    files = project_files()
    files = {name: text for name, text in files.items() if not name.startswith("src/")}
    error = failure(registry, git_host.add("no-code", files, tag="v1.0.0"))
    assert isinstance(error.__cause__, BuildError)
    assert "build" in str(error)


def test_a_checkout_that_somebody_moved_is_noticed(
    registry: NodeRegistry, git_plugin: Callable[..., str], cache: Path
) -> None:
    """The documented message, and the remedy."""
    url = git_plugin()
    registry.load_plugin("echo", config(url))
    registry.unload_plugin("echo")
    (cache / "echo@v1.0.0/.git/HEAD").write_text("0" * 40)
    error = failure(registry, url)
    assert isinstance(error.__cause__, CacheMismatchError)
    assert "Tag mismatch in cache for plugin 'echo'" in str(error)
    assert 'NodeRegistry.clear_plugin_cache("echo")' in str(error)
    NodeRegistry.clear_plugin_cache("echo")
    registry.load_plugin("echo", config(url))


def test_a_checkout_without_its_marker_is_fetched_anew(
    registry: NodeRegistry, git_plugin: Callable[..., str], cache: Path
) -> None:
    """That a directory exists proves nothing."""
    (cache / "echo@v1.0.0/.git").mkdir(parents=True)
    (cache / "echo@v1.0.0/junk").write_text("half a clone")
    registry.load_plugin("echo", config(git_plugin()))
    assert not (cache / "echo@v1.0.0/junk").exists()


def test_a_cache_folder_that_is_a_file_is_named(
    registry: NodeRegistry, git_plugin: Callable[..., str], cache: Path
) -> None:
    """The error says which folder and how to choose another."""
    cache.write_text("")
    error = failure(registry, git_plugin())
    assert isinstance(error.__cause__, StoreError)
    assert "CUVIS_PLUGINS_DIR" in str(error)


def test_a_dependency_of_its_own_is_served_from_the_target(
    registry: NodeRegistry,
    git_host: GitHost,
    project_files: Callable[..., Files],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is importable under its own name, not shadowed by a folder of the user's, and knows its version."""
    files = project_files(dependencies=("wcwidth==0.2.13",))
    files["src/echo_plugin/nodes.py"] += (
        "\nimport wcwidth\nfrom importlib.metadata import version\n"
        "Echo.FOUND = (wcwidth.__file__, version('wcwidth'))\n"
    )
    (tmp_path / "wcwidth").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    registry.load_plugin("echo", config(git_host.add("own-dependency", files, tag="v1.0.0")))
    file, version = registry.get("Echo").FOUND  # type: ignore[attr-defined]
    target = registry.plugin_info("echo").target
    assert Path(file).is_relative_to(target)
    assert version == "0.2.13"
    registry.unload_plugin("echo")
    for name in set(sys.modules) - before:
        sys.modules.pop(name, None)


def test_a_dependency_from_a_repository_comes_from_there(
    registry: NodeRegistry,
    git_host: GitHost,
    project_files: Callable[..., Files],
    tmp_path: Path,
) -> None:
    """Named by its address and a folder there, and needing another one of the kind; nobody has built them before."""
    needs: tuple[str, ...] = ()
    for name in ("far_below", "far"):
        files = {f"lib/{file}": text for file, text in project_files(name, dependencies=needs).items()}
        url = git_host.add(name, {**files, "lib/of.txt": uuid4().hex}, tag="v1")
        needs = (f"{name} @ git+{url}@v1#subdirectory=lib",)
    files = project_files(dependencies=needs)
    files["src/echo_plugin/nodes.py"] += "import far.nodes\nimport far_below.nodes\n"
    config = {"repo": git_host.add("near", files, tag="v1"), "tag": "v1", "provides": ["echo_plugin.nodes.Echo"]}
    registry.load_plugin("near", config)
    # By then they are built, which uv tells in other words.
    registry.unload_plugin("near")
    NodeRegistry.set_cache_dir(tmp_path / "another cache")
    registry.load_plugin("near", config)
    assert registry.get("Echo") is not None


def test_a_host_that_changed_is_resolved_against_again_without_a_rebuild(
    registry: NodeRegistry, git_plugin: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same pins: the target is adopted, not built anew."""
    url = git_plugin()
    registry.load_plugin("echo", config(url))
    target = registry.plugin_info("echo").target
    registry.unload_plugin("echo")
    (tmp_path / "site-packages/new_thing-1.0.dist-info").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(tmp_path / "site-packages"))
    registry.load_plugin("echo", config(url))
    assert registry.plugin_info("echo").target == target
    assert len(json.loads((target / "cuvis-target.json").read_text())["hosts"]) == 2


@pytest.mark.slow
def test_the_users_own_cache_is_out_of_reach(git_plugin: Callable[..., str], tmp_path: Path) -> None:
    """What tests load without choosing a folder, here or in another process, goes to a home of their own."""
    own = Path(pwd.getpwuid(os.getuid()).pw_dir) / ".cuvis_plugins"
    before = own.stat().st_mtime_ns if own.exists() else None
    url = git_plugin("1.0.0", "2.0.0")
    with NodeRegistry(discover=False) as registry:
        registry.load_plugin("echo", config(url))
    subprocess.run([sys.executable, "-c", COUNTED, json.dumps(config(url, "v2.0.0"))], check=True, capture_output=True)
    cache = Path("~/.cuvis_plugins").expanduser()
    assert sorted(path.name for path in cache.glob("echo@*")) == ["echo@v1.0.0", "echo@v2.0.0"]
    assert cache != own
    assert cache.is_relative_to(tmp_path.parent.parent)
    assert before == (own.stat().st_mtime_ns if own.exists() else None)


def test_a_target_is_described_by_what_lies_in_it_whatever_is_live(
    cache: Path, git_host: GitHost, project_files: Callable[..., Files]
) -> None:
    """A dependency that another plugin has made live is not taken for a part of the next target."""
    with_one = git_host.add("live-one", project_files("live_one", dependencies=("toolz==1.0.0",)), tag="v1")
    without = git_host.add("live-none", project_files("live_none"), tag="v1")
    with NodeRegistry(discover=False) as registry:
        registry.load_plugin("one", config(with_one, "v1", ["live_one.nodes.Echo"]))
        registry.load_plugin("none", config(without, "v1", ["live_none.nodes.Echo"]))
        marker = json.loads((registry.plugin_info("none").target / "cuvis-target.json").read_text())
    assert marker["needed"] == []
