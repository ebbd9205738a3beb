"""Git hosts and repositories as people have them, and the settings of a user's own git."""

import base64
import functools
import hashlib
import http.server
import io
import json
import logging
import os
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from click.testing import CliRunner

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.cli.main import main as cuvis_ai
from cuvis_ai_core.errors import AuthenticationError, CuvisError, NetworkError, PluginLoadError, SourceError
from cuvis_ai_core.plugins.disk.altered_files import checkout_digest, checkout_files
from cuvis_ai_core.plugins.git import fetch_commit
from cuvis_ai_core.plugins.git.repository_tags import fetch, remote_commit, remote_tags
from cuvis_ai_core.testing.git_host import GitHost

Files = dict[str, str]
ECHO = ["echo_plugin.nodes.Echo"]
needs_lfs = pytest.mark.skipif(shutil.which("git-lfs") is None, reason="git-lfs is not installed")


def git(folder: Path, *arguments: str | bytes, told: bytes = b"") -> str:
    """Run git as an author does at home."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    kept |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    who: tuple[str, ...] = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    who += ("-c", "protocol.file.allow=always", "-c", "tag.gpgSign=false", "-c", "core.protectNTFS=false")
    command = ["git", *who, *arguments]
    return subprocess.run(command, cwd=folder, env=kept, input=told, capture_output=True, check=True).stdout.decode(
        errors="replace"
    )


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file with the user's settings of git."""
    file = tmp_path / "gitconfig"
    file.write_text("")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(file))
    return file


@pytest.fixture
def author(
    tmp_path: Path, project_files: Callable[..., Files], write_files: Callable[[Path, Files], Path]
) -> Callable[..., Path]:
    """Return a function that makes a repository with a plugin, tagged v1, as its author has it."""

    def make(*options: str, files: Files | None = None, name: str = "author") -> Path:
        folder = write_files(tmp_path / name, files if files is not None else project_files())
        git(folder, "init", "--quiet", "--template=", "--initial-branch=main", *options)
        return commit(folder)

    return make


def commit(folder: Path, tag: str = "v1") -> Path:
    """Commit all that is in a folder, and tag it."""
    git(folder, "add", "--all", "--force")
    git(folder, "commit", "--quiet", "--no-verify", "--allow-empty", "-m", tag)
    git(folder, "tag", "--force", "-a", tag, "-m", tag)
    return folder


@pytest.fixture
def served(git_host: GitHost, tmp_path: Path) -> Callable[..., str]:
    """Return a function that puts an author's repository on the host and returns its address."""

    def serve(folder: Path) -> str:
        name = f"{tmp_path.name}-{folder.name}"
        shutil.rmtree(git_host.root / f"{name}.git", ignore_errors=True)
        git(git_host.root, "clone", "--quiet", "--bare", str(folder), f"{name}.git")
        return git_host.url(name)

    return serve


def load(registry: NodeRegistry, url: str, tag: str = "v1") -> Path:
    """Load a plugin, and return its checkout."""
    registry.load_plugin("echo", {"repo": url, "tag": tag, "provides": ECHO})
    return NodeRegistry.get_cache_dir() / f"echo@{tag}"


def failure(registry: NodeRegistry, url: str, tag: str = "v1") -> CuvisError:
    """Load a plugin that cannot be had, see that nothing is left, and return why."""
    with pytest.raises(PluginLoadError) as caught:
        registry.load_plugin("echo", {"repo": url, "tag": tag, "provides": ECHO})
    root = NodeRegistry.get_cache_dir()
    assert [path.name for path in root.iterdir() if not path.name.startswith(".")] == ["README"]
    assert isinstance(caught.value.__cause__, CuvisError)
    return caught.value.__cause__


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Callable[[Path], str]]:
    """Return a function that puts an author's repository on a plain web server and returns its address."""
    root = tmp_path / "web"
    root.mkdir()
    with _running(functools.partial(_Quiet, directory=str(root))) as address:

        def put(folder: Path) -> str:
            git(root, "clone", "--quiet", "--bare", str(folder), f"{folder.name}.git")
            git(root / f"{folder.name}.git", "update-server-info")
            return f"{address}/{folder.name}.git"

        yield put


class _running:  # noqa: N801 - reads as what it is
    """Serve on loopback as long as the context lasts."""

    def __init__(self, handler: Any) -> None:
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)

    def __enter__(self) -> str:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return f"http://127.0.0.1:{self._server.server_port}"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def test_a_repository_with_sha256_hashes_is_fetched(
    registry: NodeRegistry, author: Callable[..., Path], served: Callable[..., str]
) -> None:
    """As GitLab and Forgejo offer them; commits have 64 digits then."""
    folder = author("--object-format=sha256")
    url = served(folder)
    head = git(folder, "rev-parse", "v1^{}").strip()
    checkout = load(registry, url)
    assert (checkout / ".git/HEAD").read_text().strip() == head
    assert (len(head), remote_commit(url, "v1")) == (64, head)


