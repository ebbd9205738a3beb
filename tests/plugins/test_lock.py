"""The lock file: made by a command, kept by every load, moved on purpose."""

import hashlib
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.cli.main import main as cuvis_ai
from cuvis_ai_core.errors import LockError, PluginsLoadError
from cuvis_ai_core.plugins.dependencies import host_environment
from cuvis_ai_core.plugins.dependencies.search_path import interpreter
from cuvis_ai_core.testing.git_host import GitHost

Files = dict[str, str]
Wheel = Callable[..., None]
Plugins = Callable[..., Path]

USER = "\nimport cuvis_test_dep\nEcho.DEPENDENCY = cuvis_test_dep.VERSION\n"


@pytest.fixture
def work(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return an empty working directory; what tests import of the dependency is forgotten in the end."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    yield folder
    for module in [name for name in sys.modules if name.partition(".")[0] == "cuvis_test_dep"]:
        del sys.modules[module]


@pytest.fixture
def versions(tmp_path: Path, make_wheel: Wheel, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that builds versions of `cuvis-test-dep`."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("UV_FIND_LINKS", str(folder))

    def make(*numbers: str, code: str = "", **options: Any) -> None:
        for number in numbers:
            files = {"cuvis_test_dep/__init__.py": f"VERSION = {number!r}\n{code}"}
            make_wheel(folder, "cuvis-test-dep", number, files, **options)

    return make


@pytest.fixture
def local(work: Path, project_files: Callable[..., Files], write_files: Callable[..., Path]) -> Plugins:
    """Return a function that writes local plugins with requirements, and their manifest."""

    def write(**plugins: tuple[str, ...]) -> Path:
        lines = ["plugins:"]
        for name, requires in plugins.items():
            files = project_files(name, dependencies=requires)
            if any("cuvis-test-dep" in each for each in requires):
                files[f"src/{name}/nodes.py"] += USER
            write_files(work / name, files)
            lines.append(f"  {name}: {{path: {name}, provides: [{name}.nodes.Echo]}}")
        (work / "plugins.yaml").write_text("\n".join(lines))
        return work / "plugins.yaml"

    return write


@pytest.fixture
def remote(work: Path, git_plugin: Callable[..., str]) -> Callable[..., str]:
    """Return a function that serves versions of a plugin, writes a manifest with the first, and returns the address."""

    def serve(*numbers: str, **options: Any) -> str:
        url = git_plugin(*(numbers or ("1.0.0",)), **options)
        (work / "plugins.yaml").write_text(
            f"plugins:\n  # ours\n  echo:\n    repo: {url}\n    tag: v{(numbers or ('1.0.0',))[0]}  # pinned\n"
            "    provides: [echo_plugin.nodes.Echo]\n"
        )
        return url

    return serve


def run(*arguments: str) -> Result:
    """Run `cuvis-ai plugins …`."""
    return CliRunner().invoke(cuvis_ai, ["plugins", *arguments], prog_name="cuvis-ai")


def done(*arguments: str) -> str:
    """Run `cuvis-ai plugins …`, which must succeed, and return what it prints."""
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def locked() -> dict[str, Any]:
    """Return what the lock file says."""
    return tomllib.loads(Path("plugins.lock").read_text())


def dependency(registry: NodeRegistry, plugin: str) -> str:
    """Return which version of the dependency a plugin got."""
    return registry.get(f"{plugin}.nodes.Echo").DEPENDENCY  # type: ignore[attr-defined, no-any-return]


def repository(url: str) -> str:
    """Return the name under which the Git host knows a repository."""
    return url.rpartition("/")[2].removesuffix(".git")


def test_a_lock_names_commit_content_isolation_and_hashes(
    remote: Callable[..., str], versions: Callable[..., None], registry: NodeRegistry, tmp_path: Path
) -> None:
    """The commit is that of the commit, not of an annotated tag; no address of an index is there."""
    versions("1.0")
    url = remote("1.0.0", dependencies=("cuvis-test-dep", "numpy"))
    done("lock", "plugins.yaml")

    entry, environment = locked()["plugins"]["echo"], locked()["environments"][interpreter()]
    registry.load_plugins("plugins.yaml")
    assert entry["repo"] == url
    assert (entry["tag"], entry["isolation"], entry["commit"]) == (
        "v1.0.0",
        "scoped",
        registry.plugin_info("echo").commit,
    )
    assert len(entry["content"]) == 64
    assert environment["dependencies"] == {"echo": ["cuvis-test-dep==1.0"]}
    ((found,),) = environment["hashes"].values()
    assert found.startswith("sha256:")
    text = Path("plugins.lock").read_text()
    assert text.count("://") == 1
    assert str(tmp_path) not in text


@pytest.mark.slow
def test_a_lock_is_written_the_same_again(remote: Callable[..., str], versions: Callable[..., None]) -> None:
    """It has a stable order, and ends with what it began with."""
    versions("1.0")
    remote("1.0.0", dependencies=("cuvis-test-dep",))
    done("lock")
    before = Path("plugins.lock").read_bytes()
    done("lock")
    assert Path("plugins.lock").read_bytes() == before


def test_loading_with_a_lock_installs_exactly_what_it_says(
    local: Plugins, versions: Callable[..., None], registry: NodeRegistry, cache: Path
) -> None:
    """A newer version on the index changes nothing, with an empty cache too; without the lock it would be taken."""
    versions("1.0")
    manifest = local(first=("cuvis-test-dep",))
    done("lock")
    versions("2.0")
    NodeRegistry.clear_plugin_cache()
    registry.load_plugins(manifest)
    assert dependency(registry, "first") == "1.0"
    registry.clear_plugins()
    for module in [name for name in sys.modules if name.startswith("cuvis_test_dep")]:
        del sys.modules[module]
    Path("plugins.lock").unlink()
    registry.load_plugins(manifest)
    assert dependency(registry, "first") == "2.0"


def test_a_file_with_another_hash_is_refused(
    local: Plugins, versions: Callable[..., None], registry: NodeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same version, but not the file that was locked."""
    versions("1.0")
    manifest = local(first=("cuvis-test-dep",))
    done("lock")
    versions("1.0", code="EVIL = True\n")
    monkeypatch.setenv("UV_NO_CACHE", "1")
    NodeRegistry.clear_plugin_cache()
    with pytest.raises(PluginsLoadError, match=r"[Hh]ash mismatch"):
        registry.load_plugins(manifest)
    assert registry.list_plugins() == []


def test_a_warm_load_with_a_lock_uses_neither_network_nor_process(
    remote: Callable[..., str], versions: Callable[..., None], registry: NodeRegistry, git_host: GitHost
) -> None:
    """Locking leaves a cache from which everything is loaded."""
    versions("1.0")
    remote("1.0.0", dependencies=("cuvis-test-dep",))
    done("lock")
    requests = git_host.requests

    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError(f"a process was started: {arguments}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "Popen", refuse)
        registry.load_plugins("plugins.yaml")
    assert git_host.requests == requests


@pytest.mark.slow
def test_all_plugins_are_locked_together(local: Plugins, versions: Callable[..., None], registry: NodeRegistry) -> None:
    """One version that suits all is chosen, and loaded by each."""
    versions("1.0", "2.0", pure=False)
    manifest = local(first=("cuvis-test-dep",), second=("cuvis-test-dep<2",))
    done("lock")
    assert list(locked()["environments"][interpreter()]["hashes"]) == ["cuvis-test-dep==1.0"]
    registry.load_plugins(manifest)
    assert (dependency(registry, "first"), dependency(registry, "second")) == ("1.0", "1.0")


@pytest.mark.slow
def test_a_plugin_that_disagrees_is_locked_with_a_copy_of_its_own(
    local: Plugins, versions: Callable[..., None], registry: NodeRegistry
) -> None:
    """Pure-Python versions that contradict are both in the lock."""
    versions("1.0", "2.0")
    manifest = local(first=("cuvis-test-dep<2",), second=("cuvis-test-dep>=2",))
    done("lock")
    assert locked()["environments"][interpreter()]["dependencies"] == {
        "first": ["cuvis-test-dep==1.0"],
        "second": ["cuvis-test-dep==2.0"],
    }
    registry.load_plugins(manifest)
    assert (dependency(registry, "first"), dependency(registry, "second")) == ("1.0", "2.0")


@pytest.mark.slow
def test_plugins_that_cannot_live_together_are_not_locked(local: Plugins, versions: Callable[..., None]) -> None:
    """The error names plugins, requirements, versions and the way out; no file is written."""
    versions("1.0", "2.0", pure=False)
    local(first=("cuvis-test-dep<2",), second=("cuvis-test-dep>=2",))
    result = run("lock")
    assert result.exit_code == 1
    assert "plugins.yaml cannot be locked; nothing was written." in result.stderr
    assert "plugin 'first': package first requires cuvis-test-dep<2 and was given 1.0" in result.stderr
    assert "plugin 'second': package second requires cuvis-test-dep>=2 and was given 2.0" in result.stderr
    assert "isolation: process" in result.stderr
    assert not Path("plugins.lock").exists()


@pytest.mark.slow
def test_what_is_locked_stays_when_a_plugin_is_added(local: Plugins, versions: Callable[..., None]) -> None:
    """Only `update` moves versions, unless there is no other way."""
    versions("1.0")
    local(first=("cuvis-test-dep",))
    done("lock")
    versions("2.0")
    local(first=("cuvis-test-dep",), second=("cuvis-test-dep",))
    done("lock")
    assert set(locked()["environments"][interpreter()]["hashes"]) == {"cuvis-test-dep==1.0"}
    local(first=("cuvis-test-dep",), second=("cuvis-test-dep>=2",))
    done("lock")
    assert set(locked()["environments"][interpreter()]["hashes"]) == {"cuvis-test-dep==2.0"}


def test_what_the_host_has_is_locked_too_but_not_installed_again(local: Plugins, registry: NodeRegistry) -> None:
    """So that the lock also holds where the host lacks it; what the core itself needs is always the host's."""
    manifest = local(first=("iniconfig", "numpy"))
    done("lock")
    pins = locked()["environments"][interpreter()]["dependencies"]["first"]
    assert [pin.partition("==")[0] for pin in pins] == ["iniconfig"]
    registry.load_plugins(manifest)
    installed = [each.name for each in registry.plugin_info("first").target.glob("*.dist-info")]
    assert (
        [name.partition("-")[0] for name in installed] == ["first"]
        if host_environment.has(pins[0])
        else len(installed) == 2
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (("tag: v1.0.0", "tag: v2.0.0"), "tag of 'echo' is 'v2.0.0', but locked as 'v1.0.0'"),
        (("  echo:", "  ecco:"), "plugin 'ecco' is not locked"),
        (("  echo:", "  ecco:"), "plugin 'echo' is locked, but not in the manifest"),
        (("    tag:", "    extras: [more]\n    tag:"), "extras of 'echo' is [more], but locked as not given"),
        (("    tag:", "    subdirectory: sub\n    tag:"), "subdirectory of 'echo' is 'sub', but locked as not given"),
        (("    tag:", "    isolation: process\n    tag:"), "isolation of 'echo' is 'process', but locked as 'scoped'"),
        (("repo: http://", "repo: https://"), "repo of 'echo' is 'https://"),
    ],
)
def test_a_manifest_that_differs_from_its_lock_is_an_error(
    remote: Callable[..., str], registry: NodeRegistry, change: tuple[str, str], difference: str
) -> None:
    """It names the difference and the command; nothing is loaded."""
    remote("1.0.0", "2.0.0")
    done("lock")
    manifest = Path("plugins.yaml")
    manifest.write_text(manifest.read_text().replace(*change))
    with pytest.raises(LockError) as caught:
        registry.load_plugins(manifest)
    assert difference in str(caught.value)
    assert "cuvis-ai plugins lock plugins.yaml" in str(caught.value)
    assert registry.list_plugins() == []


def test_auto_is_locked_as_what_it_became(remote: Callable[..., str], registry: NodeRegistry) -> None:
    """The lock says scoped, and matches."""
    remote("1.0.0")
    manifest = Path("plugins.yaml")
    manifest.write_text(manifest.read_text().replace("    tag:", "    isolation: auto\n    tag:"))
    done("lock")
    assert locked()["plugins"]["echo"]["isolation"] == "scoped"
    assert registry.load_plugins(manifest) == 1


@pytest.mark.slow
@pytest.mark.parametrize("annotated", [False, True])
@pytest.mark.parametrize("cached", [False, True], ids=["fetched", "cached"])
def test_a_moved_tag_is_an_error_that_shows_both_commits(
    remote: Callable[..., str],
    registry: NodeRegistry,
    git_host: GitHost,
    project_files: Callable[..., Files],
    *,
    annotated: bool,
    cached: bool,
) -> None:
    """Whether the checkout is fetched now or was fetched by somebody after the move."""
    url = remote("1.0.0")
    done("lock")
    before = locked()["plugins"]["echo"]["commit"]
    after = git_host.commit(repository(url), project_files(version="1.0.0", extra="# moved\n"))
    git_host.tag(repository(url), "v1.0.0", force=True, annotated=annotated)
    NodeRegistry.clear_plugin_cache()
    if cached:
        config = {"repo": url, "tag": "v1.0.0", "provides": ["echo_plugin.nodes.Echo"]}
        registry.load_plugin("echo", config)
        registry.unload_plugin("echo")
    with pytest.raises(PluginsLoadError) as caught:
        registry.load_plugins("plugins.yaml")
    cause = caught.value.failed["echo"].__cause__
    assert isinstance(cause, LockError)
    assert before in str(cause)
    assert after in str(cause)
    assert "cuvis-ai plugins update echo" in str(cause)


@pytest.mark.slow
def test_an_edited_project_file_with_other_requirements_is_an_error(
    local: Plugins, versions: Callable[..., None], registry: NodeRegistry
) -> None:
    """A local plugin has its path and requirements in the lock; other edits are no difference."""
    versions("1.0")
    manifest = local(first=("cuvis-test-dep",))
    done("lock")
    project = Path("first/pyproject.toml")
    text = project.read_text()
    project.write_text(text + "# a comment\n")
    assert registry.load_plugins(manifest) == 1
    registry.clear_plugins()
    project.write_text(text.replace('"cuvis-test-dep"', '"cuvis-test-dep<9"'))
    with pytest.raises(PluginsLoadError, match=r"requirements of plugin 'first' are \[cuvis-test-dep<9\], but locked"):
        registry.load_plugins(manifest)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it has version None"),
        ("version = 2\n[plugins]\n[environments]\n", "it has version 2"),
        ("version = 1\n", "it has no table 'environments'"),
        ("version = 1\n[plugins]\n[environments]\n<<<<<<< ours\n", "line 4"),
        ("version = 1\n[environments]\n[plugins.echo]\nrepo = 'x'\n", "plugins.echo has no 'commit'"),
        (
            "version = 1\n[environments]\n[plugins.echo]\npath = 'x'\nrequirements = 1\nisolation = 's'\n",
            "requirements",
        ),
        ("version = 1\n[environments]\n[plugins.echo]\nodd = 'x'\n", "unknown key 'odd'"),
        ("x = " + "[" * 2000, "nested too deeply"),
        (".".join("a" * 20_000) + " = 1", "a key of more than 100 parts"),
        ("version = 1\nplugins = 3\nenvironments = {}\n", "int"),
        ("version = 1\n[plugins]\n[environments.x]\ndependencies = {a = ['-r x']}\nhashes = {}\n", "'-r x'"),
        ("version = 1\n[plugins]\n[environments.x]\ndependencies = {a = ['b==1']}\nhashes = {}\n", "no hash for b==1"),
        ("version = 1\n[plugins]\n[environments.x]\ndependencies = {a = 'b==1'}\nhashes = {}\n", "not a list"),
        ("version = 1\n[plugins]\n[environments.x]\ndependencies = {}\nhashes = {'b==1' = ['md5:0']}\n", "md5"),
    ],
)
@pytest.mark.parametrize("command", [False, True], ids=["loading", "locking"])
def test_an_unreadable_lock_is_an_error_never_an_empty_lock(
    local: Plugins, registry: NodeRegistry, text: str, why: str, *, command: bool
) -> None:
    """It names the file and what is wrong; nothing is loaded or written."""
    manifest = local(first=())
    Path("plugins.lock").write_text(text)
    if command:
        result = run("lock")
        assert result.exit_code == 2
        said = result.stderr
    else:
        with pytest.raises(LockError) as caught:
            registry.load_plugins(manifest)
        said = str(caught.value)
    assert "plugins.lock cannot be read: " in said
    assert why in said
    assert Path("plugins.lock").read_text() == text
    assert registry.list_plugins() == []


