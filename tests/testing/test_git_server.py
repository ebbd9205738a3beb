"""The Git host: what a real git client sees of it."""

import http.client
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cuvis_ai_core.errors import CuvisError, ToolNotFoundError
from cuvis_ai_core.testing import GitHost

ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_TERMINAL_PROMPT": "0",
    "NO_PROXY": "127.0.0.1",
}


@pytest.fixture
def host(tmp_path: Path) -> Iterator[GitHost]:
    """A host that serves while the test runs."""
    with GitHost(tmp_path / "host") as serving:
        yield serving


def git(*arguments: str, cwd: Path | None = None) -> str:
    """Run git as a user without a configuration would, and return what it prints."""
    done = subprocess.run(["git", *arguments], cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_tag_that_is_there_is_moved_by_force_alone(host: GitHost) -> None:
    """And a tag is of the commit itself, unless one is asked for that says more."""
    url = host.add("plugin", {"a.py": "one\n"}, tag="v1")
    first = git("ls-remote", url, "HEAD").split()[0]
    last = host.commit("plugin", {"a.py": "two\n"})
    with pytest.raises(CuvisError, match="v1"):
        host.tag("plugin", "v1")
    assert git("ls-remote", "--tags", url) == f"{first}\trefs/tags/v1"
    host.tag("plugin", "v1", force=True)
    assert git("ls-remote", "--tags", url) == f"{last}\trefs/tags/v1"


def test_a_tag_can_be_cloned_shallowly(host: GitHost, tmp_path: Path) -> None:
    """A shallow clone of a tag has the files of that tag and one commit."""
    url = host.add("plugin", {"a.py": "one\n", "b.py": "stays\n"}, tag="v1")
    commit = host.commit("plugin", {"a.py": "two\n", "deep/c.py": "new\n"}, tag="v2")
    host.commit("plugin", {"a.py": "three\n"})
    git("clone", "--quiet", "--depth", "1", "--branch", "v2", url, str(tmp_path / "clone"))
    texts = {path.name: path.read_text() for path in (tmp_path / "clone").rglob("*.py")}
    assert texts == {"a.py": "two\n", "b.py": "stays\n", "c.py": "new\n"}
    assert git("log", "--format=%H", cwd=tmp_path / "clone") == commit


def test_a_folder_is_served_without_its_build_products(host: GitHost, tmp_path: Path) -> None:
    """A folder becomes a repository; caches, environments and egg-info do not."""
    for name in ("pyproject.toml", "src/p/__init__.py", "src/p/__pycache__/x.pyc", "p.egg-info/PKG-INFO"):
        (tmp_path / "project" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "project" / name).write_text("text\n")
    git("clone", "--quiet", host.add("p", tmp_path / "project"), str(tmp_path / "clone"))
    assert git("ls-files", cwd=tmp_path / "clone").split() == ["pyproject.toml", "src/p/__init__.py"]


def test_a_patch_file_is_applied(host: GitHost, tmp_path: Path) -> None:
    """A commit can be given as a patch, so that the change between two tags is all that is written down."""
    host.add("plugin", {"a.py": "one\n"}, tag="v1")
    patch = tmp_path / "v2.patch"
    patch.write_text("--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-one\n+two\n")
    host.commit("plugin", patch, tag="v2")
    git("clone", "--quiet", "--branch", "v2", host.url("plugin"), str(tmp_path / "clone"))
    assert (tmp_path / "clone" / "a.py").read_text() == "two\n"


def test_tags_are_lightweight_or_annotated_and_can_be_moved(host: GitHost) -> None:
    """Both kinds of tags are there, as is a branch, and a tag that is moved points to the new commit."""
    url = host.add("plugin", {"a": "1"}, tags=["moved", "light"])
    host.branch("plugin", "next")
    second = host.commit("plugin", {"a": "2"}, tag="heavy", annotated=True)
    host.tag("plugin", "moved", force=True)
    lines = [line.split() for line in git("ls-remote", url).splitlines()]
    refs = {name: commit for commit, name in lines}
    assert refs["refs/tags/moved"] == second == refs["refs/tags/heavy^{}"] == refs["refs/heads/main"]
    assert refs["refs/tags/light"] == refs["refs/heads/next"] != second
    assert refs["refs/tags/heavy"] != second


def test_the_same_calls_give_the_same_commits(host: GitHost) -> None:
    """Identity and dates are fixed, whatever the user's configuration says."""
    for name in ("first", "second"):
        host.add(name, {"a": "1"})
    assert host.commit("first", {"a": "2"}) == host.commit("second", {"a": "2"})
    assert git("ls-remote", host.url("first")) == git("ls-remote", host.url("second"))


def test_an_outer_repository_is_not_touched(host: GitHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside a Git hook GIT_DIR names the user's repository; the host does not write there."""
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "user.git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    assert "refs/heads/main" in git("ls-remote", host.add("plugin", {"a": "1"}))
    assert not (tmp_path / "index").exists()
    assert not (tmp_path / "user.git").exists()


def test_an_existing_tag_is_not_moved_by_accident(host: GitHost) -> None:
    """Tagging twice without force fails with the words of git."""
    host.add("plugin", {"a": "1"}, tag="v1")
    with pytest.raises(CuvisError, match="tag 'v1' already exists"):
        host.tag("plugin", "v1")


def test_an_unknown_repository_is_not_found(host: GitHost) -> None:
    """A repository that is not there is a 404, which git reports."""
    with pytest.raises(subprocess.CalledProcessError) as failed:
        git("ls-remote", host.url("nothing"))
    assert "not found" in failed.value.stderr


def test_files_outside_of_the_repositories_are_not_served(host: GitHost, tmp_path: Path) -> None:
    """The address cannot climb out of the host's folder."""
    (tmp_path / "secret").write_text("secret")
    host.add("plugin", {"a": "1"})
    connection = http.client.HTTPConnection("127.0.0.1", host.port)
    connection.request("GET", "/../secret")
    response = connection.getresponse()
    assert response.status != http.HTTPStatus.OK
    assert b"secret" not in response.read()
    connection.close()


def test_a_password_can_be_required(host: GitHost) -> None:
    """Without the password git is refused; with it, it is served."""
    url = host.add("plugin", {"a": "1"})
    host.require_password = True
    with pytest.raises(subprocess.CalledProcessError) as failed:
        git("ls-remote", url)
    assert "could not read Username" in failed.value.stderr
    assert "refs/heads/main" in git("ls-remote", url.replace("//", f"//{host.user}:{host.password}@"))


def test_a_chunked_request_is_understood(host: GitHost) -> None:
    """Large requests of git arrive in chunks without a length."""
    host.add("plugin", {"a": "1"})
    connection = http.client.HTTPConnection("127.0.0.1", host.port)
    headers = {"Content-Type": "application/x-git-upload-pack-request", "Git-Protocol": "version=2"}
    body = iter([b"0014command=ls-refs\n", b"0000"])
    connection.request("POST", "/plugin.git/git-upload-pack", body, headers, encode_chunked=True)
    assert b"refs/heads/main" in connection.getresponse().read()
    connection.close()


def test_a_stalled_answer_ends_when_the_host_closes(tmp_path: Path) -> None:
    """A host that stalls holds the request until it closes, and closing does not wait for the stall."""
    with GitHost(tmp_path / "host", stall=3600) as host:
        url = host.add("plugin", {"a": "1"})
        client = threading.Thread(target=subprocess.run, args=(["git", "ls-remote", url],), daemon=True)
        client.start()
        while not host.requests:
            client.join(0.01)
        assert client.is_alive()
    client.join(60)
    assert not client.is_alive()


def test_requests_are_counted(host: GitHost) -> None:
    """Writing repositories makes no request; a client does."""
    url = host.add("plugin", {"a": "1"})
    assert host.requests == 0
    git("ls-remote", url)
    assert host.requests > 0


def test_a_fault_comes_after_the_requests_that_are_spared(host: GitHost) -> None:
    """As many are answered as they should be, and none after them, until the fault is taken away."""
    url = host.add("plugin", {"a.py": "one\n"}, tag="v1")
    before = host.requests
    git("ls-remote", url)
    host.fault, host.spared = "reset", 2 * (host.requests - before)
    git("ls-remote", url)
    git("ls-remote", url)
    with pytest.raises(subprocess.CalledProcessError):
        git("ls-remote", url)
    host.fault = ""
    git("ls-remote", url)


def test_a_host_that_does_not_serve_has_no_address(tmp_path: Path) -> None:
    """Forgetting `with` is said, instead of an address where nobody answers."""
    with pytest.raises(CuvisError, match="with GitHost"):
        GitHost(tmp_path).url("plugin")


def test_missing_git_is_named(host: GitHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without git the error names it."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ToolNotFoundError, match="'git' was not found"):
        host.add("plugin", {"a": "1"})


@pytest.mark.usefixtures("interruptible")
def test_a_folder_of_repositories_is_served_by_a_command(tmp_path: Path) -> None:
    """`cuvis-ai git-host FOLDER` says the addresses, and ends quietly with Ctrl-C."""
    with GitHost(tmp_path / "git") as host:
        host.add("lab/echo", {"README": "hello"}, tag="v1")
    command = [sys.executable, "-m", "cuvis_ai_core", "git-host", str(tmp_path / "git"), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stderr is not None
        address = server.stdout.readline().strip()
        assert server.stderr.readline() == "Ctrl-C ends it.\n"
        listing = subprocess.run(["git", "ls-remote", "--tags", address], capture_output=True, text=True, check=True)
        server.send_signal(signal.SIGINT)
        assert server.wait(10) == 0
        assert server.stderr.read() == "\n"
    assert address.endswith("/lab/echo.git")
    assert listing.stdout.endswith("refs/tags/v1\n")


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    """With what to do about it."""
    with GitHost(tmp_path) as host:
        host.add("echo", {"README": "hello"}, tag="v1")
        port = host.port
        command = [sys.executable, "-m", "cuvis_ai_core", "git-host", str(tmp_path), "--port", str(port)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"Error: Port {port} cannot be used: " in done.stderr
    assert "--port 0" in done.stderr


def test_a_command_without_git_says_so_before_it_serves(tmp_path: Path) -> None:
    """Whoever cloned from it would be told nothing that helps."""
    with GitHost(tmp_path / "git") as host:
        host.add("echo", {"README": "hello"}, tag="v1")
    command = [sys.executable, "-m", "cuvis_ai_core", "git-host", str(tmp_path / "git"), "--port", "0"]
    env = {**os.environ, "PATH": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env, timeout=60)
    assert done.returncode == 1
    assert "The program 'git' was not found." in done.stderr
    assert not done.stdout


def test_a_folder_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts from the working directory in which the host was made."""
    monkeypatch.chdir(tmp_path)
    with GitHost(Path("git")) as host:
        address = host.add("echo", {"README": "hello"}, tag="v1")
        monkeypatch.chdir("/")
        listing = subprocess.run(["git", "ls-remote", "--tags", address], capture_output=True, text=True, check=True)
    assert listing.stdout.endswith("refs/tags/v1\n")
