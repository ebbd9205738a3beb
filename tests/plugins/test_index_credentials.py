"""Passwords of indexes: uv fetches with them what a build needs, and the build does not see them."""

import base64
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from cuvis_ai_core.plugins.installing.build_requirements import build_requirements
from cuvis_ai_core.plugins.installing.uv_commands import Uv

USER, PASSWORD = "somebody", "s3cret/of@them"

QUOTED = "s3cret%2Fof%40them"

BEHIND = "http://index.invalid"
"""The address of the index for those who ask for it through the server as a proxy."""

BACKEND = """\
import os, pathlib, zipfile
import cuvis_test_tool  # lies on the index alone

def everything():
    yield from (f"{name}={value}" for name, value in os.environ.items())
    files = [os.environ.get("UV_CONFIG_FILE"), *pathlib.Path(os.environ["TMPDIR"]).parent.glob("*.toml")]
    files += [f"/proc/{os.getppid()}/environ", f"/proc/{os.getppid()}/cmdline"]
    for file in filter(None, files):
        try:
            yield pathlib.Path(file).read_bytes().decode(errors="replace")
        except OSError:
            pass

def build_wheel(folder, *_):
    # Beside the project: uv throws away what a build prints.
    pathlib.Path(__file__).with_name("seen.txt").write_text("\\n".join(everything()))
    with zipfile.ZipFile(pathlib.Path(folder, "x-1-py3-none-any.whl"), "w") as wheel:
        wheel.writestr("x-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: x\\nVersion: 1\\n")
        wheel.writestr("x-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("x-1.dist-info/RECORD", "")
    return "x-1-py3-none-any.whl"

build_editable = build_wheel

def get_requires_for_build_wheel(settings):
    build_wheel(os.environ["TMPDIR"])
    return []
"""

PROJECT = """\
[build-system]
requires = ["cuvis-test-tool"]
build-backend = "backend"
backend-path = ["."]
[project]
name = "x"
version = "1"
"""


class _Guarded(http.server.SimpleHTTPRequestHandler):
    """An index that only somebody with the password may read; or a proxy to it, which asks for the password too."""

    def do_GET(self) -> None:
        wanted = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        proxied = self.path.startswith(BEHIND)
        if self.headers.get("Proxy-Authorization" if proxied else "Authorization") == wanted:
            self.path = self.path.removeprefix(BEHIND)
            super().do_GET()
        else:
            self.send_response(407 if proxied else 401)
            self.send_header("Proxy-Authenticate" if proxied else "WWW-Authenticate", "Basic")
            self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def guarded(tmp_path: Path, make_wheel: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve the index that has what the build needs, and return its host and port."""
    folder = tmp_path / "index/cuvis-test-tool"
    make_wheel(folder, "cuvis-test-tool", "1.0", {"cuvis_test_tool.py": ""})
    (folder / "index.html").write_text("".join(f'<a href="{each.name}">x</a>' for each in folder.glob("*.whl")))
    handler = partial(_Guarded, directory=str(tmp_path / "index"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    monkeypatch.setenv("UV_NO_CACHE", "1")
    home = tmp_path / "home"
    (home / ".config/uv").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def tell(how: str, host: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tell uv of the index and its password, in one of the ways that people have."""
    bare, with_password = f"http://{host}/", f"http://{USER}:{QUOTED}@{host}/"
    settings = folder / "home/.config/uv/uv.toml"
    named = {"UV_INDEX_MY_LAB_USERNAME": USER, "UV_INDEX_MY_LAB_PASSWORD": PASSWORD}
    variables = {
        "named": {"UV_INDEX": f"my-lab={bare}", **named},
        "named in uv.toml": named,
        "default": {"UV_DEFAULT_INDEX": with_password},
        "extra": {"UV_EXTRA_INDEX_URL": with_password},
        "uv.toml": {},
        "pip": {"PIP_INDEX_URL": with_password},
        "netrc": {"UV_INDEX_URL": bare, "NETRC": str(folder / "tickets")},
        "proxy": {"UV_DEFAULT_INDEX": f"{BEHIND}/", "HTTP_PROXY": with_password},
        "pip's proxy": {"UV_DEFAULT_INDEX": f"{BEHIND}/", "PIP_PROXY": with_password},
        "links": {"UV_FIND_LINKS": f"{with_password}cuvis-test-tool/", "UV_NO_INDEX": "1"},
    }[how]
    if how == "named in uv.toml":
        settings.write_text(f'[[index]]\nname = "my-lab"\nurl = "{bare}"\n')
    if how == "uv.toml":
        settings.write_text(f'extra-index-url = ["{with_password}"]\n')
    (folder / "tickets").write_text(f"machine 127.0.0.1 login {USER} password {PASSWORD}\n")
    (folder / "tickets").chmod(0o600)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


WAYS = ["named", "named in uv.toml", "default", "extra", "uv.toml", "pip", "netrc", "proxy", "pip's proxy", "links"]


@pytest.mark.slow
@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("kind", ["wheel", "editable", "asked"])
def test_a_build_does_not_see_with_which_password_its_tools_were_fetched(
    guarded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, kind: str
) -> None:
    """Neither in its variables, nor in uv's, in files of settings or on command lines."""
    tell(how, guarded, tmp_path, monkeypatch)
    project = tmp_path / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text(PROJECT)
    (project / "backend.py").write_text(BACKEND)
    (tmp_path / "work").mkdir()
    uv = Uv("x", tmp_path / "work")
    if kind == "wheel":
        uv.build_wheel(project, version=None)
    elif kind == "editable":
        uv.install(tmp_path / "target", uv.editable(project))
    else:
        assert build_requirements(project, uv, editable=False) == ["cuvis-test-tool==1.0"]
        project = uv.folder / "asked"
    seen = (project / "seen.txt").read_text()
    assert "PATH=" in seen
    assert [word for word in (PASSWORD, QUOTED, str(tmp_path / "tickets")) if word in seen] == []


def test_what_opens_repositories_reaches_only_builds_that_name_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user's agent and configuration of git."""
    monkeypatch.setenv("SSH_AUTH_SOCK", "/x/agent")
    monkeypatch.setenv("UV_INDEX_LAB_PASSWORD", "y")
    monkeypatch.setenv("CUVIS_PASS_VARIABLES", "UV_INDEX_LAB_PASSWORD")
    (tmp_path / "work").mkdir()
    uv = Uv("x", tmp_path / "work")
    seen = []
    for needs in ([], ["somewhat @ git+ssh://git@lab/somewhat"]):
        project = tmp_path / f"project{len(needs)}"
        project.mkdir()
        text = PROJECT.replace('["cuvis-test-tool"]', "[]") + f"dependencies = {json.dumps(needs)}\n"
        (project / "pyproject.toml").write_text(text)
        (project / "backend.py").write_text(BACKEND.replace("import cuvis_test_tool", "#"))
        uv.build_wheel(project, version=None)
        seen.append((project / "seen.txt").read_text())
    assert ["/x/agent" in text for text in seen] == [False, True]
    assert ["UV_INDEX_LAB_PASSWORD=y" in text for text in seen] == [True, True]  # somebody wants that