def test_a_user_whose_repositories_have_sha256_hashes_fetches_others_as_well(
    registry: NodeRegistry, git_plugin: Callable[..., str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether an environment variable or the configuration says so; the like for how references are kept."""
    home.write_text("[init]\n\tdefaultObjectFormat = sha256\n\tdefaultRefFormat = reftable\n")
    monkeypatch.setenv("GIT_DEFAULT_HASH", "sha256")
    monkeypatch.setenv("GIT_DEFAULT_REF_FORMAT", "reftable")
    assert (load(registry, git_plugin(), "v1.0.0") / "pyproject.toml").is_file()


ODD_SETTINGS = """
[core]
    autocrlf = true
    eol = crlf
    symlinks = false
    fileMode = false
    ignoreCase = true
    sparseCheckout = true
    sparseCheckoutCone = true
    bare = true
    worktree = {nowhere}
    sharedRepository = group
    bigFileThreshold = 1
    splitIndex = true
    fsmonitor = true
    hooksPath = {nowhere}
[init]
    defaultBranch = no such name
    templateDir = {template}
[remote "origin"]
    url = http://127.0.0.1:9/none.git
    mirror = true
    promisor = true
[submodule]
    recurse = true
    active = nothing
[fetch]
    prune = true
    pruneTags = true
    fsckObjects = true
    recurseSubmodules = true
    negotiationAlgorithm = noop
[feature]
    manyFiles = true
[checkout]
    workers = 4
[color]
    ui = always
[log]
    showSignature = true
[alias]
    fetch = !false
    checkout = !false
[tag]
    gpgSign = true
[protocol]
    version = 0
"""


def test_odd_settings_of_the_users_git_make_no_other_checkout(
    author: Callable[..., Path], served: Callable[[Path], str], home: Path, tmp_path: Path
) -> None:
    """What is hashed is what the repository has, whoever fetches it."""
    folder = author()
    (folder / "run.sh").write_bytes(b"one\r\ntwo\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "link").symlink_to("run.sh")
    url = served(commit(folder))
    template = tmp_path / "template/info"
    template.mkdir(parents=True)
    (template / "attributes").write_text("* text eol=crlf\n")
    (template / "sparse-checkout").write_text("/nothing\n")
    fetch(url, "v1", tmp_path / "plain")
    home.write_text(ODD_SETTINGS.format(nowhere=tmp_path / "nowhere", template=template.parent))
    fetch(url, "v1", tmp_path / "odd")
    plain, odd = (checkout_digest(each, checkout_files(each)) for each in (tmp_path / "plain", tmp_path / "odd"))
    assert odd == plain
    assert os.access(tmp_path / "odd/run.sh", os.X_OK)


@pytest.mark.parametrize("hashes", ["sha1", "sha256"])
def test_a_plain_web_server_gives_out_whole_repositories(
    registry: NodeRegistry,
    author: Callable[..., Path],
    web: Callable[[Path], str],
    caplog: pytest.LogCaptureFixture,
    hashes: str,
) -> None:
    """It cannot answer with less, which is said."""
    with caplog.at_level(logging.WARNING):
        load(registry, web(author(f"--object-format={hashes}")))
    assert [record.message.partition(" ")[2][:24] for record in caplog.records] == ["is a plain web server, w"]


def test_a_tag_of_a_tag_of_a_commit_that_no_branch_holds_is_fetched(
    registry: NodeRegistry, author: Callable[..., Path], served: Callable[..., str]
) -> None:
    """What counts is the commit in the end."""
    folder = author()
    first = git(folder, "rev-parse", "HEAD").strip()
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "aside")
    aside = git(folder, "rev-parse", "HEAD").strip()
    git(folder, "tag", "-a", "inner", "-m", "inner")
    git(folder, "tag", "-a", "v2", "-m", "outer", "inner")
    git(folder, "reset", "--quiet", "--hard", first)
    url = served(folder)
    checkout = load(registry, url, "v2")
    assert (checkout / ".git/HEAD").read_text().strip() == aside == remote_commit(url, "v2") == remote_tags(url)["v2"]


@pytest.mark.parametrize("what", ["HEAD^{tree}", "HEAD:pyproject.toml"])
def test_a_tag_of_no_commit_is_said_to_be_one(
    registry: NodeRegistry, author: Callable[..., Path], served: Callable[[Path], str], what: str
) -> None:
    """Git can tag anything; nobody is told to choose another folder for that."""
    folder = author()
    git(folder, "tag", "-a", "-m", "odd", "odd", git(folder, "rev-parse", what).strip())
    error = failure(registry, served(folder), "odd")
    assert "no tag of a commit" in error.message
    assert "tag of a commit" in str(error.hint)


def test_a_name_that_is_written_nowhere_is_said_to_be_one(
    registry: NodeRegistry, author: Callable[..., Path], served: Callable[[Path], str]
) -> None:
    """No other folder would take it."""
    folder = author()
    (folder / "git~1").write_text("")
    error = failure(registry, served(commit(folder)))
    assert "invalid path 'git~1'" in error.message
    assert "another name" in str(error.hint)


def test_only_the_tree_of_the_tag_is_fetched(
    registry: NodeRegistry, author: Callable[..., Path], served: Callable[..., str]
) -> None:
    """History may have gigabytes."""
    folder = author()
    for size in range(3):
        (folder / "weights.bin").write_bytes(os.urandom(100_000 + size))
        commit(folder, f"w{size}")
    (folder / "weights.bin").unlink()
    commit(folder, "v9")
    checkout = load(registry, served(folder), "v9")
    assert sum(file.stat().st_size for file in (checkout / ".git").rglob("*") if file.is_file()) < 50_000


def test_line_ends_do_not_depend_on_who_fetches(
    registry: NodeRegistry, author: Callable[..., Path], served: Callable[..., str], home: Path, tmp_path: Path
) -> None:
    """Nor do attributes of the user's own: the hash of a checkout is everybody's."""
    folder = author()
    (folder / ".gitattributes").write_text("* text=auto\n")
    (folder / "notes.txt").write_bytes(b"one\r\ntwo\r\n")
    (folder / "plain.txt").write_bytes(b"one\ntwo $Id$\n")
    url = served(commit(folder))
    first = load(registry, url)
    expected = checkout_digest(first, checkout_files(first))
    registry.unload_plugin("echo")
    (tmp_path / "attributes").write_text("*.txt text eol=crlf ident\n")
    home.write_text(
        f"[core]\n\tautocrlf = true\n\teol = crlf\n\tsafecrlf = true\n\tattributesFile = {tmp_path}/attributes\n"
    )
    NodeRegistry.set_cache_dir(tmp_path / "other")
    with NodeRegistry(discover=False) as other:
        second = load(other, url)
        assert checkout_digest(second, checkout_files(second)) == expected


def test_names_of_files_that_are_no_text_or_differ_in_case_are_kept(
    registry: NodeRegistry, author: Callable[..., Path], served: Callable[..., str]
) -> None:
    """Where the file system takes them; a second load finds the checkout as it was."""
    folder = author()
    for name in (b"caf\xe9.txt", b"Readme.md", b"README.md", b"new\nline", "Grüße".encode()):
        (folder / os.fsdecode(name)).write_bytes(name)
    url = served(commit(folder))
    checkout = load(registry, url)
    assert (checkout / os.fsdecode(b"caf\xe9.txt")).read_bytes() == b"caf\xe9.txt"
    assert {"Readme.md", "README.md", "new\nline"} <= {path.name for path in checkout.iterdir()}
    registry.unload_plugin("echo")
    load(registry, url)


POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'4d7a' * 16}\nsize 1048576\n"
FILTER = '[filter "lfs"]\n\tclean = git-lfs clean -- %f\n\tsmudge = git-lfs smudge -- %f\n'
FILTER += "\tprocess = git-lfs filter-process\n\trequired = true\n"


@pytest.mark.slow
@pytest.mark.parametrize("place", ["weights.bin", "src/echo_plugin/data/deep/model.pt"])
@pytest.mark.parametrize("attributes", [".gitattributes", "src/.gitattributes", None])
def test_large_files_ask_for_git_lfs_wherever_they_lie(
    registry: NodeRegistry,
    author: Callable[..., Path],
    served: Callable[..., str],
    project_files: Callable[..., Files],
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    attributes: str | None,
) -> None:
    """And for nothing else, where it is set up, but not there, as in a container."""
    files = project_files() | {place: POINTER}
    url = served(
        author(files=files | ({attributes: "* -text\n*.bin filter=lfs\n*.pt filter=lfs\n"} if attributes else {}))
    )
    home.write_text(FILTER)
    monkeypatch.setenv("PATH", str(without(tmp_path / "bin", "git-lfs")))
    text = str(failure(registry, url))
    assert place in text
    assert "Install git-lfs" in text
    assert not {"network", "address", "proxy"} & set(text.lower().replace(":", "").split())


def without(folder: Path, *programs: str) -> Path:
    """Make a folder with links to all programs that there are but some."""
    folder.mkdir()
    for place in os.environ["PATH"].split(os.pathsep):
        for program in Path(place).iterdir() if Path(place).is_dir() else ():
            if program.name not in programs and not (folder / program.name).exists():
                (folder / program.name).symlink_to(program)
    return folder


class _Lfs(http.server.BaseHTTPRequestHandler):
    """The little of a server of large files that downloads need."""

    objects: ClassVar[dict[str, bytes]] = {}

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        base = f"http://{self.headers['Host']}"
        found = [{**each, "actions": {"download": {"href": f"{base}/{each['oid']}"}}} for each in asked["objects"]]
        self._answer(json.dumps({"transfer": "basic", "objects": found}).encode(), "application/vnd.git-lfs+json")

    def do_GET(self) -> None:
        self._answer(self.objects[self.path.strip("/")], "application/octet-stream")

    def _answer(self, content: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        pass


@needs_lfs
@pytest.mark.parametrize("settings", ["", FILTER, FILTER + "[lfs]\n\tfetchexclude = *\n"])
def test_large_files_are_fetched_where_git_lfs_is_there(
    registry: NodeRegistry,
    author: Callable[..., Path],
    served: Callable[..., str],
    project_files: Callable[..., Files],
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: str,
) -> None:
    """Whether the user set it up or not, or told it to leave some out; they lie there once."""
    content = os.urandom(3000)
    digest = hashlib.sha256(content).hexdigest()
    monkeypatch.setattr(_Lfs, "objects", {digest: content})
    with _running(_Lfs) as address:
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(content)}\n"
        files = {
            "src/echo_plugin/weights.bin": pointer,
            "src/.gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n",
            ".lfsconfig": f"[lfs]\n\turl = {address}\n",
        }
        url = served(author(files=project_files() | files))
        home.write_text(settings)
        monkeypatch.setenv("GIT_LFS_SKIP_SMUDGE", "1")
        checkout = load(registry, url)
    assert (checkout / "src/echo_plugin/weights.bin").read_bytes() == content
    assert not (checkout / ".git/lfs").exists()


@needs_lfs
def test_large_files_that_are_not_there_are_no_plugin(
    registry: NodeRegistry, author: Callable[..., Path], served: Callable[..., str], project_files: Callable[..., Files]
) -> None:
    """With the words of git-lfs."""
    files = {
        "a.bin": POINTER,
        ".gitattributes": "*.bin filter=lfs\n",
        ".lfsconfig": "[lfs]\n\turl = http://127.0.0.1:9/\n",
    }
    error = failure(registry, served(author(files=project_files() | files)))
    assert "a.bin" in str(error)
    assert "batch" in str(error)


@needs_lfs
@pytest.mark.parametrize(
    "said",
    [
        "[lfs]\n\turl = file://{place}\n",
        '[remote "origin"]\n\tlfsurl = file://{place}\n',
        "[lfs]\n\turl = {place}\n",
        "[lfs]\n\turl = ssh://-oProxyCommand=x/y\n",
        None,
    ],
)
def test_large_files_come_from_no_folder_of_this_machine(
    registry: NodeRegistry,
    author: Callable[..., Path],
    served: Callable[..., str],
    project_files: Callable[..., Files],
    tmp_path: Path,
    said: str | None,
) -> None:
    """Whatever the repository says about where they are; what says it is a file of its own."""
    content = b"of the user " * 20
    digest = hashlib.sha256(content).hexdigest()
    place = tmp_path / "own"
    place.mkdir()
    git(place, "init", "--quiet")
    kept = place / ".git/lfs/objects" / digest[:2] / digest[2:4] / digest
    kept.parent.mkdir(parents=True)
    kept.write_bytes(content)
    files = project_files() | {
        "a.bin": f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(content)}\n",
        ".gitattributes": "*.bin filter=lfs\n",
    }
    folder = author(files=files | ({".lfsconfig": said.format(place=place)} if said else {}))
    if said is None:
        (folder / "said").write_text(f"[lfs]\n\turl = file://{place}\n")
        (folder / ".lfsconfig").symlink_to("said")
        git(folder, "add", ".")
        git(folder, "commit", "--quiet", "-m", "link")
        git(folder, "tag", "--force", "-a", "v1", "-m", "v1")
    error = failure(registry, served(folder))
    assert ".lfsconfig" in str(error)
    assert not list((NodeRegistry.get_cache_dir()).glob("echo@*"))


def with_submodule(folder: Path, path: str, address: str, commit_: str, **more: str) -> None:
    """Add a submodule to an author's repository, with any address."""
    with (folder / ".gitmodules").open("a") as file:
        file.write(f'[submodule "{path}"]\n\tpath = {path}\n\turl = {address}\n')
        file.writelines(f"\t{key} = {value}\n" for key, value in more.items())
    git(folder, "add", ".gitmodules")
    git(folder, "update-index", "--add", "--cacheinfo", f"160000,{commit_},{path}")
    git(folder, "commit", "--quiet", "-m", "submodule")
    git(folder, "tag", "--force", "-a", "v1", "-m", "v1")


@pytest.mark.slow
@pytest.mark.parametrize("relative", [True, False])
def test_submodules_are_fetched_at_the_commits_of_the_tag(
    registry: NodeRegistry, author: Callable[..., Path], served: Callable[..., str], *, relative: bool
) -> None:
    """And theirs, though their branches moved on; they are files of the checkout, with no repository of their own."""
    inner = author(name="inner", files={"answer.py": "ANSWER = 42\n"})
    outer = author(name="outer", files={"__init__.py": "from .deep.answer import ANSWER\n"})
    folder = author()
    inner_url = served(inner)
    with_submodule(outer, "deep", f"../{inner_url.rpartition('/')[2]}", git(inner, "rev-parse", "HEAD").strip())
    outer_url = served(outer)
    address = f"./../{outer_url.rpartition('/')[2]}" if relative else outer_url
    with_submodule(folder, "src/echo_plugin/my lib", address, git(outer, "rev-parse", "HEAD").strip())
    for moved in (inner, outer):
        git(moved, "rm", "--quiet", "-r", "--cached", ".")
        served(commit(moved, "later"))
    checkout = load(registry, served(folder))
    assert (checkout / "src/echo_plugin/my lib/deep/answer.py").read_text() == "ANSWER = 42\n"
    assert [path.relative_to(checkout).as_posix() for path in checkout.rglob(".git")] == [".git"]


def test_a_plugin_imports_what_lies_in_a_submodule(
    registry: NodeRegistry, author: Callable[..., Path], served: Callable[..., str], project_files: Callable[..., Files]
) -> None:
    """The build finds it in its place; its Git objects are the checkout's, by which a bundle proves what it carries."""
    library = author(name="library", files={"__init__.py": "ANSWER = 42\n"})
    files = project_files()
    files["src/echo_plugin/nodes.py"] += "\nfrom echo_plugin.vendored import ANSWER\nEcho.answer = ANSWER\n"
    folder = author(files=files)
    head = git(library, "rev-parse", "HEAD").strip()
    with_submodule(folder, "src/echo_plugin/vendored", served(library), head)
    checkout = load(registry, served(folder))
    assert git(checkout, "cat-file", "-t", head) == "commit\n"
    assert registry.get("Echo").answer == 42  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("ext::sh -c 'touch pwned'", "blank"),
        ("/etc", "is a folder"),
        ("file:///etc", "is a folder"),
        ("--upload-pack=x", "begins like an option"),
        ("http://127.0.0.1:9/x.git", "Failed to connect"),
    ],
)
def test_submodules_come_from_where_plugins_may_come_from(
    registry: NodeRegistry, author: Callable[..., Path], served: Callable[..., str], address: str, words: str
) -> None:
    """Their addresses are the author's choice: the same rules hold, and the error names the submodule."""
    folder = author()
    with_submodule(folder, "x", address, git(folder, "rev-parse", "HEAD").strip())
    text = str(failure(registry, served(folder)))
    assert "ubmodule 'x'" in text
    assert words in text


