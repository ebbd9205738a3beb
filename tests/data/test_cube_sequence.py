import gc
import tracemalloc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from spectral.io.envi import save_image

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.data import Batches, Cube, Cubes, read_cube
from cuvis_ai_core.errors import CubeError

Write = Callable[..., Path]


@pytest.fixture
def readers() -> Any:
    """Return the built-in readers."""
    with NodeRegistry(discover=False) as registry:
        return registry.cube_readers()


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a cube full of one value, and returns its path."""

    def write_cube(name: str, value: float, shape: tuple[int, ...] = (2, 3, 4), first: float = 400) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, cube=np.full(shape, value, np.float32), wavelengths=first + 10.0 * np.arange(shape[-1]))
        return path

    return write_cube


def _values(cubes: Cubes) -> list[float]:
    return [float(cube.data.flat[0]) for cube in cubes]


def test_a_folder_in_the_order_of_names(write: Write, readers: Any, tmp_path: Path) -> None:
    """Of a folder every file with a reader counts, not those of folders in it."""
    write("b.npz", 2)
    write("a.npz", 1)
    write("C.NPZ", 0)
    write("deep/d.npz", 4)
    (tmp_path / "notes.txt").write_text("other")
    cubes = Cubes(tmp_path, readers)
    assert (len(cubes), _values(cubes)) == (3, [0, 1, 2])
    assert cubes[-1].source == tmp_path / "b.npz"


def test_patterns_and_lists(write: Write, readers: Any, tmp_path: Path) -> None:
    """Patterns reach into folders; places are counted through, each file once."""
    for number, name in enumerate(["x/1.npz", "x/y/2.npz", "3.npz"]):
        write(name, number)
    assert _values(Cubes(str(tmp_path / "**" / "*.npz"), readers)) == [2, 0, 1]
    assert _values(Cubes([tmp_path / "x/y/2.npz", tmp_path / "x", tmp_path / "x/1.npz"], readers)) == [1, 0]


def test_relative_to_home(write: Write, readers: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`~` is the home folder, in patterns too."""
    write("scenes/1.npz", 5)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert _values(Cubes("~/scenes/*.npz", readers)) == [5]


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("", "has no file of a type that can be read.\nKnown suffixes: .*npy"),
        ("*.tif", "pattern '.*' matches nothing"),
        ("*.txt", "matches only files of other types, such as '.*notes.txt'"),
        ("note.txt", "There is no file or folder '.*'.\nDid you mean '.*notes.txt'"),
        ("there/no.npz", "Check the path"),
    ],
)
def test_nothing_there(readers: Any, tmp_path: Path, place: str, says: str) -> None:
    """A place without cubes says what is there instead."""
    (tmp_path / "notes.txt").write_text("other")
    with pytest.raises(CubeError, match=says):
        Cubes(tmp_path / place, readers)


def test_a_folder_of_folders_names_the_pattern_that_finds_their_cubes(
    write: Write, readers: Any, tmp_path: Path
) -> None:
    """The one it names does find them."""
    write("scenes/2024/1.npz", 5)
    with pytest.raises(CubeError, match=r"Those in '2024' are found by a pattern: '.*'") as refused:
        Cubes(tmp_path / "scenes", readers)
    assert _values(Cubes(str(refused.value.hint).split("'")[-2], readers)) == [5]


def test_no_place(readers: Any) -> None:
    """An empty list of places is an error."""
    with pytest.raises(CubeError, match="No place of cubes is given"):
        Cubes([], readers)


def test_a_file_of_several_and_files_of_one(write: Write, readers: Any, tmp_path: Path) -> None:
    """Cubes of a file of several are counted through with those of others, and keep their number in the file."""
    series = tmp_path / "b.series"
    series.write_bytes(b"")

    def read_series(path: Path) -> list[Cube]:
        return [Cube(np.full((1, 1, 1), 10 + number), source=path, index=number) for number in range(3)]

    write("a.npz", 0)
    write("c.npz", 2)
    cubes = Cubes(tmp_path, {**readers, ".series": read_series})
    assert _values(cubes) == [0, 10, 11, 12, 2]
    assert [cube.index for cube in cubes] == [0, 0, 1, 2, 0]
    assert cubes.place(3) == (series, 2)
    with pytest.raises(IndexError):
        cubes[5]


