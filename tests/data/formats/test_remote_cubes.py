"""Cubes at an address: of a server that the test itself starts."""

import io
import json
import os
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core._work_folder import work_folder
from cuvis_ai_core.data import Cubes, read_cube
from cuvis_ai_core.data.remote_cubes import fetched
from cuvis_ai_core.errors import CubeError, MissingExtraError

fsspec = pytest.importorskip("fsspec")
pytest.importorskip("aiohttp")

READERS = NodeRegistry().cube_readers()
DATA = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)
HEADER = "ENVI\nsamples = 3\nlines = 2\nbands = 4\ndata type = 12\ninterleave = bip\nbyte order = 0\n"


class _Quiet(SimpleHTTPRequestHandler):
    asked: list[str]

    def log_message(self, format: str, *args: object) -> None:
        self.asked.append(format % args)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep copies in a folder of the test."""
    monkeypatch.setenv("CUVIS_CUBES_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def served(tmp_path: Path, cache: Path) -> Iterator[tuple[Path, str, list[str]]]:
    """Serve a folder; give it, its address, and what is asked for."""
    folder = tmp_path / "served"
    folder.mkdir()
    asked: list[str] = []
    handler = type("Handler", (_Quiet,), {"asked": asked})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def test_read_and_kept(served: tuple[Path, str, list[str]]) -> None:
    """A file at an address is read, and copied once, until it changes there."""
    folder, url, asked = served
    np.save(folder / "a.npy", DATA)
    for _ in range(2):
        np.testing.assert_array_equal(read_cube(f"{url}/a.npy", READERS).data, DATA)
    assert sum("GET /a.npy" in line and "HEAD" not in line for line in asked) <= 2  # one of them looks at the size
    np.save(folder / "a.npy", np.concatenate([DATA, DATA]))
    assert read_cube(f"{url}/a.npy", READERS).data.shape == (4, 3, 4)


@pytest.mark.parametrize("kept", ["simplecache", "filecache", "blockcache::simplecache"])
def test_addresses_with_a_cache_of_fsspec(served: tuple[Path, str, list[str]], kept: str) -> None:
    """What asks fsspec for a copy is no name of a file, and the copy is made anyway."""
    folder, url, _ = served
    np.savez(folder / "a.npz", a=DATA, b=DATA + 1)
    np.testing.assert_array_equal(read_cube(f"{kept}::{url}/a.npz::b", READERS).data, DATA + 1)
    np.testing.assert_array_equal(Cubes([f"{kept}::{url}/a.npz::a"], READERS)[0].data, DATA)


def test_as_a_path(served: tuple[Path, str, list[str]]) -> None:
    """An address that went through a path, which knows no double slash, is still one; several cubes too."""
    folder, url, _ = served
    np.savez(folder / "a.npz", a=DATA, b=DATA + 1)
    np.testing.assert_array_equal(read_cube(Path(f"{url}/a.npz::b"), READERS).data, DATA + 1)
    assert len(Cubes([f"{url}/a.npz::a", f"{url}/a.npz::b"], READERS)) == 2


def test_companions(served: tuple[Path, str, list[str]]) -> None:
    """With an ENVI header comes its data file."""
    folder, url, _ = served
    (folder / "a.hdr").write_text(HEADER)
    DATA.tofile(folder / "a.img")
    np.testing.assert_array_equal(read_cube(f"{url}/a.hdr", READERS).data, DATA)


def test_what_a_killed_copying_left_goes_with_the_next(cache: Path) -> None:
    """It may be large, and has no name by which anybody would find it; what is being copied stays."""
    packed = io.BytesIO()
    np.save(packed, DATA)
    fsspec.filesystem("memory").pipe("/left/a.npy", packed.getvalue())
    cache.mkdir()
    with work_folder(cache, ".partial-") as living:
        (cache / ".partial-00" / "whole").mkdir(parents=True)
        os.utime(cache / ".partial-00", (0, 0))
        np.testing.assert_array_equal(read_cube("memory://left/a.npy", READERS).data, DATA)
        assert {path.name for path in cache.glob(".*")} == {living.name, f"{living.name}.lock"}


def test_store_in_memory(tmp_path: Path, cache: Path) -> None:
    """A Zarr store is copied as a folder, from any file system that fsspec knows."""
    zarr = pytest.importorskip("zarr")
    zarr.create_array(store=tmp_path / "a.zarr", data=DATA)
    fsspec.filesystem("memory").put(str(tmp_path / "a.zarr"), "/cubes/a.zarr", recursive=True)
    np.testing.assert_array_equal(read_cube("memory://cubes/a.zarr", READERS).data, DATA)


def test_signed_addresses(served: tuple[Path, str, list[str]]) -> None:
    """What lets one in stands behind a question mark: no part of the name; companions have it, too."""
    folder, url, asked = served
    (folder / "a[1].hdr").write_text(HEADER)
    DATA.tofile(folder / "a[1].img")
    np.testing.assert_array_equal(read_cube(f"{url}/a[1].hdr?sig=a*b", READERS).data, DATA)
    assert any("a[1].img?sig=a*b" in line or "a%5B1%5D.img?sig=a*b" in line for line in asked)


def test_files_in_archives(tmp_path: Path, cache: Path) -> None:
    """As fsspec chains addresses, with companions and names of arrays."""
    np.savez(tmp_path / "b.npz", a=DATA, b=DATA + 1)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("in/a.hdr", HEADER)
        archive.writestr("in/a.img", DATA.tobytes())
        archive.write(tmp_path / "b.npz", "b.npz")
    packed = tmp_path / "x.zip"
    fsspec.filesystem("memory").pipe("/y/x.zip", packed.read_bytes())
    for inside in (str(packed), "memory://y/x.zip"):
        np.testing.assert_array_equal(read_cube(f"zip://in/a.hdr::{inside}", READERS).data, DATA)
        np.testing.assert_array_equal(read_cube(Path(f"zip://b.npz::{inside}::b"), READERS).data, DATA + 1)
    with pytest.raises(CubeError) as caught:
        read_cube(packed, READERS)
    assert f"'zip://scene.hdr::{packed}'" in (caught.value.hint or "")


@pytest.mark.parametrize("slashes", ["//", "/", ""])
def test_file_addresses(tmp_path: Path, slashes: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of this machine, also one whose name is escaped: it is read where it is, without a library."""
    monkeypatch.setitem(sys.modules, "fsspec", None)
    np.save(tmp_path / "a b.npy", DATA)
    address = (tmp_path / "a b.npy").as_uri().replace("//", slashes, 1)
    np.testing.assert_array_equal(read_cube(address, READERS).data, DATA)
    np.testing.assert_array_equal(Cubes(address, READERS)[0].data, DATA)
    assert read_cube(Path(address), READERS).source == tmp_path / "a b.npy"