def test_a_submodule_at_a_commit_that_is_gone_is_named(
    registry: NodeRegistry, author: Callable[..., Path], served: Callable[..., str]
) -> None:
    """With the commit."""
    library, folder = author(name="library", files={"a.py": ""}), author()
    with_submodule(folder, "x", served(library), "4d7a" * 10)
    text = str(failure(registry, served(folder)))
    assert "ubmodule 'x'" in text
    assert "4d7a" * 10 in text


@pytest.mark.parametrize("kind", ["unset", "none"])
def test_a_submodule_that_nobody_fetches_stays_empty(
    registry: NodeRegistry, author: Callable[..., Path], served: Callable[..., str], kind: str
) -> None:
    """One without an address, as a repository that was added by mistake; one that its author switched off."""
    folder = author()
    head = git(folder, "rev-parse", "HEAD").strip()
    if kind == "none":
        with_submodule(folder, "x", "http://127.0.0.1:9/x.git", head, update="none")
    else:
        git(folder, "update-index", "--add", "--cacheinfo", f"160000,{head},x")
        git(folder, "commit", "--quiet", "-m", "x")
        git(folder, "tag", "--force", "v1")
    assert list((load(registry, served(folder)) / "x").iterdir()) == []


def test_a_submodule_on_a_plain_web_server_is_fetched(
    registry: NodeRegistry, author: Callable[..., Path], served: Callable[..., str], web: Callable[[Path], str]
) -> None:
    """Where single commits cannot be asked for."""
    library, folder = author(name="library", files={"a.py": "A = 1\n"}), author()
    with_submodule(folder, "x", web(library), git(library, "rev-parse", "HEAD").strip())
    assert (load(registry, served(folder)) / "x/a.py").read_text() == "A = 1\n"


