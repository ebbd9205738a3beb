"""`check_reader` finds what a reader does not keep, and is content with honest ones."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cuvis_ai_core.data import Cube, LazyArray
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


def from_nothing(path: Path) -> Cube:
    """Make a cube of an empty file, and of no other that is not whole."""
    return honest(path) if path.stat().st_size else Cube(np.zeros(SHAPE))


def rooted(path: Path) -> Cube:
    """Refuse paths that begin where somebody works."""
    if not path.is_absolute():
        raise ValueError("where is it?")
    return honest(path)


def once() -> Callable[[Path], Cube]:
    """Return what reads a file once."""
    seen: list[Path] = []

    def read(path: Path) -> Cube:
        seen.append(path)
        if len(seen) > 1:
            raise RuntimeError("again?")
        return honest(path)

    return read


def fewer() -> Callable[[Path], list[Cube]]:
    """Return what finds one cube less each time."""
    left = [2]

    def read(path: Path) -> list[Cube]:
        left[0] -= 1
        return [honest(path)] * (left[0] + 1)

    return read


@pytest.mark.parametrize(
    ("reader", "says"),
    [
        (from_nothing, "of a file that has nothing left it makes a cube all the same, [2, 5, 4]"),
        (rooted, "given a path relative to the working directory, it fails: ValueError: where is it?"),
        (once(), "read again, it fails: RuntimeError: again?"),
        (fewer(), "read again, it fails: ValueError"),
        (lambda path: "cube" if path.exists() else None, "it returns an object of class str"),
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
    check_reader(honest, file.rename(tmp_path / "scene"))  # without a suffix
    np.save(tmp_path / "a.npy", np.ones(SHAPE, np.float32))
    check_reader(read_npy, tmp_path / "a.npy")
    np.savez(tmp_path / "b.npz", cube=np.ones(SHAPE, np.float32))
    check_reader(read_npz, tmp_path / "b.npz")
    spectral = pytest.importorskip("spectral")
    spectral.envi.save_image(str(tmp_path / "c.hdr"), np.ones(SHAPE, np.float32))
    check_reader(read_envi, tmp_path / "c.hdr")


def test_a_reader_that_reads_by_and_by_passes(tmp_path: Path) -> None:
    """With what lies beside its file, NaN where there are no data, and an error only where values are asked for."""
    file = tmp_path / "a[1].lab"
    np.arange(40, dtype="<f4").tofile(file)
    file.with_suffix(".txt").write_text("2 5 4")
    file.with_suffix(".d").mkdir()
    (tmp_path / "other.txt").touch()
    beside: list[set[str]] = []

    def lazy(path: Path) -> list[Cube]:
        beside.append({each.name for each in path.parent.iterdir()})
        shape = tuple(map(int, path.with_suffix(".txt").read_text().split()))
        assert path.exists()

        def read(*part: slice) -> NDArray[np.float32]:
            values = np.fromfile(path, "<f4").reshape(shape)
            values[0, 0, 0] = np.nan
            return np.asarray(values[part])

        return [Cube(LazyArray(SHAPE, np.dtype("f4"), read))]

    here = Path.cwd()
    check_reader(lazy, file)
    assert beside[0] == {"a[1].lab", "a[1].txt"}
    assert Path.cwd() == here
