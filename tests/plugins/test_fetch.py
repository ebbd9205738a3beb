"""What is fetched from Git, what of it may be built, and the user's own repository, which stays as it is."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core._folder_removal import remove_tree
from cuvis_ai_core.errors import (
    CacheMismatchError,
    LocalPathError,
    PluginLoadError,
    SourceError,
    StoreError,
    TagNotFoundError,
)
from cuvis_ai_core.plugins.cache.checkout_entry import refuse_altered
from cuvis_ai_core.plugins.cache.sources import Source, git_source, local_source, project_folder
from cuvis_ai_core.plugins.cache.store import Store
from cuvis_ai_core.plugins.git.repository_tags import remote_commit, remote_tags
from cuvis_ai_core.plugins.manifest.manifest_schema import parse_plugin
from cuvis_ai_core.testing.git_host import GitHost

Files = dict[str, str]
ECHO = ["echo_plugin.nodes.Echo"]
LOAD = """\
import sys
from cuvis_ai_core import NodeRegistry
with NodeRegistry(discover=False) as registry:
    registry.load_plugin("echo", {"repo": sys.argv[1], "tag": "v1.0.0", "provides": ["echo_plugin.nodes.Echo"]})
"""


def git(folder: Path, *arguments: str) -> str:
    """Run git in a repository of the user's, whatever this test has put into the environment."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    who = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.org")
    done = subprocess.run(["git", *who, *arguments], cwd=folder, env=kept, capture_output=True, text=True, check=True)
    return done.stdout


def state(folder: Path) -> tuple[str, ...]:
    """Return all that a stranger's git could harm in a repository."""
    questions = (("status", "--porcelain"), ("rev-parse", "HEAD"), ("show-ref",), ("ls-files", "--stage"))
    return *(git(folder, *question) for question in questions), (folder / ".git/config").read_text()


def cloned(host: GitHost, folder: Path) -> Path:
    """Clone the repository that is named like a folder into it, for what `GitHost` cannot write."""
    git(folder, "clone", "--quiet", str(host.root / f"{folder.name}.git"), "clone")
    return folder / "clone"


def push(clone: Path, file: str) -> None:
    """Commit one more file and tag it `v1` on the host."""
    git(clone, "add", file)
    git(clone, "commit", "--quiet", "-m", "change")
    git(clone, "push", "--quiet", "origin", "HEAD:refs/tags/v1")


@pytest.fixture
def own_repository(tmp_path: Path) -> Path:
    """Return a repository of the user's with a commit, a tag and a staged file."""
    folder = tmp_path / "own"
    folder.mkdir()
    git(folder, "init", "--quiet", "--template=")
    for name in ("one.txt", "two.txt"):
        (folder / name).write_text(name)
        git(folder, "add", name)
        if name == "one.txt":
            git(folder, "commit", "--quiet", "-m", "one")
            git(folder, "tag", "v0.9")
    return folder


def failure(registry: NodeRegistry, **config: object) -> Exception:
    """Load a plugin that cannot be loaded and return the cause."""
    with pytest.raises(PluginLoadError) as caught:
        registry.load_plugin("echo", {"provides": ECHO, **config})
    assert isinstance(caught.value.__cause__, Exception)
    return caught.value.__cause__


