"""Why a server cannot listen where it was told to."""

import re
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("grpc")

from cuvis_ai_core.grpc.server.server import why_not
from cuvis_ai_core.grpc.server.settings import Settings


def _too_long(folder: Path) -> Path:
    return folder / ("s" * 108)


def _of_no_folder(folder: Path) -> Path:
    return folder / "none" / "s"


def _taken(folder: Path) -> Path:
    (folder / "s").touch()
    return folder / "s"


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (_too_long, "it is longer than the 107 bytes that a socket's path may have"),
        (_of_no_folder, "there is no folder '.*none'"),
        (_taken, "something else is there, or another server listens on it"),
        (lambda folder: folder / "s", "its folder cannot be written"),
    ],
)
def test_a_socket(make: Callable[[Path], Path], why: str) -> None:
    """It is named with what is in its way."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # sockets have no longer path
        place = make(Path(folder))
        error = why_not(Settings(uds=place))
    assert error.code == "UNAVAILABLE"
    assert re.match(f"'{place}' cannot be listened on: {why}", error.message)


def test_a_port() -> None:
    """So are a port that is taken, and what is no address."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        error = why_not(Settings(host="127.0.0.1", port=port))
        assert error.message.startswith(f"127.0.0.1:{port} cannot be listened on: ")
        assert "--port 0 takes a free one" in str(error.hint)
    assert "'no such host' is no address and no name" in why_not(Settings(host="no such host", port=1)).message
