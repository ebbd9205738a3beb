"""Files that somebody else may have written: plain ones, of a size that they may have."""

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cuvis_ai_core._untrusted_files import load_yaml, read_file, read_json, read_toml
from cuvis_ai_core.errors import YamlError


def test_as_much_as_a_file_may_have(tmp_path: Path) -> None:
    """That is read, by a link too, and a byte more is refused; the size of what may be read is in the error."""
    file = tmp_path / "file"
    (tmp_path / "link").symlink_to(file)
    file.write_bytes(b"x" * 2048)
    assert read_file(tmp_path / "link", 2048) == read_file(file) == b"x" * 2048
    file.write_bytes(b"x" * 2049)
    with pytest.raises(ValueError, match="it has more than 2 KiB, the limit for such files"):
        read_file(file, 2048)


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as there:
        there.bind(str(path))


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other ones")
@pytest.mark.parametrize(
    ("make", "kind"),
    [(_pipe, "a pipe"), (_socket, "a socket"), (_device, "a device")],
    ids=["pipe", "socket", "device"],
)
def test_what_is_no_file_is_not_opened(
    make: Callable[[Path], None], kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It would have no end, or be waited for."""
    monkeypatch.chdir(tmp_path)
    make(Path("x"))
    with pytest.raises(ValueError, match=f"it is {kind}, no file"):
        read_file(Path("x"))
    with pytest.raises(YamlError, match=f"it is {kind}, no file"):
        load_yaml(Path("x"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a." * 99 + "b = 1", None),
        ("a." * 100 + "b = 1", "a key of more than 100 parts"),
        ("'a' . " * 100 + "b = 1", "a key of more than 100 parts"),
        ('"a".' * 100 + "b = 1", "a key of more than 100 parts"),
        ("a = " + "[" * 5000, "nested too deeply"),
        ("a = ", "Invalid value"),
        ("#" + "x" * 4 * 1024**2, "more than 4 MiB"),
        ("#" + "x" * (4 * 1024**2 - 1), None),
    ],
    ids=["most parts", "plain parts", "parts in quotes", "other quotes", "deep", "broken", "large", "largest"],
)
def test_tables_of_toml(tmp_path: Path, text: str, says: str | None) -> None:
    """Keys and values of a size and depth that take no time."""
    (tmp_path / "x.toml").write_text(text, encoding="utf-8")
    if says is None:
        assert isinstance(read_toml(tmp_path / "x.toml"), dict)
        return
    with pytest.raises(ValueError, match=says):
        read_toml(tmp_path / "x.toml")


def test_why_a_file_cannot_be_read(tmp_path: Path) -> None:
    """A name beside it that is meant, a folder, a folder that is not there, a byte that is no text and its line."""
    (tmp_path / "pipeline.yaml").write_bytes(b"a: 1\nb: \xff\n")
    for name, says in {
        "pipelines.yaml": "there is no such file; did you mean 'pipeline.yaml'?",
        "xyz": "there is no such file; check the path",
        "none/x.yaml": "there is no such file, and no such folder; give the path of a file",
        ".": "this is a folder; give the path of a file",
        "pipeline.yaml": "not UTF-8 text; save the file as UTF-8",
    }.items():
        with pytest.raises(YamlError) as error:
            load_yaml(tmp_path / name)
        assert says in str(error.value)
        assert error.value.path == tmp_path / name
        assert error.value.line == (2 if name == "pipeline.yaml" else None)


@pytest.mark.parametrize("text", ["[1]", "{", "[" * 100_000, "\udcff{}"])
def test_what_is_no_record_reads_as_none(tmp_path: Path, text: str) -> None:
    """Whatever somebody did to the file."""
    (tmp_path / "record.json").write_bytes(text.encode(errors="surrogateescape"))
    assert read_json(tmp_path / "record.json") is None
