"""What a server tells those that start and watch it: systemd, containers, and who lacks its packages."""

import os
import socket
import stat
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from cuvis_ai_core.errors import MissingExtraError
from cuvis_ai_core.grpc import health
from cuvis_ai_core.grpc.missing_extra import explain_missing
from cuvis_ai_core.grpc.server.systemd import tell
from cuvis_ai_core.grpc.server.temporary_folder import own_temporary_folder, sweep


@pytest.mark.skipif(sys.platform != "linux", reason="systemd's sockets")
@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told(monkeypatch: pytest.MonkeyPatch, *, abstract: bool) -> None:
    """By a file, or by a name without one."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        place = f"{folder}/notify@x"
        end.bind(f"\0{place}" if abstract else place)
        end.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{place}" if abstract else place)
        tell("READY=1")
        assert end.recv(100) == b"READY=1"


@pytest.mark.parametrize("place", ["", "none", "/there/is/none"])
def test_nobody_is_told_where_nobody_asked(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """Nor is it an error that somebody has gone."""
    monkeypatch.setenv("NOTIFY_SOCKET", place)
    tell("READY=1")
    monkeypatch.delenv("NOTIFY_SOCKET")
    tell("READY=1")


@pytest.mark.parametrize(
    ("arguments", "serving", "asked", "status"),
    [
        ([], {"localhost:7"}, ["unix-abstract:cuvis-ai-health-7", "localhost:7"], 0),
        ([], {"unix-abstract:cuvis-ai-health-7"}, ["unix-abstract:cuvis-ai-health-7"], 0),
        ([], set(), ["unix-abstract:cuvis-ai-health-7", "localhost:7"], 1),
        (["there:8", "more"], {"there:8"}, ["there:8"], 0),
        (["there:8"], {"localhost:7"}, ["there:8"], 1),
    ],
)
def test_who_is_asked_whether_it_serves(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], serving: set[str], asked: list[str], status: int
) -> None:
    """The server that is named, or the one of this machine, also where that speaks TLS."""
    found: list[str] = []
    monkeypatch.setenv("GRPC_PORT", "7")

    def is_serving(address: str) -> bool:
        found.append(address)
        return address in serving

    monkeypatch.setattr(health, "is_serving", is_serving)
    assert health.main(arguments) == status
    assert found == asked


def test_a_port_that_is_none(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody can be asked there, unless an address is given."""
    monkeypatch.setenv("GRPC_PORT", "a port")
    monkeypatch.setattr(health, "is_serving", lambda _: True)
    assert health.main([]) == 2
    assert "GRPC_PORT is 'a port', which is no port" in capsys.readouterr().err
    assert health.main(["there:8"]) == 0


@pytest.mark.parametrize("name", ["grpc", "grpc_health", None])
def test_a_package_that_is_missing_is_one_of_the_extra(name: str | None) -> None:
    """And is named with it."""
    says = rf"need the package '{name}'.*\n.*cuvis-ai-core\[grpc\]"
    with pytest.raises(MissingExtraError, match=says), explain_missing():
        raise ModuleNotFoundError("nothing", name=name)


def test_a_module_of_ours_that_is_missing_is_a_bug() -> None:
    """No extra would help."""
    with pytest.raises(ModuleNotFoundError, match="ours"), explain_missing():
        raise ModuleNotFoundError("ours", name="cuvis_ai_core.grpc.none")


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder for temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", "before")
    monkeypatch.delenv("TEMP", raising=False)
    return tmp_path


@pytest.mark.skipif(os.name != "posix", reason="locks of folders")
def test_a_server_has_a_temporary_folder_of_its_own(base: Path) -> None:
    """For itself and its children, which nobody else can look into; then all is as it was."""
    with own_temporary_folder():
        (folder,) = base.iterdir()
        assert folder.name.startswith("cuvis-server-")
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {os.environ[name] for name in ("TMPDIR", "TEMP", "TMP")} == {tempfile.gettempdir()} == {str(folder)}
        Path(tempfile.mkdtemp(), "left").touch()
        assert sweep(base) == []  # it is locked
    assert list(base.iterdir()) == []
    assert tempfile.gettempdir() == str(base)
    assert (os.environ["TMPDIR"], os.environ.get("TEMP")) == ("before", None)


@pytest.mark.skipif(os.name != "posix", reason="locks of folders")
def test_what_killed_servers_left_is_removed(base: Path) -> None:
    """Folders of that name with a lock that nobody has; nothing else, and no link is followed."""
    for name in ("cuvis-server-dead", "cuvis-server-nolock", "other"):
        (base / name).mkdir()
        (base / name / "file").touch()
    (base / "cuvis-server-dead" / "lock").touch()
    (base / "other" / "lock").touch()
    (base / "cuvis-server-link").symlink_to(base / "other")
    assert sweep(base) == ["cuvis-server-dead"]
    assert sorted(each.name for each in base.iterdir()) == ["cuvis-server-link", "cuvis-server-nolock", "other"]


def test_without_a_temporary_folder_a_server_serves(
    base: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said, and nothing is changed."""

    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "mkdtemp", fail)
    with own_temporary_folder():
        assert tempfile.gettempdir() == str(base)
        assert os.environ["TMPDIR"] == "before"
    assert "there is no temporary folder: [Errno 28]" in caplog.text
