"""Hostile names, tags, addresses, repositories and hosts: refused, or harmless."""

import json
import logging
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.errors import CuvisError, ManifestError, NetworkError, PluginLoadError, SourceError
from cuvis_ai_core.plugins.cache.sources import git_source
from cuvis_ai_core.plugins.cache.store import Store
from cuvis_ai_core.plugins.git import fetch_commit
from cuvis_ai_core.plugins.git.repository_tags import remote_commit
from cuvis_ai_core.testing.git_host import GitHost

Files = dict[str, str]
ECHO = ["echo_plugin.nodes.Echo"]


def git(folder: Path, *arguments: str, told: str = "") -> str:
    """Run git in a folder, as an attacker does at home, and return what it says."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    who = ("-c", "user.name=Mallory", "-c", "user.email=mallory@example.org", "-c", "protocol.file.allow=always")
    command = ["git", *who, "-c", "core.protectNTFS=false", *arguments]
    return subprocess.run(
        command, cwd=folder, env=kept, input=told, capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.fixture
def repository(git_host: GitHost, project_files: Callable[..., Files], tmp_path: Path) -> tuple[Path, str]:
    """Return a bare repository with a plugin at `main`, into which anything can be written, and its address."""
    name = f"hostile-{tmp_path.name}"
    url = git_host.add(name, project_files())
    return git_host.root / f"{name}.git", url


def tag_tree(bare: Path, entries: str) -> None:
    """Tag a commit as `v1` whose tree has more entries than that of `main`, as `git mktree` takes them."""
    tree = git(bare, "mktree", "--missing", told=f"{git(bare, 'ls-tree', 'main')}\n{entries}\n")
    git(bare, "update-ref", "refs/tags/v1", git(bare, "commit-tree", "-m", "hostile", tree))


def blob(bare: Path, content: str) -> str:
    """Write a blob and return its hash."""
    return git(bare, "hash-object", "-w", "--stdin", told=content)


def failure(registry: NodeRegistry, url: str, tag: str = "v1") -> str:
    """Load a plugin that must fail with an error of ours, see that nothing is left, and return what is said."""
    with pytest.raises(PluginLoadError) as caught:
        registry.load_plugin("echo", {"repo": url, "tag": tag, "provides": ECHO})
    assert isinstance(caught.value.__cause__, CuvisError), caught.value
    root = NodeRegistry.get_cache_dir()
    assert [path.name for path in root.iterdir() if not path.name.startswith(".")] == ["README"]
    assert [path for path in root.glob(".tmp/*") if path.suffix != ".lock"] == []
    return str(caught.value)


@pytest.mark.parametrize(
    "entry",
    [
        {"repo": "--upload-pack=touch pwned"},
        {"repo": "-oProxyCommand=touch pwned"},
        {"repo": "ext::sh -c 'touch pwned'"},
        {"repo": "ssh://-oProxyCommand=touch%20pwned/x"},
        {"repo": "git@-oProxyCommand=x:y"},
        {"repo": "file:///etc"},
        {"repo": "http://host/../../x.git"},
        {"repo": "http://host/x.git\n[core]"},
        {"tag": "--upload-pack=touch pwned"},
        {"tag": "-v1"},
        {"tag": "../../v1"},
        {"tag": "v1\x1b[2J"},
        {"tag": "v1:refs/heads/main"},
        {"subdirectory": "../outside"},
        {"subdirectory": "/etc"},
    ],
)
def test_hostile_values_of_a_manifest_are_refused(registry: NodeRegistry, cache: Path, entry: dict[str, str]) -> None:
    """Before anything is made or run; the text has no control characters."""
    with pytest.raises(ManifestError) as caught:
        registry.load_plugin("echo", {"repo": "http://127.0.0.1:9/x.git", "tag": "v1", "provides": ECHO, **entry})
    assert all(char.isprintable() or char == "\n" for char in str(caught.value))
    assert not cache.exists()


@pytest.mark.parametrize("name", ["../echo", "-echo", "a/b", "a\\b", "a@b", "echo\n"])
def test_hostile_names_are_refused(registry: NodeRegistry, cache: Path, name: str) -> None:
    """They become parts of folders and modules."""
    with pytest.raises(ManifestError):
        registry.load_plugin(name, {"repo": "http://127.0.0.1:9/x.git", "tag": "v1", "provides": ECHO})
    assert not cache.exists()


@pytest.mark.parametrize(
    ("name", "url", "tag"),
    [
        ("x", "--upload-pack=touch pwned", "v1"),
        ("x", "ext::touch {here}/pwned", "v1"),
        ("x", "http://127.0.0.1:9/x.git", "--upload-pack=touch pwned"),
        ("../../x", "http://127.0.0.1:9/x.git", "v1"),
        ("x", "http://127.0.0.1:9/x.git", "../../../v1"),
    ],
)
def test_hostile_values_that_came_past_the_manifest_do_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, url: str, tag: str
) -> None:
    """Below the schema they are neither options nor paths, and no helper program is run, even if the user allows it."""
    monkeypatch.chdir(tmp_path)
    (Path.home() / ".gitconfig").write_text('[protocol]\n\tallow = always\n[protocol "ext"]\n\tallow = always\n')
    with pytest.raises(SourceError):
        git_source(name, url.format(here=tmp_path), tag, Store(tmp_path / "here/cache"), print)
    assert list(tmp_path.rglob("pwned")) == []
    assert [path.name for path in tmp_path.iterdir()] == ["here"]
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["cache"]


@pytest.mark.parametrize(
    "to", ["/etc/passwd", "../outside", "src/../../outside", ".git/config", ".git", "src/echo_plugin/up/../../../.."]
)
def test_a_link_that_leads_out_of_the_checkout_is_refused(
    registry: NodeRegistry, repository: tuple[Path, str], to: str
) -> None:
    """Whether what it leads to is there or not; it is named."""
    bare, url = repository
    tag_tree(bare, f"120000 blob {blob(bare, to)}\tdata")
    said = failure(registry, url)
    assert f"data is a link that leads out of the checkout, to {to}" in said


def folders(bare: Path, inner: str, times: int, depth: int) -> str:
    """Return a tree that holds another one some times, which does so too, down to some depth."""
    for _ in range(depth):
        inner = git(bare, "mktree", told="\n".join(f"040000 tree {inner}\td{number}" for number in range(times)))
    return inner


@pytest.mark.parametrize(
    ("times", "depth", "expected"),
    [
        pytest.param(12, 5, "more than 200000 files", marks=pytest.mark.slow),
        (1, 1100, "folders in each other"),
        (40, 1, "may come out of it"),
    ],
)
def test_a_small_pack_does_not_become_more_than_a_plugin_is(
    registry: NodeRegistry, repository: tuple[Path, str], tmp_path: Path, times: int, depth: int, expected: str
) -> None:
    """As many files as nobody can write, or one so deep that none can remove it: it is counted before."""
    bare, url = repository
    (tmp_path / "zeros").write_bytes(b"\0" * (2**23 if depth == 1 else 1))
    large = git(bare, "hash-object", "-w", str(tmp_path / "zeros"))
    inner = git(bare, "mktree", told=f"100644 blob {large}\tzeros")
    tag_tree(bare, f"040000 tree {folders(bare, inner, times, depth)}\tbomb")
    assert expected in failure(registry, url)


def test_links_within_the_checkout_are_fine(registry: NodeRegistry, repository: tuple[Path, str]) -> None:
    """To files, to folders, and to what is not there."""
    bare, url = repository
    links = {"file": "pyproject.toml", "folder": "src", "gone": "not/there"}
    tag_tree(bare, "\n".join(f"120000 blob {blob(bare, to)}\t{name}" for name, to in links.items()))
    registry.load_plugin("echo", {"repo": url, "tag": "v1", "provides": ECHO})
    assert registry.list_plugins() == ["echo"]


@pytest.mark.parametrize(
    "name", [".git", ".GIT", ".Git", "git~1", "GIT~1", ".g\u200cit", ".git ", ".git::$INDEX_ALLOCATION"]
)
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_some_disk_takes_for_the_folder_of_git_is_refused(
    registry: NodeRegistry, repository: tuple[Path, str], name: str, kind: str
) -> None:
    """It could configure git: a cache may lie on any disk, and be shared."""
    bare, url = repository
    config = blob(bare, "[core]\n\tfsmonitor = touch pwned\n")
    inner = git(bare, "mktree", told=f"100644 blob {config}\tconfig\n")
    tag_tree(bare, f"100644 blob {config}\t{name}" if kind == "file" else f"040000 tree {inner}\t{name}")
    failure(registry, url)


def test_the_number_of_submodules_is_limited(registry: NodeRegistry, repository: tuple[Path, str]) -> None:
    """Each costs a connection to wherever the author likes."""
    bare, url = repository
    modules = blob(bare, "".join(f'[submodule "{n}"]\n\tpath = s{n}\n\turl = {url}\n' for n in range(101)))
    commit = git(bare, "rev-parse", "main")
    links = "\n".join(f"160000 commit {commit}\ts{n}" for n in range(101))
    tag_tree(bare, f"100644 blob {modules}\t.gitmodules\n{links}")
    assert "at most 100 are fetched" in failure(registry, url)


def test_a_submodule_does_not_follow_a_link(
    registry: NodeRegistry, repository: tuple[Path, str], tmp_path: Path
) -> None:
    """Not even where its own place becomes one: what is fetched stays in the checkout."""
    bare, url = repository
    link = blob(bare, str(tmp_path))
    modules = blob(bare, f'[submodule "x"]\n\tpath = x/y\n\turl = {url}\n[submodule "z"]\n\tpath = z\n\turl = {url}\n')
    tag_tree(bare, f"100644 blob {modules}\t.gitmodules\n120000 blob {link}\tx\n120000 blob {link}\tz")
    assert "link that leads out of the checkout" in failure(registry, url)
    assert not (tmp_path / "y").exists()


def test_hooks_templates_and_filters_are_not_run(
    registry: NodeRegistry, repository: tuple[Path, str], cache: Path, tmp_path: Path
) -> None:
    """Neither those of the user nor any that a repository names."""
    bare, url = repository
    hook = tmp_path / "hooks/post-checkout"
    hook.parent.mkdir()
    hook.write_text(f"#!/bin/sh\ntouch {shlex.quote(str(tmp_path / 'pwned'))}\n")
    hook.chmod(0o755)
    (tmp_path / "template/hooks").mkdir(parents=True)
    (tmp_path / "template/hooks/post-checkout").hardlink_to(hook)
    (Path.home() / ".gitconfig").write_text(
        f"[core]\n\thooksPath = {hook.parent}\n\tfsmonitor = {hook}\n[init]\n\ttemplateDir = {tmp_path}/template\n"
    )
    attributes = blob(bare, "* filter=evil diff=evil merge=evil\n")
    tag_tree(bare, f"100644 blob {attributes}\t.gitattributes")
    registry.load_plugin("echo", {"repo": url, "tag": "v1", "provides": ECHO})
    assert not (tmp_path / "pwned").exists()
    assert not (cache / "echo@v1/.git/hooks").exists()


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHost]:
    """Return a Git host of its own, for what goes wrong with it; nobody waits before it is asked again."""
    monkeypatch.setattr(fetch_commit, "pause", lambda seconds: None)
    with GitHost(tmp_path / "git") as host:
        yield host


@pytest.mark.slow
@pytest.mark.parametrize("spared", [0, 1, 2])
@pytest.mark.parametrize("fault", ["reset", "cut", "junk"])
def test_a_host_that_breaks_off_or_talks_nonsense(
    registry: NodeRegistry, faulty: GitHost, project_files: Callable[..., Files], fault: str, spared: int
) -> None:
    """At whichever of its answers; the next load, with a host that works, succeeds."""
    url = faulty.add("x", project_files(), tag="v1")
    faulty.fault, faulty.spared = fault, spared  # type: ignore[assignment]
    said = failure(registry, url)
    assert "git failed" not in said
    assert "\x1b" not in said
    assert isinstance(registry.failed_plugins["echo"].__cause__, SourceError if fault == "junk" else NetworkError)
    faulty.fault = ""
    registry.load_plugin("echo", {"repo": url, "tag": "v1", "provides": ECHO})


@pytest.mark.parametrize(("times", "there"), [(2, True), (3, False)])
def test_a_host_that_breaks_off_is_asked_again(
    registry: NodeRegistry,
    faulty: GitHost,
    project_files: Callable[..., Files],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    times: int,
    there: bool,  # noqa: FBT001
) -> None:
    """Twice, with a warning: a connection that was cut in the middle is there again, as a rule."""
    url = faulty.add("x", project_files(), tag="v1")
    faulty.fault, faulty.spared = "cut", 1
    warning = logging.Logger.warning

    def then_whole(self: logging.Logger, message: str, *arguments: object) -> None:
        warning(self, message, *arguments)
        faulty.spared, faulty.fault = 1, "" if caplog.text.count("broke off") == times else "cut"

    monkeypatch.setattr(logging.Logger, "warning", then_whole)
    if there:
        registry.load_plugin("echo", {"repo": url, "tag": "v1", "provides": ECHO})
    else:
        assert "The host cannot be reached, or broke off." in failure(registry, url)
        assert caplog.text.count("asked again") == 2


def test_credentials_are_in_no_message_log_or_file(
    registry: NodeRegistry,
    project_files: Callable[..., Files],
    tmp_path: Path,
    cache: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whether the load succeeds or fails, and in verify."""
    from cuvis_ai_core.plugins.cache.verification import verify_plugin, verify_store
    from cuvis_ai_core.plugins.manifest.manifest_schema import parse_plugin

    caplog.set_level(logging.DEBUG)
    with GitHost(tmp_path / "git", require_password=True) as host:
        url = host.add("private", project_files(), tag="v1").replace("//", f"//{host.user}:{host.password}@")
        declared = {"repo": url, "tag": "v1", "provides": ECHO}
        said = failure(registry, url, "v2") + failure(registry, url.replace(":secret", ":secretly"), "v1")
        registry.load_plugin("echo", declared)
        findings = list(verify_plugin("echo", parse_plugin("echo", declared, base=tmp_path), Store(cache)))
        assert [each.problem for each in findings] == [None] * 3
        # Without the manifest nobody knows them.
        said += " ".join(map(str, [*findings, *verify_store(Store(cache)), registry.plugin_info("echo")]))
    said += caplog.text + json.dumps([path.read_text(errors="replace") for path in cache.rglob("*") if path.is_file()])
    assert "running git" in said
    assert "secret" not in said