@pytest.fixture
def private(tmp_path: Path, project_files: Callable[..., Files]) -> Iterator[str]:
    """Return the address of a repository that asks for a password."""
    with GitHost(tmp_path / "private", require_password=True) as host:
        yield host.add("private", project_files(), tag="v1")


@pytest.mark.parametrize("way", ["helper", "variable", "core.askPass", "GIT_ASKPASS", "SSH_ASKPASS", "netrc"])
def test_a_password_comes_from_where_the_users_git_has_it(
    registry: NodeRegistry,
    private: str,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
) -> None:
    """A credential helper, also one that reads a variable; a program that answers questions; a file."""
    asked = tmp_path / "askpass"
    asked.write_text('#!/bin/sh\ncase "$1" in Username*) echo author;; *) echo secret;; esac\n')
    asked.chmod(0o755)
    helper = '[credential]\n\thelper = "!f() { echo username=author; echo password=%s; }; f"\n'
    if way == "helper":
        home.write_text(helper % "secret")
    elif way == "variable":
        home.write_text(helper % "$LAB_DEPLOY_TOKEN")
        monkeypatch.setenv("LAB_DEPLOY_TOKEN", "secret")
    elif way == "core.askPass":
        home.write_text(f"[core]\n\taskPass = {asked}\n")
    elif way == "netrc":
        netrc = Path.home() / ".netrc"
        netrc.write_text("machine 127.0.0.1 login author password secret\n")
        netrc.chmod(0o600)
    else:
        monkeypatch.setenv(way, str(asked))
    assert (load(registry, private) / "pyproject.toml").is_file()


