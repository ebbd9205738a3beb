"""Files that are small on disk and large in memory, or no files at all: one error each, before they are read."""

import gzip
import json
import os
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuvis_ai_core._untrusted_files import load_yaml
from cuvis_ai_core.data import Cube, open_annotations, read_cube
from cuvis_ai_core.data.formats.envi.reader import read_envi
from cuvis_ai_core.data.numpy_files import read_npz
from cuvis_ai_core.errors import AnnotationError, CubeError, YamlError
from cuvis_ai_core.registry import NodeRegistry

HEADER = (
    "ENVI\nsamples = {n}\nlines = {n}\nbands = {bands}\ndata type = 1\ninterleave = bsq\nfile compression = {packed}\n"
)


@contextmanager
def little_memory() -> Iterator[None]:
    """Prove that what is done takes less than 40 MB of memory."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 40e6
    finally:
        tracemalloc.stop()


def _png(path: Path, width: int, height: int, chunks: bytes = b"") -> None:
    """Write a grey PNG that is said to be of some size and has a row of it."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(bytes(width + 1)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunks + data + chunk(b"IEND", b""))


def _cube(path: Path) -> Cube:
    return Cube(np.zeros((4, 4, 2), np.float32), source=path)


def test_a_mask_of_another_size_is_not_read(tmp_path: Path) -> None:
    """Nor one with a text that unpacks to more than a picture says."""
    _png(tmp_path / "m.png", 30_000, 30_000)
    with little_memory(), pytest.raises(AnnotationError, match="are 30000 x 30000 pixels"):
        open_annotations(tmp_path / "m.png").mask(_cube(tmp_path / "m.npy"))
    text = b"zTXt" + b"a\0\0" + zlib.compress(bytes(10**8))
    packed = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    _png(tmp_path / "t.png", 4, 4, packed)
    with pytest.raises(AnnotationError, match="is no picture that can be read"):
        open_annotations(tmp_path / "t.png").mask(_cube(tmp_path / "t.npy"))


def test_a_packed_cube_names_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few kilobytes of gzip that a header calls gigabytes; who knows it may raise the limit."""
    (tmp_path / "x.hdr").write_text(HEADER.format(n=20_000, bands=4, packed=1))
    (tmp_path / "x.img").write_bytes(gzip.compress(bytes(10**6)))
    with little_memory(), pytest.raises(CubeError, match=r"would unpack to 1.49 GiB; the limit is 256 MiB") as caught:
        read_envi(tmp_path / "x.hdr")
    assert "--unpack-limit" in str(caught.value)
    monkeypatch.setenv("CUVIS_UNPACK_LIMIT", "2GiB")
    with pytest.raises(CubeError, match="it is truncated"):
        read_envi(tmp_path / "x.hdr")
    monkeypatch.setenv("CUVIS_UNPACK_LIMIT", "much")
    with pytest.raises(CubeError, match="is 'much'; it is a size"):
        read_envi(tmp_path / "x.hdr")


def test_a_header_of_a_huge_cube(tmp_path: Path) -> None:
    """It is compared with its data before anything is reserved for it."""
    (tmp_path / "x.hdr").write_text(HEADER.format(n=10**9, bands=10**9, packed=0))
    (tmp_path / "x.img").write_bytes(bytes(100))
    with little_memory(), pytest.raises(CubeError, match="it is truncated"):
        read_envi(tmp_path / "x.hdr")


@pytest.mark.slow
def test_a_packed_archive_names_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One large array, or many that lie in the same bytes."""
    array = np.lib.format.header_data_from_array_1_0(np.zeros((1, 1, 1), np.uint8)) | {"shape": (10**9, 1, 1)}
    with (
        zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("cube.npy", "w") as file,
    ):
        np.lib.format.write_array_header_1_0(file, array)
        for _ in range(400):
            file.write(bytes(10**6))
    with little_memory(), pytest.raises(CubeError, match=r"would unpack to 381 MiB; the limit is 256 MiB"):
        read_npz(tmp_path / "x.npz")
    monkeypatch.setenv("CUVIS_UNPACK_LIMIT", "10MiB")
    np.savez(tmp_path / "y.npz", cube=np.zeros((100, 100, 200)))
    with pytest.raises(CubeError, match="the limit is 10 MiB"):
        read_npz(tmp_path / "y.npz")