@pytest.mark.slow
def test_another_platform_adds_a_section_and_leaves_the_first(
    local: Plugins, versions: Callable[..., None], registry: NodeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a platform that is not locked, loading says so and names the command."""
    versions("1.0")
    manifest = local(first=("cuvis-test-dep",))
    done("lock")
    here, there = interpreter(), f"{sys.implementation.cache_tag}-nowhere"
    monkeypatch.setattr(sys.implementation, "_multiarch", "nowhere")
    with pytest.raises(LockError, match=f"says nothing about {there}; it was made for {here}") as caught:
        registry.load_plugins(manifest)
    assert "cuvis-ai plugins lock" in str(caught.value)
    first = locked()["environments"][here]
    done("lock")
    assert set(locked()["environments"]) == {here, there}
    assert locked()["environments"][here] == first


@pytest.mark.slow
def test_what_changed_is_no_longer_locked_for_other_platforms(
    remote: Callable[..., str], versions: Callable[..., None], monkeypatch: pytest.MonkeyPatch, registry: NodeRegistry
) -> None:
    """A plugin that moved has to be locked there again."""
    versions("1.0")
    remote("1.0.0", "2.0.0", dependencies=("cuvis-test-dep",))
    done("lock")
    here = interpreter()
    with monkeypatch.context() as patch:
        patch.setattr(sys.implementation, "_multiarch", "nowhere")
        done("update")
    assert locked()["environments"][here] == {"dependencies": {}, "hashes": {}}
    with pytest.raises(PluginsLoadError, match="says nothing about plugin 'echo'"):
        registry.load_plugins("plugins.yaml")


def test_a_dry_run_shows_what_would_be_installed_and_writes_nothing(
    remote: Callable[..., str], versions: Callable[..., None], cache: Path
) -> None:
    """Only the checkout is fetched: it says what is needed."""
    versions("1.0")
    remote("1.0.0", dependencies=("cuvis-test-dep",))
    said = done("lock", "--dry-run")
    assert "cuvis-test-dep==1.0" in said
    assert "1 wheels with" in said
    assert not Path("plugins.lock").exists()
    assert not (cache / ".targets").exists()


def test_a_plugin_that_cannot_be_fetched_is_not_locked(remote: Callable[..., str]) -> None:
    """The old lock file stays."""
    remote("1.0.0")
    done("lock")
    before = Path("plugins.lock").read_bytes()
    manifest = Path("plugins.yaml")
    manifest.write_text(manifest.read_text().replace("v1.0.0", "v7"))
    result = run("lock")
    assert result.exit_code == 1
    assert "cannot be locked" in result.stderr
    assert "Tag 'v7' does not exist" in result.stderr
    assert Path("plugins.lock").read_bytes() == before


def test_credentials_are_not_in_the_lock(
    work: Path, tmp_path: Path, project_files: Callable[..., Files], registry: NodeRegistry
) -> None:
    """An address with a password is locked without it."""
    with GitHost(tmp_path / "private", require_password=True) as git:
        url = git.add("private", project_files(), tag="v1").replace("http://", f"http://{git.user}:{git.password}@")
        (work / "plugins.yaml").write_text(
            f"plugins:\n  echo: {{repo: '{url}', tag: v1, provides: [echo_plugin.nodes.Echo]}}\n"
        )
        done("lock")
        assert git.password not in Path("plugins.lock").read_text()
        assert registry.load_plugins("plugins.yaml") == 1


@pytest.mark.slow
def test_an_update_moves_to_the_newest_version_and_shows_what_changes(
    remote: Callable[..., str], versions: Callable[..., None], registry: NodeRegistry
) -> None:
    """Order is that of versions; the manifest keeps its comments and layout, and changes in one line."""
    versions("1.0")
    remote("1.9.0", "1.10.0", "1.2.0", dependencies=("cuvis-test-dep",))
    before = Path("plugins.yaml").read_text()
    done("lock")
    old = locked()["plugins"]["echo"]["commit"]
    versions("2.0")
    said = done("update")
    new = locked()["plugins"]["echo"]["commit"]
    assert Path("plugins.yaml").read_text() == before.replace("v1.9.0", "v1.10.0")
    lines = [line.split() for line in said.splitlines()]
    assert ["echo", "tag", "v1.9.0", "v1.10.0"] in lines
    assert ["echo", "commit", old[:12], new[:12]] in lines
    assert ["echo", "cuvis-test-dep", "1.0", "2.0"] in lines
    registry.load_plugins("plugins.yaml")
    assert registry.plugin_info("echo").tag == "v1.10.0"
    assert done("update") == "Everything is at its newest version already.\n"


@pytest.mark.slow
def test_a_dry_update_changes_no_file(remote: Callable[..., str]) -> None:
    """It shows the same."""
    remote("1.0.0", "2.0.0")
    done("lock")
    before = {name: Path(name).read_bytes() for name in ("plugins.yaml", "plugins.lock")}
    said = done("update", "--dry-run")
    assert ["echo", "tag", "v1.0.0", "v2.0.0"] in [line.split() for line in said.splitlines()]
    assert {name: Path(name).read_bytes() for name in before} == before


@pytest.mark.slow
def test_an_update_of_one_plugin_leaves_the_others(
    work: Path, git_host: GitHost, project_files: Callable[..., Files], versions: Callable[..., None]
) -> None:
    """Their tags and their versions stay."""
    versions("1.0")
    lines = ["plugins:"]
    for name in ("first", "second"):
        repo = f"update-one-{name}"
        needs = ("cuvis-test-dep",) if name == "first" else ()
        url = git_host.add(repo, project_files(name, dependencies=needs), tag="v1")
        git_host.commit(repo, project_files(name, version="2.0.0", dependencies=needs), tag="v2")
        lines.append(f"  {name}: {{repo: '{url}', tag: v1, provides: [{name}.nodes.Echo]}}")
    Path("plugins.yaml").write_text("\n".join(lines))
    done("lock")
    versions("2.0")
    done("update", "second")
    assert [entry["tag"] for entry in locked()["plugins"].values()] == ["v1", "v2"]
    assert locked()["environments"][interpreter()]["dependencies"]["first"] == ["cuvis-test-dep==1.0"]
    done("update", "first", "--plugins-path", "plugins.yaml")
    assert locked()["environments"][interpreter()]["dependencies"]["first"] == ["cuvis-test-dep==2.0"]


def test_an_update_takes_a_moved_tag_as_it_is_now(
    remote: Callable[..., str], git_host: GitHost, project_files: Callable[..., Files], registry: NodeRegistry
) -> None:
    """That is how a move that is meant gets into lock and cache."""
    url = remote("1.0.0")
    done("lock")
    before = locked()["plugins"]["echo"]["commit"]
    after = git_host.commit(repository(url), project_files(version="1.0.0", extra="# moved\n"))
    git_host.tag(repository(url), "v1.0.0", force=True)
    said = done("update", "echo")
    assert ["echo", "commit", before[:12], after[:12]] in [line.split() for line in said.splitlines()]
    registry.load_plugins("plugins.yaml")
    assert registry.plugin_info("echo").commit == after


def test_wrong_names_and_places_are_wrong_usage(remote: Callable[..., str]) -> None:
    """Each has one text, and exit status 2."""
    remote("1.0.0")
    for arguments, said in (
        (("update", "ecco"), "has no plugin 'ecco'; it has: echo"),
        (("update", "--plugins-path", "nowhere.yaml"), "nowhere.yaml"),
        (("lock", "nowhere.yaml"), "nowhere.yaml"),
    ):
        result = run(*arguments)
        assert result.exit_code == 2
        assert said in result.stderr


def test_a_tag_that_is_written_once_for_several_plugins_is_not_changed(
    remote: Callable[..., str],
) -> None:
    """An alias would move both; the error says what to write."""
    url = remote("1.0.0", "2.0.0")
    Path("plugins.yaml").write_text(
        f"plugins:\n  echo: {{repo: '{url}', tag: &t v1.0.0, provides: [echo_plugin.nodes.Echo]}}\n"
        f"  more: {{repo: '{url}', tag: *t, provides: [echo_plugin.nodes.Echo]}}\n"
    )
    before = Path("plugins.yaml").read_bytes()
    result = run("update", "echo")
    assert result.exit_code == 2
    assert "cannot be changed alone" in result.stderr
    assert "echo: v2.0.0" in result.stderr
    assert Path("plugins.yaml").read_bytes() == before


def test_files_that_are_not_those_of_the_locked_commit_are_an_error(
    remote: Callable[..., str], registry: NodeRegistry, work: Path
) -> None:
    """The commit alone does not tell: a checkout in the cache may be another's work."""
    remote("1.0.0")
    done("lock")
    lock = work / "plugins.lock"
    content = locked()["plugins"]["echo"]["content"]
    lock.write_text(lock.read_text().replace(content, content[::-1]))
    with pytest.raises(PluginsLoadError) as caught:
        registry.load_plugins("plugins.yaml")
    assert "the files of commit" in str(caught.value.failed["echo"])
    assert "are not those that are locked" in str(caught.value.failed["echo"])


def planted(manifest: Path, pin: str, wheel: Path, address: str = "") -> None:
    """Write a further pin of a plugin into a lock file, with the right hash, as a stranger does."""
    import hashlib

    lock = manifest.with_suffix(".lock")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    text = lock.read_text().replace("echo = [", f'echo = [\n    "{address or pin}",', 1)
    text = text.replace(".hashes]\n", f'.hashes]\n"{address or pin}" = ["sha256:{digest}"]\n', 1)
    lock.write_text(text)


@pytest.mark.slow
@pytest.mark.parametrize("isolation", ["scoped", "process"])
@pytest.mark.parametrize("kind", ["name", "address"])
def test_a_pin_that_nothing_requires_is_refused(
    local: Plugins, versions: Callable[..., None], make_wheel: Wheel, tmp_path: Path, kind: str, isolation: str
) -> None:
    """By its name from the index, or a file elsewhere, with the right hash: it is not installed, the rest is."""
    versions("1.0")
    manifest = local(echo=("cuvis-test-dep",))
    if isolation == "process":
        manifest.write_text(manifest.read_text().replace("}", ", isolation: process}"))
    assert run("lock").exit_code == 0
    make_wheel(tmp_path / "wheels", "cuvis-test-evil", "1.0", {"cuvis_test_evil.py": ""})
    wheel = next((tmp_path / "wheels").glob("cuvis_test_evil*"))
    address = f"cuvis-test-evil @ {wheel.as_uri()}" if kind == "address" else ""
    planted(manifest, "cuvis-test-evil==1.0", wheel, address)
    with NodeRegistry(discover=False) as registry, pytest.raises(PluginsLoadError) as caught:
        registry.load_plugins(manifest)
    said = str(caught.value)
    assert ("which nothing that it needs requires" if kind == "name" else "at an address of its own") in said
    assert not list((tmp_path / "plugin cache").glob(".targets/*/*/cuvis_test_evil.py"))


@pytest.mark.parametrize("demand", ["plugin", "dependency"])
def test_a_version_that_nobody_accepts_is_not_installed(
    local: Plugins,
    versions: Callable[..., None],
    registry: NodeRegistry,
    make_wheel: Wheel,
    demand: str,
    tmp_path: Path,
) -> None:
    """Whatever the lock file has, with its right hash: the plugin, and what it needs, say which versions will do."""
    versions("1.0", "2.0")
    make_wheel(
        tmp_path / "wheels", "cuvis-test-middle", "1.0", {"cuvis_test_middle.py": ""}, requires=("cuvis-test-dep<2",)
    )
    manifest = local(first=("cuvis-test-dep<2",) if demand == "plugin" else ("cuvis-test-dep", "cuvis-test-middle"))
    done("lock")
    registry.load_plugins(manifest)
    registry.clear_plugins()
    file = next((tmp_path / "wheels").glob("cuvis_test_dep-2.0-*"))
    honest = Path("plugins.lock").read_text()
    digest = locked()["environments"][interpreter()]["hashes"]["cuvis-test-dep==1.0"][0]
    other = f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"
    Path("plugins.lock").write_text(honest.replace("cuvis-test-dep==1.0", "cuvis-test-dep==2.0").replace(digest, other))
    who = "first" if demand == "plugin" else "cuvis-test-middle"
    with pytest.raises(PluginsLoadError, match=f"cuvis-test-dep==2.0 for plugin 'first', but {who} needs"):
        registry.load_plugins(manifest)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[plugins.first]", '[plugins."first\\u001b[2J"]'),
        ("[plugins.first]", '[plugins.first]\n"key\\u001b[2J" = "x"'),
        ('isolation = "scoped"', 'isolation = "scoped\\u001b[2J"'),
        ('isolation = "scoped"', 'isolation = "scoped"\nextras = ["\\u202e"]'),
        ("==1.0", "==\uff11.0"),
        ("==1.0", f"=={'9' * 5000}"),
    ],
)
def test_an_odd_lock_file_is_said_in_plain_signs(
    local: Plugins, versions: Callable[..., None], registry: NodeRegistry, old: str, new: str
) -> None:
    """Who reads the message in a terminal sees what is there, and nothing is sent to the terminal."""
    versions("1.0")
    manifest = local(first=("cuvis-test-dep",))
    done("lock")
    file = Path("plugins.lock")
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(LockError) as caught:
        registry.load_plugins(manifest)
    assert str(caught.value).replace("\n", "").isprintable()
