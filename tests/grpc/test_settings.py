"""What a server may be set up as, and where its clients read and write."""

from pathlib import Path
from typing import Any

import pytest

from cuvis_ai_core.errors import ServiceError
from cuvis_ai_core.grpc.server.settings import Settings

FILE = Path("file")
TLS: dict[str, Any] = {"tls_certificate": FILE, "tls_key": FILE}


@pytest.mark.parametrize(
    ("given", "is_local"),
    [
        ({}, True),
        ({"host": "localhost"}, True),
        ({"host": "127.9.9.9"}, True),
        ({"host": "::1"}, True),
        ({"host": "[::1]"}, True),
        ({"host": "0.0.0.0"}, False),
        ({"host": "::"}, False),
        ({"host": "localhost.example"}, False),
        ({"host": "0.0.0.0", "uds": FILE}, True),
    ],
)
def test_which_servers_only_this_machine_reaches(given: dict[str, Any], *, is_local: bool) -> None:
    """Those at its own addresses, and at a socket of its file system."""
    assert Settings(**given).is_local is is_local


OPEN = "0.0.0.0"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, None),
        (TLS, None),
        ({**TLS, "client_ca": FILE}, None),
        ({"token_file": FILE}, None),
        ({"host": OPEN, "insecure": True}, None),
        ({"host": OPEN, **TLS, "token_file": FILE}, None),
        ({"host": OPEN, **TLS, "client_ca": FILE}, None),
        ({"tls_key": FILE}, "TLS needs both a certificate and its key."),
        ({"tls_certificate": FILE}, "TLS needs both a certificate and its key."),
        ({"client_ca": FILE}, "Client certificates need TLS."),
        ({"client_ca": FILE, "host": OPEN, "insecure": True}, "Client certificates need TLS."),
        ({"host": OPEN, "token_file": FILE}, f"{OPEN} can be reached from other machines, and nothing would be encryp"),
        ({"host": OPEN, **TLS}, f"{OPEN} can be reached from other machines, and everybody there could make this one"),
    ],
)
def test_a_server_that_strangers_reach_is_guarded(given: dict[str, Any], message: str | None) -> None:
    """Or somebody said that it need not be."""
    settings = Settings(**given)
    assert settings.uses_tls is ("tls_certificate" in given)
    if message is None:
        settings.check()
        return
    with pytest.raises(ServiceError) as caught:
        settings.check()
    assert caught.value.message.startswith(message)
    assert caught.value.code == "FAILED_PRECONDITION"


@pytest.mark.parametrize(
    ("given", "read", "written"),
    [
        ({}, ["work", "configs"], ["work", "configs"]),
        ({"roots": (Path("data"),)}, ["work", "configs", "data"], ["work", "configs"]),
        ({"write_roots": (Path("out"),)}, ["work", "configs", "out"], ["out"]),
        ({"host": OPEN}, ["configs"], []),
        ({"host": OPEN, "roots": (Path("data"),), "write_roots": (Path("out"),)}, ["configs", "data", "out"], ["out"]),
        ({"roots": (Path("configs"), Path("link"), Path("data"))}, ["work", "configs", "data"], ["work", "configs"]),
        ({"roots": (Path("~/mine"),)}, ["work", "configs", "mine"], ["work", "configs"]),
    ],
)
def test_where_clients_read_and_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], read: list[str], written: list[str]
) -> None:
    """The folder that it works in is for this machine only; each folder counts once, by where it really is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "link").symlink_to("data")
    settings = Settings(working_directory=Path("work"), **given)
    assert settings.read_roots() == [tmp_path / name for name in read]
    assert settings.writable_roots() == [tmp_path / name for name in written]
