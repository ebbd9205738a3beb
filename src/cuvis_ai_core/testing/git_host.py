"""A Git host on loopback: real repositories behind the real `git http-backend`."""

import base64
import os
import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Iterable
from email.message import Message
from email.parser import BytesParser
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self
from urllib.parse import unquote, urlsplit

from cuvis_ai_core.errors import CuvisError
from cuvis_ai_core.testing.git_repository import Files, GitRepository, git_environment

PORT: Final = 8417
"""The port on which the demonstration and the tutorial serve."""

_SECONDS: Final = 120


class GitHost:
    """Serve Git repositories over HTTP on 127.0.0.1, and write what is in them.

    Example:
        with GitHost(tmp_path) as host:
            url = host.add("my-plugin", Path("my_plugin"), tag="v1.0.0")
            registry.load_plugin(name="my_plugin", config={"repo": url, "tag": "v1.0.0", "provides": [...]})

    Args:
        root: Folder for the repositories; it is made if it is not there.
        port: Port to listen on; 0 lets the system choose.
        require_password: Answer 401 to everybody who does not give the password `secret` (user `author`).
        stall: Seconds for which each answer is held back, at most until the host closes.

    Attributes:
        fault: What goes wrong: `reset` breaks the connection, `cut` ends it in the middle of the answer, `junk`
            answers with something else.
        spared: Number of requests that are answered as they should before that.
        requests: Number of HTTP requests answered so far.
    """

    user: Final = "author"
    password: Final = "secret"  # noqa: S105 -- a password that tests may know

    def __init__(self, root: Path, *, port: int = 0, require_password: bool = False, stall: float = 0.0) -> None:
        self.root = root.absolute()
        self.require_password = require_password
        self.stall = stall
        self.fault: Literal["", "reset", "cut", "junk"] = ""
        self.spared = 0
        self.requests = 0
        self._port = port
        self._closing = threading.Event()
        self._counting = threading.Lock()
        self._repositories: dict[str, GitRepository] = {}
        self._server: ThreadingHTTPServer | None = None

    def __enter__(self) -> Self:
        self._closing.clear()
        handler = type("Handler", (_Handler,), {"host": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), handler)
        # So long `shutdown` waits at most: half a second by itself.
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closing.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def wait(self) -> None:
        """Wait until this host is closed."""
        self._closing.wait()

    @property
    def port(self) -> int:
        """The port on which this host listens.

        Raises:
            CuvisError: The host is not serving: it was not entered with `with`.
        """
        if self._server is None:
            raise CuvisError("This GitHost is not serving.", hint="Use it as `with GitHost(root) as host:`.")
        return int(self._server.server_address[1])

    def url(self, name: str) -> str:
        """Return the address of a repository."""
        return f"http://127.0.0.1:{self.port}/{name}.git"

    def add(self, name: str, files: Files, *, tag: str | None = None, tags: Iterable[str] = ()) -> str:
        """Make a repository with one commit, tagged or not, and return its address."""
        self.make(name, files, tag=tag, tags=tags)
        return self.url(name)

    def make(self, name: str, files: Files, *, tag: str | None = None, tags: Iterable[str] = ()) -> None:
        """Make a repository, as `add` does, also while this host is not serving."""
        work_tree = self.root / ".work" / name
        self._repositories[name] = GitRepository(self.root / f"{name}.git", work_tree)
        self.commit(name, files, tag=tag)
        for more in tags:
            self.tag(name, more)

    def commit(self, name: str, files: Files, *, tag: str | None = None, annotated: bool = False) -> str:
        """Commit changed files, tag the commit if asked to, and return its hash."""
        commit = self._repositories[name].commit(files, message=tag or "Change files")
        if tag:
            self.tag(name, tag, annotated=annotated)
        return commit

    def tag(self, name: str, tag: str, *, force: bool = False, annotated: bool = False) -> None:
        """Tag the last commit; `force` moves a tag that exists already."""
        self._repositories[name].tag(tag, force=force, annotated=annotated)

    def branch(self, name: str, branch: str) -> None:
        """Start a branch at the last commit."""
        self._repositories[name].branch(branch)

    def _admits(self, authorization: str) -> bool:
        expected = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        return not self.require_password or authorization == f"Basic {expected}"

    def _arrived(self) -> str:
        """Count a request, hold it back, and return what goes wrong with it."""
        with self._counting:
            self.requests += 1
            spared = self.spared > 0
            self.spared -= spared
        self._closing.wait(self.stall)
        return "" if spared else self.fault


class _Handler(BaseHTTPRequestHandler):
    """Hand one HTTP request to `git http-backend`, as any web server would (CGI, RFC 3875)."""

    host: GitHost
    protocol_version = "HTTP/1.1"
    # Headers and content are sent apart; the second would wait for the first to be acknowledged, 40 ms.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: requests are counted, not printed."""

    def _serve(self) -> None:
        body = self._body()
        fault = self.host._arrived()  # noqa: SLF001 -- the handler is a part of the host
        if not self.host._admits(self.headers.get("Authorization", "")):  # noqa: SLF001
            challenge = Message()
            challenge["WWW-Authenticate"] = 'Basic realm="plugins"'
            self._answer(HTTPStatus.UNAUTHORIZED, challenge, b"")
            return
        done = subprocess.run(
            [shutil.which("git") or "git", "http-backend"],
            input=body,
            env=self._cgi_environment(len(body)),
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = BytesParser().parsebytes(head, headersonly=True)
        # A CGI program without a status means 200 (RFC 3875, section 6.3.3).
        status = headers.get("Status", "200" if done.returncode == 0 else "500")
        del headers["Status"]
        if fault:
            self._fail(fault, headers, content)
        else:
            self._answer(int(status.split()[0]), headers, content)

    def _fail(self, fault: str, headers: Message, content: bytes) -> None:
        if fault == "junk":
            self._answer(HTTPStatus.OK, headers, b"\x1b[2J<html>This is no answer that git understands.</html>")
            return
        if fault == "cut":
            self._answer(HTTPStatus.OK, headers, content[: len(content) // 2], missing=len(content))
        # Without waiting for what is still to be sent, which the other side sees as a reset.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", fault == "reset", 0))
        self.close_connection = True

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return b"".join(iter(self._chunk, b""))
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _chunk(self) -> bytes:
        # Behind a `;` stand extensions of the chunk (RFC 9112, section 7.1.1).
        size = int(self.rfile.readline().split(b";")[0], 16)
        data = self.rfile.read(size)
        self.rfile.readline()
        return data

    def _cgi_environment(self, length: int) -> dict[str, str]:
        target = urlsplit(self.path)
        return git_environment() | {
            "GIT_PROJECT_ROOT": os.fspath(self.host.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": unquote(target.path),
            "QUERY_STRING": target.query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(length),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "HTTP_GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REMOTE_ADDR": self.client_address[0],
        }

    def _answer(self, status: int, headers: Message, content: bytes, *, missing: int = 0) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content) + missing))
        self.end_headers()
        try:
            self.wfile.write(content)
        # Whoever asked is gone, or has read what it wanted.
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
