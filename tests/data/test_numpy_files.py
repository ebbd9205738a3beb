import gc
import io
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from cuvis_ai_core.data import Cubes, numpy_files, read_cube
from cuvis_ai_core.data.lazy_array import LazyArray
from cuvis_ai_core.data.numpy_files import place_arrays, read_npy, read_npz
from cuvis_ai_core.errors import CubeError

DATA = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)
WAVELENGTHS = np.asarray([400.0, 500.0, 600.0, 700.0])


@pytest.fixture
def npy(tmp_path: Path) -> Path:
    """Return where a `.npy` file will be."""
    return tmp_path / "cube.npy"


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    """Return where a `.npz` file will be."""
    return tmp_path / "cube.npz"


@pytest.mark.parametrize("dtype", ["uint8", ">i2", "float32", "float64"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_round_trip(npy: Path, dtype: str, order: Any) -> None:
    """A .npy file comes back as it was saved."""
    np.save(npy, DATA.astype(dtype, order=order))
    cube = read_npy(npy)
    assert_array_equal(cube.data, DATA.astype(np.dtype(dtype).newbyteorder("=")), strict=True)
    assert (cube.wavelengths, cube.source) == (None, npy)


def test_npy_stays_in_its_file(npy: Path) -> None:
    """A cube from .npy is read by pieces when it is asked for; a file that was written meanwhile is refused."""
    np.save(npy, DATA)
    cube = read_npy(npy)
    assert isinstance(cube.data, LazyArray)
    assert_array_equal(cube.data[:1, 1:, ::2], DATA[:1, 1:, ::2], strict=True)
    np.save(npy, np.zeros((*DATA.shape[:2], 9)))
    with pytest.raises(CubeError, match="was written to since it was opened"):
        cube.batch()


def test_npy_in_the_order_of_fortran(npy: Path) -> None:
    """A .npy file in column-major order, and in foreign byte order, is read piece by piece too."""
    np.save(npy, np.asfortranarray(DATA.astype(">f8")))
    cube = read_npy(npy)
    assert_array_equal(cube.data[1:, :2, 1:3], DATA.astype(np.float64)[1:, :2, 1:3], strict=True)
    assert_array_equal(cube.data, DATA.astype(np.float64), strict=True)


def test_npz_named_cube(npz: Path) -> None:
    """A .npz file takes the array named cube and its wavelengths."""
    np.savez(npz, cube=DATA, wavelengths=WAVELENGTHS, fwhm=WAVELENGTHS / 100, good_bands=[1, 1, 0, 1])
    cube = read_npz(npz)
    assert_array_equal(cube.data, DATA, strict=True)
    assert_array_equal(cube.wavelengths, WAVELENGTHS, strict=True)
    assert_array_equal(cube.fwhm, WAVELENGTHS / 100, strict=True)
    assert_array_equal(cube.good_bands, [True, True, False, True])
    assert cube.source == npz


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("height", [1, 64])
@pytest.mark.usefixtures("small_is_large")
def test_a_batch_of_one_image_is_a_cube(npy: Path, npz: Path, height: int, save: Any, order: Any) -> None:
    """The outputs of a run are such; also where they are read by pieces, and beside wavelengths."""
    batch = np.asarray(np.arange(height * 512 * 32, dtype=np.uint16).reshape(1, height, 512, 32), order=order)
    np.save(npy, batch)
    assert_array_equal(read_npy(npy).data, batch[0], strict=True)
    save(npz, scores=batch, wavelengths=np.linspace(400, 1000, 32))
    cube = read_npz(npz)
    assert_array_equal(cube.data, batch[0], strict=True)
    assert cube.wavelengths is not None
    np.save(npy, np.zeros((2, 3, 4, 5)))
    with pytest.raises(CubeError, match="three dimensions"):
        read_npy(npy)


def test_npz_single_cube(npz: Path) -> None:
    """A .npz file takes the only array of three dimensions."""
    np.savez_compressed(npz, scene=DATA)
    cube = read_npz(npz)
    assert_array_equal(cube.data, DATA)
    assert cube.wavelengths is None


def _versioned(version: tuple[int, int]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, DATA, version)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "array",
    [
        pytest.param(_versioned((1, 0)), id="version 1"),
        pytest.param(_versioned((2, 0)), id="version 2"),
        pytest.param(_versioned((3, 0)), id="version 3"),
        pytest.param(_versioned((1, 0)).replace(b", 'shape'", b",\n'shape'"), id="in two lines"),
        pytest.param(_versioned((1, 0)).replace(b" \n", b"  "), id="without an end of the line"),
    ],
)
def test_npz_descriptions(npz: Path, array: bytes) -> None:
    """An array in a .npz archive may be described in each way that NumPy reads."""
    with zipfile.ZipFile(npz, "w") as archive:
        archive.writestr("cube.npy", array)
    assert_array_equal(read_npz(npz).data, DATA, strict=True)


@pytest.mark.skipif(sys.platform != "linux", reason="page faults are counted as Linux does")
def test_memory_of_small_cubes_is_taken_once(tmp_path: Path) -> None:
    """A loop over small cubes gets the memory for them from the system once, and not for each."""
    for number in range(12):
        np.savez(tmp_path / f"{number:02}.npz", cube=np.zeros((100, 100, 60), dtype=np.float32))
    count = subprocess.run([sys.executable, "-c", _FAULTS, tmp_path], capture_output=True, text=True, check=True)
    assert int(count.stdout) < 2_400_000 // os.sysconf("SC_PAGE_SIZE")


_FAULTS = """
import resource, sys
from pathlib import Path
from cuvis_ai_core.data import read_cube
from cuvis_ai_core.data.numpy_files import read_npz
files = sorted(Path(sys.argv[1]).iterdir())
for number, file in enumerate(files):
    if number == 2:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    read_cube(file, {".npz": read_npz}).batch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.parametrize("names", [[], ["a", "b"]])
def test_npz_unclear(npz: Path, names: list[str]) -> None:
    """A .npz file in which the cube is not clear lists what it holds."""
    arrays: dict[str, Any] = {"labels": np.zeros((2, 3)), **dict.fromkeys(names, DATA)}
    np.savez(npz, **arrays)
    with pytest.raises(CubeError, match=rf"has {len(names)} arrays of three .*labels \(2, 3\)") as caught:
        read_npz(npz)
    assert ("cube.npz::a" if names else "numpy.savez(path, cube=..., wavelengths=...)") in str(caught.value)
    assert caught.value.path == npz


def test_npz_bad_wavelengths(npz: Path) -> None:
    """Wavelengths that do not fit name the archive."""
    np.savez(npz, cube=DATA, wavelengths=WAVELENGTHS / 1000)
    with pytest.raises(CubeError, match=r"cube\.npz' has the wavelength 0\.4"):
        read_npz(npz)


def _archive() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, cube=DATA)
    return buffer.getvalue()


def _single() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, DATA)
    return buffer.getvalue()


def _with_objects() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.full((1, 1, 1), None), allow_pickle=True)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"no array", id="text"),
        pytest.param(_single()[:-5], id="truncated data"),
        pytest.param(_single()[:40], id="truncated header"),
        pytest.param(_single().replace(b"(2, 3, 4)", b"(2**9999)"), id="hostile header"),
        pytest.param(_single().replace(b"(2, 3, 4), }        ", b"(99999, 99999, 4), }"), id="claims too much"),
        pytest.param(_single().replace(b"}", b" "), id="broken header"),
        pytest.param(_with_objects(), id="Python objects"),
        pytest.param(_archive(), id="an archive"),
    ],
)
def test_damaged_npy(npy: Path, content: bytes) -> None:
    """A damaged .npy is one clear error."""
    npy.write_bytes(content)
    with pytest.raises(CubeError, match=r"cube\.npy' is not a \.npy file .*:") as caught:
        read_npy(npy)
    assert caught.value.path == npy


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(_single(), id="a single array"),
        pytest.param(_archive()[:-30], id="truncated"),
        pytest.param(_archive().replace(DATA.tobytes(), DATA[::-1].tobytes()), id="wrong checksum"),
    ],
)
def test_damaged_npz(npz: Path, content: bytes) -> None:
    """A damaged .npz is one clear error."""
    npz.write_bytes(content)
    with pytest.raises(CubeError, match=r"cube\.npz' is not a \.npz archive .*:") as caught:
        read_npz(npz)
    assert caught.value.path == npz


@pytest.mark.parametrize("dtype", ["uint8", ">i2", "<f4", "float64"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("save", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_npz_as_others_write_it(npz: Path, dtype: str, order: Any, version: tuple[int, int], save: int) -> None:
    """An array comes back from any kind of entry of an archive, and its batch is a copy of it."""
    data = DATA.astype(dtype, order=order)
    content = io.BytesIO()
    np.lib.format.write_array(content, data, version=version)
    with zipfile.ZipFile(npz, "w", save) as archive:
        archive.writestr("README.txt", "Indian Pines")
        entry = zipfile.ZipInfo("cube.npy")
        entry.extra, entry.compress_type = b"\xfe\xca\x02\x00ab", save
        archive.writestr(entry, content.getvalue())
    cube = read_npz(npz)
    assert_array_equal(cube.data, data.astype(data.dtype.newbyteorder("=")))
    cube.batch()["cube"][:] = 0
    assert_array_equal(cube.data, data)


def test_npz_with_objects(npz: Path) -> None:
    """Python objects in .npz are never unpickled."""
    with zipfile.ZipFile(npz, "w") as target:
        target.writestr("cube.npy", _with_objects())
    with pytest.raises(CubeError, match=r"not a \.npz archive of arrays of numbers"):
        read_npz(npz)


@pytest.mark.parametrize("name", ["cube", "scene"])
def test_npz_with_text(npz: Path, name: str) -> None:
    """Text beside the cube in .npz does no harm."""
    arrays: dict[str, Any] = {name: DATA}
    np.savez(npz, **arrays)
    with zipfile.ZipFile(npz, "a") as target:
        target.writestr("README.txt", "Indian Pines")
    assert_array_equal(read_npz(npz).data, DATA)


def test_npy_of_python_2(npy: Path) -> None:
    """A file with a header of Python 2 is read without a warning."""
    content = _single().replace(b"(2, 3, 4), }   ", b"(2L, 3L, 4L), }")
    npy.write_bytes(content)
    assert_array_equal(read_npy(npy).data, DATA)


@pytest.mark.parametrize(
    ("key", "near"),
    [("wavelength", "wavelengths"), ("Wavelengths", "wavelengths"), ("FWHMs", "fwhm"), ("bands_good", None)],
)
def test_npz_unknown_names(npz: Path, key: str, near: str | None) -> None:
    """An array under a name that nobody reads is an error that names the nearest."""
    arrays: dict[str, Any] = {"cube": DATA, key: WAVELENGTHS}
    np.savez(npz, **arrays)
    with pytest.raises(
        CubeError, match=rf"(?s)has an array '{key}' \(4,\), which nothing reads.*cube\.npz::cube"
    ) as caught:
        read_npz(npz)
    assert near is None or f"Did you mean '{near}'?" in str(caught.value)
    assert_array_equal(read_npz(npz, array="cube").data, DATA)


def test_npz_array_by_name(npz: Path) -> None:
    """One of several arrays is asked for by name; wavelengths of another number of bands are not its own."""
    np.savez(npz, radiance=DATA, rgb=DATA[..., :3], wavelengths=WAVELENGTHS)
    readers: Any = {".npz": read_npz}
    cube = read_cube(f"{npz}::radiance", readers)
    assert_array_equal(cube.data, DATA)
    assert_array_equal(cube.wavelengths, WAVELENGTHS)
    assert cube.source == npz
    rgb = Cubes(f"{npz.parent}/*.npz::rgb", readers)[0]
    assert (rgb.data.shape[-1], rgb.wavelengths) == (3, None)
    with pytest.raises(CubeError, match=r"(?s)has no array 'rgbs'.*Did you mean '.*cube\.npz::rgb'"):
        read_cube(f"{npz}::rgbs", readers)


def test_npy_has_no_names(npy: Path) -> None:
    """A name is refused where the file has no names."""
    np.save(npy, DATA)
    with pytest.raises(CubeError, match=r"(?s)no array 'a': files of type '\.npy' hold one.*Leave '::a' away"):
        read_cube(f"{npy}::a", {".npy": read_npy})


def test_where_and_when_a_cube_was_taken(tmp_path: Path) -> None:
    """An archive may say it, as that of a run does."""
    place: dict[str, Any] = {
        "crs": "EPSG:32632",
        "transform": [2.0, 0, 7, 0, -2, 9],
        "acquired": "2024-05-01T10:00:00+00:00",
    }
    arrays: dict[str, Any] = {"cube": np.ones((2, 2, 3)), **place}
    np.savez(tmp_path / "c.npz", **arrays)
    cube = read_npz(tmp_path / "c.npz")
    assert (cube.crs, cube.transform) == ("EPSG:32632", (2, 0, 7, 0, -2, 9))
    assert {key: each.tolist() for key, each in place_arrays(cube).items()} == place
    for wrong, says in (({"transform": [1.0]}, "transform has 1 numbers"), ({"acquired": "soon"}, "soon")):
        np.savez(tmp_path / "d.npz", cube=np.ones((2, 2, 3)), **wrong)
        with pytest.raises(CubeError, match=says):
            read_npz(tmp_path / "d.npz")


@pytest.mark.parametrize(("crs", "found"), [(32632, "32632"), (b"EPSG:32632", "EPSG:32632"), ("", "")])
def test_a_coordinate_system_is_a_text(tmp_path: Path, crs: Any, found: str) -> None:
    """Whatever the archive has it in."""
    np.savez(tmp_path / "c.npz", cube=np.ones((2, 2, 3)), crs=crs)
    assert read_npz(tmp_path / "c.npz").crs == found


@pytest.mark.parametrize("order", ["C", "F"])
def test_npz_that_is_large_stays_in_its_file(npz: Path, order: Any) -> None:
    """A large image in an archive that is not compressed is read by pieces."""
    data = np.arange(512 * 512 * 32, dtype=np.uint16).reshape(512, 512, 32)
    np.savez(npz, cube=np.asarray(data, order=order), wavelengths=np.linspace(400, 1000, 32))
    cube = read_npz(npz)
    assert isinstance(cube.data, LazyArray)
    assert_array_equal(cube.data[100:103, 5:7], data[100:103, 5:7], strict=True)
    assert_array_equal(cube.data, data, strict=True)


@pytest.fixture
def small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have what takes 64 KiB count as large: a cube of the true size takes seconds to pack."""
    monkeypatch.setattr(numpy_files, "_LARGE", 2**16)


@pytest.mark.usefixtures("small_is_large")
@pytest.mark.parametrize("order", ["C", "F"])
def test_npz_that_is_packed_is_unpacked_once(
    npz: Path, order: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large image is laid into a temporary file when it is first looked at; that goes with the image.

    What a killed process left goes first.
    """
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "room"))
    (tmp_path / "room").mkdir()
    data = np.arange(64 * 64 * 32, dtype=np.uint16).reshape(64, 64, 32)
    np.savez_compressed(npz, cube=np.asarray(data, order=order), other=data)
    cube = read_npz(npz, "cube")
    assert isinstance(cube.data, LazyArray)
    assert not list((tmp_path / "room").iterdir())
    (tmp_path / "room/cuvis-decompressed-00").mkdir()
    os.utime(tmp_path / "room/cuvis-decompressed-00", (0, 0))
    assert_array_equal(cube.data[40:43, 5:7], data[40:43, 5:7], strict=True)
    assert_array_equal(cube.data, data, strict=True)
    (unpacked,) = (tmp_path / "room").glob("*/content")
    assert {path.stem for path in (tmp_path / "room").iterdir()} == {unpacked.parent.name}
    del cube
    gc.collect()
    assert not list((tmp_path / "room").iterdir())


@pytest.mark.usefixtures("small_is_large")
@pytest.mark.parametrize("fault", ["room", "other", "damaged"])
def test_npz_that_cannot_be_unpacked(npz: Path, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No room, another archive in its place, or bytes that are no more what they were: an error that names it."""
    data = np.random.default_rng(0).integers(0, 9, (64, 64, 32), dtype=np.uint16)
    np.savez_compressed(npz, cube=data)
    cube = read_npz(npz)
    if fault == "room":
        full = shutil.disk_usage(npz.parent)._replace(free=1000)
        monkeypatch.setattr("cuvis_ai_core.data.decompressed_copy.shutil.disk_usage", lambda _: full)
    elif fault == "other":
        np.savez_compressed(npz, cube=data + 1)
    else:
        content = bytearray(npz.read_bytes())
        content[len(content) // 2] ^= 255
        npz.write_bytes(content)
    words = {
        "room": "unpacks to 256 KiB.*the limit is the room",
        "other": "written to since",
        "damaged": "not a .npz archive",
    }
    with pytest.raises(CubeError, match=words[fault]):
        cube.data[:3]


def test_npz_with_another_shape_than_its_size(npz: Path) -> None:
    """A large image whose header names another shape than its bytes have is an error, not what lies behind it."""
    np.savez(npz, cube=np.zeros((512, 512, 32), np.uint16))
    npz.write_bytes(npz.read_bytes().replace(b"(512, 512, 32)", b"(512, 512, 64)"))
    with pytest.raises(CubeError, match=r"cube.npz' is not a .npz archive"):
        read_npz(npz)