def test_a_user_without_a_password_is_told_to_the_users_helper(
    registry: NodeRegistry, private: str, home: Path, tmp_path: Path
) -> None:
    """The address says who, the helper of that user's git says the password; nobody else is asked for."""
    asked = tmp_path / "asked"
    home.write_text(
        f'[credential]\n\thelper = "!f() {{ test $1 = get && cat >> {asked} && echo password=secret; }}; f"\n'
    )
    assert (load(registry, private.replace("//", "//author@")) / "pyproject.toml").is_file()
    assert "username=author" in asked.read_text()


def test_a_host_that_asks_for_a_password_says_so_first(registry: NodeRegistry, private: str) -> None:
    """Git's sentence, then ours, then the next step."""
    error = failure(registry, private)
    assert isinstance(error, AuthenticationError)
    lines = str(error).splitlines()
    assert [line.split()[0] for line in lines] == ["git", "fatal:", "The", "Store"]
    assert "could not read Username" in lines[1]


class _Proxy(http.server.BaseHTTPRequestHandler):
    """Answers every request by fetching it, as a proxy does."""

    seen: ClassVar[list[str]] = []
    wanted: ClassVar[str] = ""

    def do_GET(self) -> None:
        self._pass(None)

    def do_POST(self) -> None:
        self._pass(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def _pass(self, body: bytes | None) -> None:
        import urllib.request

        if self.wanted and self.headers.get("Proxy-Authorization") != self.wanted:
            self.send_response(407)
            self.send_header("Proxy-Authenticate", "Basic")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.seen.append(self.path)
        kept = {
            key: value for key, value in self.headers.items() if key.lower().startswith(("git-", "content-", "acc"))
        }
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(urllib.request.Request(self.path, body, kept)) as answer:
            content = answer.read()
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.headers["Content-Type"])
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        pass


