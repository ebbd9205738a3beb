"""`check_reader` finds what a reader does not keep, and is content with honest ones."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cuvis_ai_core.data import Cube
from cuvis_ai_core.data.formats.envi.reader import read_envi
from cuvis_ai_core.data.numpy_files import read_npy, read_npz
from cuvis_ai_core.testing import ReaderCheckError, check_reader

SHAPE = (2, 5, 4)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a file of raw counts."""
    file = tmp_path / "scene.lab"
    np.arange(40, dtype="<u2").tofile(file)
    return file


def honest(path: Path) -> Cube:
    """Read it as it is."""
    return Cube(np.fromfile(path, "<u2").reshape(SHAPE))


def lenient(path: Path) -> Cube:
    """Fill up what is missing."""
    data = np.zeros(SHAPE, np.uint16)
    found = np.fromfile(path, "<u2")
    data.flat[: found.size] = found
    return Cube(data)


def writing(path: Path) -> Cube:
    """Leave a mark in the file."""
    cube = honest(path)
    with path.open("ab") as stream:
        stream.write(b"read")
    return cube


def random(path: Path) -> Cube:
    """Make up a bit."""
    return Cube(honest(path).data + np.random.default_rng().random(SHAPE))


def absent(path: Path) -> Cube:
    """Return something for a file that is not there."""
    return honest(path) if path.exists() else Cube(np.zeros(SHAPE))


def doubled(path: Path) -> Cube:
    """Give two bands one wavelength."""
    return Cube(honest(path).data, np.array([400.0, 500.0, 500.0, 600.0]))


@pytest.mark.parametrize(
    ("reader", "says"),
    [
        (lenient, "of a file that has half of it left it makes a cube all the same, [2, 5, 4]"),
        (writing, "it changes the file that it reads"),
        (random, "read again, the cube is another"),
        (absent, "of a file that is not there it makes a cube"),
        (doubled, "the cube has a wavelength twice"),
        (lambda path: [honest(path), doubled(path)], "cube 1 has a wavelength twice"),
        (lambda path: np.fromfile(path, "<u2"), "it returns an object of class ndarray"),
        (lambda _: [], "it returns no cube"),
        (lambda path: [honest(path), None], "it returns a sequence with an object of class NoneType"),
        (lambda path: path.nothing, "it does not read the file: AttributeError: "),
    ],
)
def test_a_fault_of_a_reader_is_found(file: Path, reader: Callable[[Path], object], says: str) -> None:
    """With a sentence; the file itself is left alone."""
    before = file.read_bytes()
    with pytest.raises(ReaderCheckError) as caught:
        check_reader(reader, file)
    assert any(says in fault for fault in caught.value.faults)
    assert file.read_bytes() == before


def test_honest_readers_pass(file: Path, tmp_path: Path) -> None:
    """One of an author, and built-in ones."""
    check_reader(honest, file)
    np.save(tmp_path / "a.npy", np.ones(SHAPE, np.float32))
    check_reader(read_npy, tmp_path / "a.npy")
    np.savez(tmp_path / "b.npz", cube=np.ones(SHAPE, np.float32))
    check_reader(read_npz, tmp_path / "b.npz")
    spectral = pytest.importorskip("spectral")
    spectral.envi.save_image(str(tmp_path / "c.hdr"), np.ones(SHAPE, np.float32))
    check_reader(read_envi, tmp_path / "c.hdr")
