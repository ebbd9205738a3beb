"""Which files clients may name, and that no file stays open which was read or written for them."""

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from cuvis_ai_core.errors import CuvisError, ServiceError
from cuvis_ai_core.grpc.server.allowed_paths import Roots
from cuvis_ai_core.grpc.server.symlink_races import reading, writing


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder with two others, of which the second is to be looked in first."""
    for name in ("root/first", "root/second/below", "outside"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("root/a.yaml", "root/first/a.yaml", "root/first/b.yml", "root/second/a", "outside/a.yaml"):
        (tmp_path / name).write_text(name)
    (tmp_path / "root" / "out").symlink_to(tmp_path / "outside")
    (tmp_path / "root" / "in").symlink_to(tmp_path / "root" / "first")
    return tmp_path / "root"


@pytest.fixture
def roots(root: Path) -> Roots:
    """Return what allows to read below that folder, and to write below its second one."""
    return Roots([root], [root / "second"])


@pytest.mark.parametrize(
    ("text", "suffixes", "found"),
    [
        ("a.yaml", ("",), "first/a.yaml"),
        ("a", (".yaml", ".yml", ""), "first/a.yaml"),
        ("a", ("",), "second/a"),
        ("b", (".yaml", ".yml"), "first/b.yml"),
        ("first/a.yaml", ("",), "first/a.yaml"),
        ("in/a.yaml", ("",), "first/a.yaml"),
        ("first/../a.yaml", ("",), "a.yaml"),
    ],
)
def test_where_a_file_is_found(roots: Roots, root: Path, text: str, suffixes: tuple[str, ...], found: str) -> None:
    """In the folders that are given, in their order, before the roots; what is absolute is where it is."""
    folders = [root / "first", root / "second"]
    assert roots.file(text, folders, suffixes) == root / found
    assert (
        roots.file(str(root / found)) == roots.readable(text if suffixes == ("",) else found, folders) == root / found
    )


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "INVALID_ARGUMENT"),
        (" ", "INVALID_ARGUMENT"),
        ("a\0", "INVALID_ARGUMENT"),
        ("absent", "NOT_FOUND"),
        ("first", "PERMISSION_DENIED"),
        ("out/a.yaml", "PERMISSION_DENIED"),
        ("out/absent", "PERMISSION_DENIED"),
        ("../outside/a.yaml", "PERMISSION_DENIED"),
        ("../outside/absent", "PERMISSION_DENIED"),
        ("/etc/passwd", "PERMISSION_DENIED"),
        ("/etc/absent", "PERMISSION_DENIED"),
    ],
)
def test_what_is_no_file_to_be_read(roots: Roots, text: str, code: str) -> None:
    """Whether something is there is told of what lies below the roots alone."""
    with pytest.raises(ServiceError) as caught:
        roots.file(text)
    assert caught.value.code == code


def test_folders_to_be_read(roots: Roots, root: Path) -> None:
    """Without links, and no file."""
    assert roots.folder("in") == roots.readable("in") == roots.folder(str(root / "in")) == root / "first"
    for text, code in (("a.yaml", "NOT_FOUND"), ("absent", "NOT_FOUND"), ("out", "PERMISSION_DENIED")):
        for named in (text, str(root / text)):
            with pytest.raises(ServiceError) as caught:
                roots.folder(named)
            assert caught.value.code == code
    roots.refuse_outside(root / "in")
    with pytest.raises(ServiceError, match="'out' is not below"):
        roots.refuse_outside(root / "out")


def test_where_files_are_written(roots: Roots, root: Path) -> None:
    """Below the root for that, also where its folder is not there yet; a name has its limit, in bytes."""
    assert roots.target("new/a.yaml") == root / "second" / "new" / "a.yaml"
    assert roots.target("b", root / "second" / "below") == root / "second" / "below" / "b"
    assert roots.target("ä" * 100).name == "ä" * 100
    os.mkfifo(root / "second" / "pipe")
    for text, code in (
        ("", "INVALID_ARGUMENT"),
        ("a\0", "INVALID_ARGUMENT"),
        ("ä" * 100 + "a", "INVALID_ARGUMENT"),
        ("a/" * 1749 + "a", "INVALID_ARGUMENT"),
        ("pipe", "PERMISSION_DENIED"),
        ("../a.yaml", "PERMISSION_DENIED"),
        (str(root / "a.yaml"), "PERMISSION_DENIED"),
    ):
        with pytest.raises(ServiceError) as caught:
            roots.target(text)
        assert caught.value.code == code, text
    with pytest.raises(ServiceError, match="writes no files"):
        Roots([root], []).target("a")


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="this system does not tell what is open")
def test_nothing_stays_open_that_was_read_or_written(
    roots: Roots, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither where it was refused; and no temporary folder stays."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))

    def told(open_one: Callable[..., Any], path: Path, error: Exception | None = None) -> str:
        with suppress(ServiceError), open_one(roots, path) as held:
            if error is not None:
                raise error
            if open_one is writing:
                held.write_text("written")
            return str(held.read_text())
        return "refused"

    def open_now() -> set[str]:
        found = set()
        for each in Path("/proc/self/fd").iterdir():
            with suppress(OSError):
                found.add(str(each.readlink()))
        return {each for each in found if str(tmp_path) in each}

    assert told(reading, root / "first" / "a.yaml") == "root/first/a.yaml"
    assert told(writing, root / "second" / "new" / "er" / "w.yaml") == "written"
    assert (root / "second" / "new" / "er" / "w.yaml").read_text() == "written"
    for place in ("in/a.yaml", "first", "absent/a.yaml", "absent"):
        assert told(reading, root / place) == "refused"
    error = CuvisError("'x' in y")
    with pytest.raises(CuvisError):
        told(reading, root / "a.yaml", error)
    assert open_now() == set()
    assert list((tmp_path / "temporary").iterdir()) == []