@pytest.mark.parametrize("way", ["listing", "tar", "dots"])
def test_names_that_lead_out_are_refused(tmp_path: Path, cache: Path, way: str) -> None:
    """A server lists, or an archive holds, a file that would be written elsewhere: nothing is, anywhere."""
    archive = tmp_path / "x.tar"
    with tarfile.open(archive, "w") as tar:
        for name in ("a.zarr/zarr.json", "a.zarr/../../../evil.txt"):
            about = tarfile.TarInfo(name)
            about.size = 2
            tar.addfile(about, io.BytesIO(b"{}"))

    class Listing(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            body = f'<a href="{url}/a.zarr/zarr.json">a</a><a href="{url}/a.zarr/../../evil.txt">b</a>'.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Listing) as server:
        url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever).start()
        try:
            address = {"listing": f"{url}/a.zarr", "tar": f"tar://a.zarr::file://{archive}", "dots": f"{url}/x/.."}[way]
            with pytest.raises(CubeError, match=r"which is not in its folder|names no file"):
                fetched(address)
        finally:
            server.shutdown()
    assert not list(tmp_path.rglob("evil.txt"))
    assert not cache.exists() or not list(cache.iterdir())


class _Half(_Quiet):
    """Announces a whole file, and gives out half of it with no word about its size."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        file = Path(self.translate_path(self.path))
        self.wfile.write(file.read_bytes()[: file.stat().st_size // 2])


def test_half_a_file_is_no_cube(served: tuple[Path, str, list[str]], cache: Path) -> None:
    """A connection that breaks off may look like the end of a file: its size is compared with what was announced."""
    folder, _, asked = served
    DATA.tofile(folder / "a.img")
    (folder / "a.hdr").write_text(HEADER)
    handler = type("Handler", (_Half,), {"asked": asked})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        with pytest.raises(CubeError, match=r"of 'a\.img' 24 bytes came, and 48 were announced"):
            read_cube(f"http://127.0.0.1:{server.server_port}/a.img", READERS)
        server.shutdown()
    assert list(cache.iterdir()) == []


def test_missing(served: tuple[Path, str, list[str]], cache: Path) -> None:
    """What is not there is an error with the address, without its password, and leaves nothing behind."""
    _, url, _ = served
    secret = url.replace("http://", "http://me:secret@")
    with pytest.raises(
        CubeError, match=r"(?s)a\.npy' cannot be fetched: FileNotFoundError.*Check the address"
    ) as caught:
        read_cube(f"{secret}/a.npy", READERS)
    assert "secret" not in str(caught.value)
    assert not cache.exists() or not list(cache.iterdir())


def test_unknown_scheme(cache: Path) -> None:
    """A scheme that nobody knows is an error that says so."""
    with pytest.raises(CubeError, match=r"(?s)cannot be fetched: .*nowhere"):
        read_cube("nowhere://a/b.npy", READERS)


def test_without_library(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the library the error names the extra."""
    monkeypatch.setitem(__import__("sys").modules, "fsspec", None)
    with pytest.raises(MissingExtraError, match=r"(?s)package 'fsspec'.*cuvis-ai-core\[remote\]"):
        read_cube("https://example.org/a.npy", READERS)


def test_lists_of_references_are_not_followed(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What they name may have variables of the environment in it, and be anywhere."""
    pytest.importorskip("jinja2")
    monkeypatch.setenv("CANARY", "canary")
    np.save(tmp_path / "canary.npy", np.zeros((2, 2, 3), np.uint8))
    named = f"{tmp_path}/{{{{f.__globals__[os].environ[CANARY]}}}}.npy"
    (tmp_path / "list.json").write_text(
        json.dumps({"version": 1, "templates": {"f": "{{c}}"}, "refs": {"x.npy": [named]}})
    )
    for address in (f"reference://x.npy::{tmp_path}/list.json", f"reference://x.npy::file://{tmp_path}/list.json"):
        with pytest.raises(CubeError, match="a list of references, which is not followed"):
            read_cube(address, READERS)
    assert not cache.exists()


def test_archives_on_this_machine_are_named_by_addresses(tmp_path: Path, cache: Path) -> None:
    """`file:///` is a place, also behind another address."""
    np.save(tmp_path / "x.npy", np.zeros((2, 2, 3), np.uint8))
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.write(tmp_path / "x.npy", "x.npy")
    for place in (tmp_path, f"file://{tmp_path}"):
        cube = read_cube(f"zip://x.npy::{place}/x.zip", READERS)
        assert cube.data.shape == (2, 2, 3)
    assert cache.is_dir()