class _Refusing(_Proxy):
    """Refuses to send what it has offered."""

    status: ClassVar[int]
    asked: ClassVar[int]

    def do_POST(self) -> None:
        type(self).asked += 1
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(self.status)
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.mark.parametrize(
    ("status", "kind", "says"),
    [
        (401, AuthenticationError, "credentials"),
        (403, AuthenticationError, "credentials"),
        (404, SourceError, "lets git's POST requests through"),
        (405, SourceError, "The host answers, and refuses"),
        (413, SourceError, "raise its limit"),
        (408, NetworkError, "trouble of its own"),
        (429, NetworkError, "trouble of its own"),
    ],
)
def test_a_host_that_refuses_is_not_asked_again(
    registry: NodeRegistry,
    git_plugin: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    status: int,
    kind: type[CuvisError],
    says: str,
) -> None:
    """To git every answer but the right one is a call that failed; to be asked less is what some hosts ask for.

    The error says that the host has answered, and what is to be done.
    """
    for name, value in (("status", status), ("asked", 0), ("seen", [])):
        monkeypatch.setattr(_Refusing, name, value, raising=False)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with _running(_Refusing) as address:
        monkeypatch.setenv("http_proxy", address)
        error = failure(registry, git_plugin(), "v1.0.0")
    assert type(error) is kind
    assert says in str(error)
    assert "cannot be reached" not in str(error)
    assert _Refusing.asked == 1
    assert "asked again" not in caplog.text