def test_a_load_within_a_hook_leaves_the_users_repository_alone(
    registry: NodeRegistry, git_plugin: Callable[..., str], own_repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever git tells its hooks about the user's repository, our git does not hear it."""
    before = state(own_repository)
    url = git_plugin()
    told = {name: str(own_repository / "x") for name in git(own_repository, "rev-parse", "--local-env-vars").split()}
    told |= {"GIT_DIR": str(own_repository / ".git"), "GIT_INDEX_FILE": str(own_repository / ".git/index")}
    told |= {"GIT_WORK_TREE": str(own_repository), "GIT_OBJECT_DIRECTORY": str(own_repository / ".git/objects")}
    told |= {"GIT_COMMON_DIR": str(own_repository / ".git"), "GIT_CONFIG_PARAMETERS": "'core.bare'='true'"}
    # The first is the user's configuration, the second git tells its own parts only, never a hook.
    for name in ("GIT_CONFIG_COUNT", "GIT_INTERNAL_SUPER_PREFIX"):
        told.pop(name, None)
    for name, value in {**told, "GIT_QUARANTINE_PATH": "x", "GIT_DEFAULT_HASH": "sha256", "GIT_NAMESPACE": "x"}.items():
        monkeypatch.setenv(name, value)
    registry.load_plugin("echo", {"repo": url, "tag": "v1.0.0", "provides": ECHO})
    assert state(own_repository) == before


@pytest.mark.slow
def test_a_commit_hook_may_load_a_plugin(cache: Path, git_plugin: Callable[..., str], own_repository: Path) -> None:
    """In a linked work tree, with `commit --all`: the commit holds what was changed, and nothing else happened."""
    hook = own_repository / ".git/hooks/pre-commit"
    hook.parent.mkdir()
    (own_repository / ".git/load.py").write_text(LOAD)
    hook.write_text(
        f"#!/bin/sh\nexport CUVIS_PLUGINS_DIR='{cache}'\n"
        f"exec '{sys.executable}' '{own_repository}/.git/load.py' {git_plugin()}\n"
    )
    hook.chmod(0o755)
    linked = own_repository.with_name("linked")
    git(own_repository, "worktree", "add", "--quiet", "-b", "side", str(linked))
    (linked / "one.txt").write_text("changed")
    git(linked, "commit", "--quiet", "--all", "-m", "two")
    assert git(linked, "log", "--format=%s").split() == ["two", "one"]
    assert git(linked, "ls-files").split() == ["one.txt"]
    assert git(linked, "tag").split() == ["v0.9"]
    assert git(linked, "status", "--porcelain") == ""
    assert (cache / "echo@v1.0.0").is_dir()
    assert git(own_repository, "status", "--porcelain") == "A  two.txt\n"


def test_the_users_configuration_of_git_counts(
    registry: NodeRegistry, git_plugin: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mirror that is set by `GIT_CONFIG_COUNT` and its like is used."""
    address, _, name = git_plugin().rpartition("/")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", f"url.{address}/.insteadOf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "https://plugins.invalid/")
    registry.load_plugin("echo", {"repo": f"https://plugins.invalid/{name}", "tag": "v1.0.0", "provides": ECHO})
    assert registry.list_plugins() == ["echo"]


def test_a_disk_that_gets_full_while_fetching_is_named(
    registry: NodeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the store that fails, not the address; the message has the space that is left."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/git"
    program.write_text("#!/bin/sh\necho 'fatal: write error: No space left on device' >&2\nexit 128\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    error = failure(registry, repo="https://plugins.invalid/x.git", tag="v1")
    assert isinstance(error, StoreError)
    assert "MB are free" in str(error)
    assert "ls-remote" not in str(error)


@pytest.mark.parametrize(
    "alter",
    [
        lambda folder: (folder / "src/echo_plugin/nodes.py").write_text("import os"),
        lambda folder: (folder / "src/echo_plugin/more.py").write_text(""),
        lambda folder: (folder / "src/echo_plugin/nodes.pyc").write_text("ignored by git"),
        lambda folder: (folder / "src/echo_plugin/__init__.py").unlink(),
        lambda folder: (folder / "outside").symlink_to("/"),
    ],
)
def test_a_checkout_that_was_altered_is_not_built_from(
    tmp_path: Path, git_host: GitHost, project_files: Callable[..., Files], alter: Callable[[Path], object]
) -> None:
    """Changed, added, ignored, removed, linked: the documented message and its remedy."""
    url = git_host.add(f"altered-{tmp_path.name}", {**project_files(), ".gitignore": "*.pyc\n"}, tag="v1")
    source = git_source("echo", url, "v1", Store(tmp_path / "cache"), print)
    refuse_altered("echo", source.folder, str(source.commit))
    alter(source.folder)
    with pytest.raises(CacheMismatchError, match="Tag mismatch in cache for plugin 'echo': files in ") as caught:
        refuse_altered("echo", source.folder, str(source.commit))
    assert 'NodeRegistry.clear_plugin_cache("echo")' in str(caught.value)


def test_a_checkout_that_git_itself_calls_modified_was_not_altered(tmp_path: Path, git_host: GitHost) -> None:
    """Line endings against the project's own attributes are as they were fetched."""
    url = git_host.add(tmp_path.name, {"README": ""})
    clone = cloned(git_host, tmp_path)
    (clone / "crlf.txt").write_bytes(b"one\r\ntwo\r\n")
    git(clone, "add", "crlf.txt")
    (clone / ".gitattributes").write_text("*.txt text eol=lf\n")
    push(clone, ".gitattributes")
    source = git_source("echo", url, "v1", Store(tmp_path / "cache"), print)
    os.utime(source.folder / "crlf.txt")
    assert git(source.folder, "status", "--porcelain") == " M crlf.txt\n"
    refuse_altered("echo", source.folder, str(source.commit))


def test_a_load_that_would_build_from_an_altered_checkout_fails(
    registry: NodeRegistry, git_plugin: Callable[..., str], cache: Path
) -> None:
    """Even where the cheap look at every load does not notice: here, that a file was added."""
    config = {"repo": git_plugin(), "tag": "v1.0.0", "provides": ECHO}
    registry.load_plugin("echo", config)
    registry.unload_plugin("echo")
    (cache / "echo@v1.0.0/src/echo_plugin/more.py").write_text("import os")
    registry.load_plugin("echo", config)
    registry.unload_plugin("echo")
    remove_tree(cache / ".targets")
    assert isinstance(failure(registry, repo=config["repo"], tag="v1.0.0"), CacheMismatchError)


def test_two_tags_of_one_commit_share_no_target(
    registry: NodeRegistry, git_plugin: Callable[..., str], git_host: GitHost
) -> None:
    """A build is told the version that its tag states."""
    url = git_plugin()
    git_host.tag(url.rpartition("/")[2].removesuffix(".git"), "v1.0.1")
    for tag in ("v1.0.0", "v1.0.1"):
        registry.load_plugin(f"echo_{tag[-1]}", {"repo": url, "tag": tag, "provides": ECHO})
    targets = {registry.plugin_info(name).target.parent.name.partition("@")[2] for name in registry.list_plugins()}
    assert len(targets) == 2


@pytest.mark.parametrize("outside", ["/", "..", "inside/../../.."])
def test_a_subdirectory_that_leads_out_of_the_checkout_is_refused(
    registry: NodeRegistry, git_host: GitHost, tmp_path: Path, outside: str
) -> None:
    """A repository must not choose what else of this disk is built."""
    url = git_host.add(tmp_path.name, {"README": ""})
    clone = cloned(git_host, tmp_path)
    (clone / "link").symlink_to(outside)
    push(clone, "link")
    error = failure(registry, repo=url, tag="v1", subdirectory="link")
    assert type(error) is SourceError
    assert "link is a link that leads out of the checkout" in str(error)


def test_a_subdirectory_that_became_a_link_is_refused(tmp_path: Path) -> None:
    """In a checkout that was not fetched by us: one from elsewhere, or one that somebody changed."""
    (tmp_path / "checkout").mkdir()
    (tmp_path / "checkout/link").symlink_to("..")
    declared = {"repo": "http://127.0.0.1:9/x.git", "tag": "v1", "provides": ECHO, "subdirectory": "link"}
    with pytest.raises(SourceError, match="is a link that leads out of the checkout"):
        project_folder(parse_plugin("echo", declared, base=tmp_path), Source(tmp_path / "checkout", "0" * 40))


@pytest.mark.parametrize("kind", ["git", "local"])
def test_a_subdirectory_that_is_not_there_is_named_with_those_that_are(
    registry: NodeRegistry, git_host: GitHost, project_files: Callable[..., Files], tmp_path: Path, kind: str
) -> None:
    """Both kinds of plugins; nothing is built."""
    for name, text in project_files().items():
        path = tmp_path / "repo/plugins/echo" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    where: dict[str, object] = {"path": str(tmp_path / "repo")}
    if kind == "git":
        where = {"repo": git_host.add("subdirectories", tmp_path / "repo", tag="v1"), "tag": "v1"}
    error = failure(registry, **where, subdirectory="plugins/ekho")
    assert type(error) is (SourceError if kind == "git" else LocalPathError)
    assert "The subdirectory 'plugins/ekho' of" in str(error)
    assert "does not exist" in str(error)
    assert "plugins/echo" in str(error)
    registry.load_plugin("echo", {**where, "provides": ECHO, "subdirectory": "plugins/echo"})


def test_a_local_path_that_is_not_there_says_from_where_it_counts(registry: NodeRegistry) -> None:
    """The manifest's folder, or in a call the working directory."""
    error = failure(registry, path="no/such/folder")
    assert "manifest's folder" in str(error)
    assert "working directory" in str(error)


def test_a_repository_is_asked_for_its_tags(tmp_path: Path, git_host: GitHost) -> None:
    """Which commit each names, with a message of its own or without; a branch is none, and its name is said."""
    name = f"asked-{tmp_path.name}"
    url = git_host.add(name, {"a": "1"}, tag="v1")
    git_host.commit(name, {"a": "2"}, tag="v2", annotated=True)
    (tmp_path / name).mkdir()
    clone = cloned(git_host, tmp_path / name)
    git(clone, "push", "--quiet", "origin", "HEAD:refs/heads/feature", "HEAD:refs/heads/v1")
    commits = {tag: git(clone, "rev-parse", f"{tag}^{{commit}}").strip() for tag in ("v1", "v2")}
    assert commits["v1"] != commits["v2"]
    assert remote_tags(url) == commits
    assert {tag: remote_commit(url, tag) for tag in commits} == commits
    for tag, said in (
        ("feature", f"'feature' is a branch, not a tag, in {url}."),
        ("v3", f"Tag 'v3' does not exist in {url}."),
    ):
        with pytest.raises(TagNotFoundError) as caught:
            remote_commit(url, tag)
        assert caught.value.message == f"{said} Plugins are loaded from tags only: no branch, no commit."
        assert caught.value.hint == f"See which tags there are: git ls-remote --tags {url}"
        assert (caught.value.location, caught.value.tag) == (url, tag)
    gone = git_host.url(f"gone-{tmp_path.name}")
    for ask in (lambda: remote_tags(gone), lambda: remote_commit(gone, "v1")):
        with pytest.raises(SourceError, match="could not ask"):
            ask()


@pytest.mark.parametrize(("path", "what"), [("a file", "is a file, not a folder"), ("gone", "does not exist")])
def test_a_path_that_is_no_folder_is_said(tmp_path: Path, path: str, what: str) -> None:
    """With what a path counts from."""
    (tmp_path / "a file").touch()
    with pytest.raises(LocalPathError) as caught:
        local_source(tmp_path / path)
    assert caught.value.message == f"The path {tmp_path / path} {what}."
    assert caught.value.location == str(tmp_path / path)
    assert local_source(tmp_path) == Source(tmp_path)


@pytest.mark.parametrize("kind", ["git", "path"])
def test_a_subdirectory_is_a_folder_in_what_was_fetched(
    tmp_path: Path, write_files: Callable[[Path, Files], Path], kind: str
) -> None:
    """Which may be a link, that leads out of a local folder alone; projects that there are are named."""
    files = dict.fromkeys(("b/pyproject.toml", "a/x/pyproject.toml", "a/x/y/pyproject.toml", "file"), "")
    folder = write_files(tmp_path / "top", files)
    for name, place in (("inside", "b"), ("outside", "..")):
        (folder / name).symlink_to(place)
    where = {"repo": "https://me:secret@host/x.git", "tag": "v1"} if kind == "git" else {"path": str(folder)}
    source = Source(folder, "a" * 40, "") if kind == "git" else Source(folder)
    shown = "https://host/x.git v1" if kind == "git" else str(folder)

    def found(subdirectory: str | None) -> Path:
        more = {"subdirectory": subdirectory} if subdirectory else {}
        return project_folder(parse_plugin("x", {**where, **more, "provides": ["x.Node"]}, base=Path()), source)

    assert found(None) == folder
    assert found("a/x") == folder / "a/x"
    assert found("inside") == folder / ("inside" if kind == "git" else "b")
    wrong = {"file": "is a file, not a folder", "gone": "does not exist"}
    if kind == "git":
        wrong["outside"] = "is a link that leads out of the checkout"
    else:
        assert found("outside") == tmp_path
    for name, what in wrong.items():
        with pytest.raises(SourceError if kind == "git" else LocalPathError) as caught:
            found(name)
        assert caught.value.message == f"The subdirectory '{name}' of {shown} {what}."
        assert caught.value.hint is not None
        assert caught.value.hint.endswith("folders with a pyproject.toml there: a/x, b, inside.")
        assert caught.value.location == shown
    (folder / "inside").unlink()
    remove_tree(folder / "a")
    remove_tree(folder / "b")
    with pytest.raises((SourceError, LocalPathError)) as caught:
        found("gone")
    assert str(caught.value.hint).endswith("there: none.")