def test_a_credential_helper_of_git_is_asked(
    registry: NodeRegistry, project_files: Callable[..., Files], tmp_path: Path, cache: Path
) -> None:
    """As the documentation says: with one, an address without credentials is enough."""
    (Path.home() / ".gitconfig").write_text("[credential]\n\thelper = store\n")
    with GitHost(tmp_path / "git", require_password=True) as host:
        url = host.add("private", project_files(), tag="v1")
        (Path.home() / ".git-credentials").write_text(f"http://{host.user}:{host.password}@127.0.0.1:{host.port}\n")
        registry.load_plugin("echo", {"repo": url, "tag": "v1", "provides": ECHO})
    assert registry.list_plugins() == ["echo"]


def test_nobody_sees_a_password_in_the_command_line_of_git(
    registry: NodeRegistry,
    tmp_path: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    project_files: Callable[..., Files],
) -> None:
    """It reaches the host all the same, also where it has signs that addresses escape, and lies nowhere afterwards."""
    real = shutil.which("git")
    (tmp_path / "bin").mkdir()
    told = tmp_path / "told.txt"
    (tmp_path / "bin/git").write_text(f'#!/bin/sh\necho "$@" >> "{told}"\nexec "{real}" "$@"\n')
    (tmp_path / "bin/git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    with GitHost(tmp_path / "git", require_password=True) as host:
        url = host.add("echo", project_files(), tag="v1").replace("://", f"://{host.user}:s%65cret@")
        told.write_text("")
        registry.load_plugin("echo", {"repo": url, "tag": "v1", "provides": ["echo_plugin.nodes.Echo"]})
        commits = remote_commit(url, "v1")
    words = told.read_text()
    assert "fetch" in words
    assert "ls-remote" in words
    assert len(commits) == 40
    assert "secret" not in words
    assert "s%65cret" not in words
    assert host.user not in words
    for file in cache.rglob("*"):
        assert not file.is_file() or b"secret" not in file.read_bytes()