@pytest.mark.parametrize(
    "words",
    [
        "Connection closed by 192.0.2.1 port 22",
        "error: RPC failed; curl 56 Recv failure: Operation timed out",
        "fatal: unable to access: OpenSSL SSL_read: unexpected eof while reading",
        "fatal: unable to access: GnuTLS recv error (-110): The TLS connection was non-properly terminated.",
    ],
)
def test_a_connection_that_broke_is_made_again_whoever_tells_of_it(
    registry: NodeRegistry, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    """Each time after a longer pause."""
    pauses: list[float] = []
    monkeypatch.setattr(fetch_commit, "pause", pauses.append)
    ssh = tmp_path / "ssh"
    ssh.write_text(f"#!/bin/sh\necho asked >> {tmp_path}/asked\necho '{words}' >&2\nexit 255\n")
    ssh.chmod(0o755)
    home.write_text(f"[core]\n\tsshCommand = {ssh}\n[ssh]\n\tvariant = ssh\n")
    assert isinstance(failure(registry, "git@127.0.0.1:x.git"), NetworkError)
    assert (tmp_path / "asked").read_text() == "asked\n" * 3
    assert 0.5 < pauses[0] < pauses[1]


@pytest.mark.parametrize("way", ["http_proxy", "http.proxy"])
def test_a_proxy_is_used_as_the_users_git_does(
    registry: NodeRegistry,
    git_plugin: Callable[..., str],
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
) -> None:
    """Whether a variable or the configuration names it."""
    monkeypatch.setattr(_Proxy, "seen", [])
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with _running(_Proxy) as address:
        if way == "http_proxy":
            monkeypatch.setenv("http_proxy", address)
        else:
            home.write_text(f"[http]\n\tproxy = {address}\n")
        load(registry, git_plugin(), "v1.0.0")
    assert len(_Proxy.seen) > 1


def test_a_proxy_with_a_password_is_used_and_nobody_is_told_the_password(
    registry: NodeRegistry,
    git_plugin: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is on no command line, in no log, and in no error."""
    commands: list[str] = []

    class Listening(subprocess.Popen[Any]):
        def __init__(self, words: list[str], *more: Any, **options: Any) -> None:
            commands.append(" ".join(words))
            super().__init__(words, *more, **options)

    monkeypatch.setattr(subprocess, "Popen", Listening)
    monkeypatch.setattr(_Proxy, "seen", [])
    monkeypatch.setattr(_Proxy, "wanted", "Basic " + base64.b64encode(b"somebody:s3cret").decode())
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    caplog.set_level(logging.DEBUG)
    url = git_plugin()
    with _running(_Proxy) as address:
        monkeypatch.setenv("http_proxy", address.replace("//", "//somebody:wr0ng@"))
        error = failure(registry, url, "v1.0.0")
        monkeypatch.setenv("http_proxy", address.replace("//", "//somebody:s3cret@"))
        load(registry, url, "v1.0.0")
    assert len(_Proxy.seen) > 1
    assert any("fetch" in command for command in commands)
    for text in (*commands, caplog.text, str(error)):
        assert "s3cret" not in text
        assert "wr0ng" not in text


@pytest.mark.parametrize(
    ("address", "settings", "kind", "words"),
    [
        ("https://no-such-host.invalid/x.git", "", NetworkError, "Check the network and the proxy settings"),
        ("http://127.0.0.1:9/x.git", "", NetworkError, "Check the network and the proxy settings"),
        ("https://example.org/x.git", "[http]\n\tproxy = http://127.0.0.1:9\n", NetworkError, "proxy"),
        ("https://example.org/x.git", "[http]\n\tproxy = http://no-such.invalid\n", NetworkError, "proxy"),
        (
            "https://127.0.0.1/x.git",
            '[url "http://127.0.0.1:9/"]\n\tinsteadOf = https://127.0.0.1/\n',
            NetworkError,
            "port 9",
        ),
        ("http://127.0.0.1/x.git", '[protocol "http"]\n\tallow = never\n', SourceError, "protocol.allow"),
        ("git@127.0.0.1:x.git", "[core]\n\tsshCommand = /nowhere/ssh\n", SourceError, "Install an ssh client"),
    ],
)
def test_what_is_said_about_a_host_is_the_cause(
    registry: NodeRegistry, home: Path, address: str, settings: str, kind: type[CuvisError], words: str
) -> None:
    """Git's sentence stands before ours."""
    home.write_text(settings)
    error = failure(registry, address)
    assert type(error) is kind
    assert words in str(error)
    assert str(error).startswith(f"git could not fetch tag v1 of {address}:\n  ")


@pytest.mark.slow
def test_submodules_and_odd_names_travel_in_a_bundle(
    author: Callable[..., Path],
    served: Callable[..., str],
    cache: Path,
    tmp_path: Path,
) -> None:
    """What was fetched is locked and carried as a whole."""
    library, folder = author(name="library", files={"a.py": "A = 1\n"}), author()
    for name in (b"caf\xe9.txt", b"Readme.md", b"README.md"):
        (folder / os.fsdecode(name)).write_bytes(name)
    commit(folder)
    with_submodule(folder, "src/echo_plugin/vendored", served(library), git(library, "rev-parse", "HEAD").strip())
    manifest = tmp_path / "plugins.yaml"
    manifest.write_text(f"plugins:\n  echo: {{repo: '{served(folder)}', tag: v1, provides: {ECHO}}}\n")

    def run(*arguments: str | Path) -> None:
        result = CliRunner().invoke(cuvis_ai, ["plugins", *map(str, arguments)])
        assert result.exit_code == 0, result.output

    run("bundle", manifest, "-o", tmp_path / "bundle.tar.gz")
    NodeRegistry.set_cache_dir(tmp_path / "elsewhere")
    run("unbundle", "--accept", tmp_path / "bundle.tar.gz", "--output-dir", tmp_path / "out")
    checkout = tmp_path / "elsewhere/echo@v1"
    assert (checkout / "src/echo_plugin/vendored/a.py").read_text() == "A = 1\n"
    assert (checkout / os.fsdecode(b"caf\xe9.txt")).read_bytes() == b"caf\xe9.txt"
    with NodeRegistry(discover=False) as registry:
        assert registry.load_plugins(tmp_path / "out/plugins.yaml") == 1


@pytest.mark.slow
@needs_lfs
@pytest.mark.parametrize("altered", [False, True])
def test_large_files_travel_in_a_bundle(
    author: Callable[..., Path],
    served: Callable[..., str],
    project_files: Callable[..., Files],
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    altered: bool,
) -> None:
    """By the hashes in their pointers, which the commit proves; where they are unpacked nobody needs git-lfs."""
    content = os.urandom(3000)
    digest = hashlib.sha256(content).hexdigest()
    monkeypatch.setattr(_Lfs, "objects", {digest: content})
    archive, manifest = tmp_path / "bundle.tar.gz", tmp_path / "plugins.yaml"
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize 3000\n"
    with _running(_Lfs) as address:
        files = {
            "src/echo_plugin/weights.bin": pointer,
            "src/.gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n",
            ".lfsconfig": f"[lfs]\n\turl = {address}\n",
        }
        url = served(author(files=project_files() | files))
        manifest.write_text(f"plugins:\n  echo: {{repo: '{url}', tag: v1, provides: {ECHO}}}\n")
        made = CliRunner().invoke(cuvis_ai, ["plugins", "bundle", str(manifest), "-o", str(archive)])
    assert made.exit_code == 0, made.output
    if altered:
        _replace_in(archive, f"large/{digest}", b"evil" * 750)
    NodeRegistry.set_cache_dir(tmp_path / "elsewhere")
    monkeypatch.setenv("PATH", str(without(tmp_path / "bin", "git-lfs")))
    arguments = ["plugins", "unbundle", "--accept", str(archive), "--output-dir", str(tmp_path / "out")]
    result = CliRunner().invoke(cuvis_ai, arguments)
    assert (result.exit_code == 0) != altered, result.output
    checkout = tmp_path / "elsewhere/echo@v1"
    if altered:
        assert "lacks the large file src/echo_plugin/weights.bin" in result.stderr
        assert not checkout.exists()
    else:
        assert (checkout / "src/echo_plugin/weights.bin").read_bytes() == content
        with NodeRegistry(discover=False) as registry:
            assert registry.load_plugins(tmp_path / "out/plugins.yaml") == 1


def _replace_in(archive: Path, name: str, content: bytes) -> None:
    """Have another file in an archive, of the same size."""
    with tarfile.open(archive) as tar:
        members = [(each, file.read() if (file := tar.extractfile(each)) else b"") for each in tar]
    with tarfile.open(archive, "w:gz") as tar:
        for member, data in members:
            tar.addfile(member, io.BytesIO(content if member.name == name else data))