def test_honest_packed_cubes(tmp_path: Path) -> None:
    """A scene of one colour is packed to almost nothing, and read."""
    np.savez_compressed(tmp_path / "x.npz", cube=np.zeros((200, 200, 100), np.float32))
    assert (tmp_path / "x.npz").stat().st_size < 100_000
    assert read_npz(tmp_path / "x.npz").data.shape == (200, 200, 100)


@pytest.mark.parametrize(
    "outline",
    [
        [[0, 0, 1e9, 0, 1e9, 1e9]],
        [[0, 0, 10**400, 0, 1, 1]],
        [[0, 0, 1e6, 0, 1e6, 1e6]] * 3,
        [[0, 0] + [16_000_000, 0, 0, 16_000_000] * 10],
        [[1e300] * 6],
        [[True] * 6],
        {"size": [4, 4], "counts": "\u20ac" * 100},
        {"size": [4, 4], "counts": "o" * 10_000},
        {"size": [4, 4], "counts": [10**400, 0]},
    ],
)
def test_outlines_that_would_take_all_memory(tmp_path: Path, outline: Any) -> None:
    """Some of them end the process in the library that draws them."""
    pytest.importorskip("pycocotools")
    content = {
        "images": [{"id": 0, "file_name": "x.npy", "height": 4, "width": 4}],
        "categories": [{"id": 1, "name": "a"}],
        "annotations": [{"id": 1, "image_id": 0, "category_id": 1, "segmentation": outline}],
    }
    (tmp_path / "x.json").write_text(json.dumps(content))
    with little_memory(), pytest.raises(AnnotationError, match=r"annotations\[0\]\.segmentation"):
        open_annotations(tmp_path / "x.json").mask(_cube(tmp_path / "x.npy"))


def test_an_image_that_is_only_said_to_be_huge_is_not_drawn(tmp_path: Path) -> None:
    """A session's annotations are drawn at the size of their image, which the file alone tells."""
    pytest.importorskip("pycocotools")
    from cuvis_ai_core.data.labels.coco import CocoAnnotations

    path = tmp_path / "labels.json"

    def drawn(side: int) -> Any:
        images = [{"id": 0, "file_name": "a.cu3s", "height": side, "width": side}]
        path.write_text(json.dumps({"images": images, "annotations": [], "categories": []}))
        return CocoAnnotations(path).drawn((tmp_path / "a.cu3s", 0))

    for side in (20_000, 2**30):
        with pytest.raises(AnnotationError, match="would unpack to"):
            drawn(side)
    assert drawn(30).shape == (30, 30)


@pytest.mark.parametrize(
    "read",
    [
        load_yaml,
        lambda path: read_cube(path, NodeRegistry(discover=False).cube_readers()),
        lambda path: open_annotations(path).mask(_cube(path)),
    ],
)
@pytest.mark.parametrize("suffix", [".yaml", ".json", ".png", ".hdr", ".npy", ".npz"])
def test_pipes_and_devices_are_not_read(tmp_path: Path, read: Callable[[Path], object], suffix: str) -> None:
    """A pipe would be waited for, a device has no end; a link to one is one."""
    os.mkfifo(tmp_path / f"pipe{suffix}")
    (tmp_path / f"device{suffix}").symlink_to("/dev/zero")
    for name in ("pipe", "device"):
        with little_memory(), pytest.raises((CubeError, AnnotationError, YamlError)):
            read(tmp_path / f"{name}{suffix}")


def test_a_palette_that_is_no_text(tmp_path: Path) -> None:
    """Neither huge, nor a pipe, nor what a table cannot hold."""
    for content in (b"name,r,g,b\n" + b"x" * 200_000 + b",1,2,3\n", bytes(2 * 1024**2)):
        (tmp_path / "class_dict.csv").write_bytes(content)
        with pytest.raises(AnnotationError, match="The palette"):
            open_annotations(tmp_path)