def test_memory_is_bounded(readers: Any, tmp_path: Path) -> None:
    """Streaming many cubes in batches takes the memory of a few, and what was handed out is not kept."""
    size, count = 1_000_000, 40
    for number in range(count):
        np.save(tmp_path / f"{number:02}.npy", np.full((50, 50, size // 10_000), number, np.float32))
    batches = Batches(Cubes(tmp_path, readers), range(count), size=2)
    kept = []
    tracemalloc.start()
    try:
        for batch in batches:
            kept.append(weakref.ref(batch["cube"]))
            del batch
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    gc.collect()
    assert len(kept) == count // 2
    assert [each for each in kept if each() is not None] == []
    assert peak < 8 * size < count * size  # a batch of two, and what reading and stacking them takes beside it


def test_batches(write: Write, readers: Any, tmp_path: Path) -> None:
    """A batch is cubes in the order of the numbers, float32, with wavelengths and numbers; the last may be shorter."""
    for number in range(5):
        write(f"{number}.npz", number)
    batches = Batches(Cubes(tmp_path, readers), [4, 0, 2], size=2)
    first, second = batches
    assert len(batches) == 2
    assert first["cube"].shape == (2, 2, 3, 4)
    assert first["cube"].dtype == np.float32
    assert first["cube"][:, 0, 0, 0].tolist() == [4, 0]
    assert (first["wavelengths"].tolist(), first["mesu_index"].tolist()) == ([400, 410, 420, 430], [4, 0])
    assert second["cube"].shape == (1, 2, 3, 4)
    assert [batch["mesu_index"].tolist() for batch in batches] == [[4, 0], [2]]


def test_cubes_that_do_not_go_together(write: Write, readers: Any, tmp_path: Path) -> None:
    """Cubes of two sizes, or with other wavelengths, make no batch; one by one they do."""
    write("a.npz", 0)
    write("b.npz", 1, shape=(3, 3, 4))
    write("c.npz", 2, first=500)
    cubes = Cubes(tmp_path, readers)
    with pytest.raises(CubeError, match=r"b\.npz', cube 0, is 3 x 3 x 4, not 2 x 3 x 4 as '.*a\.npz', cube 0"):
        list(Batches(cubes, [0, 1], size=2))
    with pytest.raises(CubeError, match=r"c\.npz', cube 0, has other wavelengths than '.*a\.npz'"):
        list(Batches(cubes, [0, 2], size=2))
    assert len(list(Batches(cubes, [0, 1, 2]))) == 3


def test_options_that_a_reader_does_not_take(write: Write, readers: Any) -> None:
    """A processing mode for files that hold values as they are is an error."""
    file = write("a.npz", 1)
    with pytest.raises(CubeError, match=r"cannot be processed to 'Raw': files of type '\.npz'") as error:
        Cubes(file, readers, processing_mode="Raw")
    assert error.value.path == file


def test_junk_in_folders(write: Write, readers: Any, tmp_path: Path) -> None:
    """What systems lay into folders beside cubes is no cube."""
    write("scene.npz", 1)
    for name in ("._scene.npz", ".hidden.npz", ".DS_Store", "Thumbs.db", "desktop.ini"):
        (tmp_path / name).write_bytes(b"\x00\x05\x16\x07")
    assert _values(Cubes(tmp_path, readers)) == [1]


def test_remarks_are_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What a reader remarks is said for the first cube of which it is true."""
    for number in range(3):
        (tmp_path / f"{number}.odd").touch()
    readers: Any = {".odd": lambda path: Cube(np.zeros((1, 1, 1)), source=path, remarks=("Bytes were left out.",))}
    assert len(list(Cubes(tmp_path, readers))) == 3
    assert caplog.messages == [f"{tmp_path / '0.odd'}: Bytes were left out."]


def test_an_order_of_bands_is_no_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Sensors of several spectrometers have them in another order in each of their cubes: the log has it below."""
    caplog.set_level("INFO")
    (tmp_path / "a.odd").touch()
    readers: Any = {".odd": lambda path: Cube(np.zeros((1, 1, 2)), np.array([500.0, 400.0]), path)}
    assert read_cube(tmp_path / "a.odd", readers).remarks == Cubes(tmp_path, readers)[0].remarks != ()
    assert [each.levelname for each in caplog.records] == ["INFO", "INFO"]


def test_data_files_of_envi_images(readers: Any, tmp_path: Path) -> None:
    """A pattern may match the data files; where headers match too, each image counts once."""
    for number in range(2):
        save_image(str(tmp_path / f"{number}.hdr"), np.full((2, 3, 4), number, np.int16))
    for pattern in ("*.img", "*", "*.hdr"):
        assert _values(Cubes(str(tmp_path / pattern), readers)) == [0, 1]
