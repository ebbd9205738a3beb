"""A hub on loopback: the few calls that `huggingface_hub` makes to fetch a file or a repository."""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any
from urllib.parse import unquote

_LARGE = 1000  # bytes
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """What the server has, and what it was asked for.

    Attributes:
        files: Content by `models/OWNER/NAME/PATH` or `datasets/OWNER/NAME/PATH`.
        asked: Method and path of each request.
        tokens: What requests had as authorization.
        commit: The commit that each repository is at.
        broken: Paths whose content ends early.
        instead: Content that is sent in the place of what was listed.
        held: Paths of whose content the second half comes when `go_on` is set; `halfway` is set when the first came.
        lacks: Revisions that no repository has.
        gated: Repositories, `models/OWNER/NAME`, that let nobody in.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.tokens: list[str | None] = []
        self.commit = COMMIT
        self.broken: set[str] = set()
        self.instead: dict[str, bytes] = {}
        self.held: set[str] = set()
        self.gated: set[str] = set()
        self.lacks: set[str] = set()
        self.halfway, self.go_on = Event(), Event()
        self.endpoint = ""

    def listed(self, repository: str) -> list[str]:
        """Return the files of a repository."""
        return [name.removeprefix(repository + "/") for name in self.files if name.startswith(repository + "/")]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self) -> None:
        path = unquote(self.path.partition("?")[0])
        self.hub.asked.append(f"{self.command} {path}")
        self.hub.tokens.append(self.headers.get("authorization"))
        if found := re.fullmatch(r"/api/(models|datasets)/([^/]+/[^/]+)/(revision|tree)/([^/]+)", path):
            kind, name, what, revision = found.groups()
            if revision in self.hub.lacks:
                return self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            return self._listing(f"{kind}/{name}", name, what)
        if found := re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            kind, name, revision, file = found.groups()
            if revision in self.hub.lacks:
                return self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
            return self._file(f"{(kind or 'models/')}{name}/{file}")
        return self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def _listing(self, repository: str, name: str, what: str) -> None:
        files = self.hub.listed(repository)
        if not files:
            return self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        if what == "tree":
            rows: Any = [_row(each, self.hub.files[f"{repository}/{each}"]) for each in files]
            rows += [{"type": "directory", "path": each, "oid": "0" * 40} for each in _folders(files)]
        else:
            rows = {"id": name, "sha": self.hub.commit, "siblings": [{"rfilename": each} for each in files]}
        return self._send(200, json.dumps(rows).encode(), {"Content-Type": "application/json"})

    def _file(self, file: str) -> None:
        content = self.hub.files.get(file)
        if content is None:
            known = self.hub.listed("/".join(file.split("/")[:3]))
            self._send(404, b"", {"X-Error-Code": "EntryNotFound" if known else "RepoNotFound"})
            return
        if "/".join(file.split("/")[:3]) in self.hub.gated:
            self._send(403, b"", {"X-Error-Code": "GatedRepo"})
            return
        row = _row(file, content)
        headers = {"X-Repo-Commit": self.hub.commit, "ETag": f'"{row.get("lfs", row)["oid"]}"'}
        headers["X-Linked-Size"] = str(len(content))
        content = self.hub.instead.get(file, content)
        begin = re.match(r"bytes=(\d+)-", self.headers.get("range") or "")
        start = int(begin[1]) if begin else 0
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        breaks, waits = file in self.hub.broken, file in self.hub.held
        self._send(206 if start else 200, content[start:], headers, breaks=breaks, waits=waits)

    def _send(
        self, status: int, body: bytes, headers: dict[str, str], *, breaks: bool = False, waits: bool = False
    ) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.close_connection = breaks
        if self.command == "HEAD":
            return
        half = len(body) // 2 if breaks or waits else len(body)
        self.wfile.write(body[:half])
        if waits:
            self.hub.halfway.set()
            self.hub.go_on.wait(60)
        if not breaks:
            with suppress(OSError):  # whoever asked may have been ended
                self.wfile.write(body[half:])


def _row(path: str, content: bytes) -> dict[str, Any]:
    """Return what a list says of a file: those of models and larger ones lie beside git, by their SHA-256."""
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    row: dict[str, Any] = {"type": "file", "path": path, "oid": blob, "size": len(content)}
    if path.startswith("models/") or len(content) >= _LARGE:
        row["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
    return row


def _folders(files: list[str]) -> list[str]:
    return sorted({each.rpartition("/")[0] for each in files if "/" in each})


@contextmanager
def loopback_hub() -> Iterator[Hub]:
    """Serve a hub on a free port until the end."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.go_on.set()
        server.shutdown()
        server.server_close()
        thread.join(10)
