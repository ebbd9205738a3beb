"""MATLAB files, up to version 7 and from 7.3 on, as the scenes that everybody has are stored."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.data import read_cube
from cuvis_ai_core.errors import CubeError

scipy_io = pytest.importorskip("scipy.io")

READERS = NodeRegistry().cube_readers()
DATA = np.arange(2 * 3 * 4, dtype=np.uint16).reshape(2, 3, 4)
NM = np.array([[450.0, 550.0, 650.0, 850.0]])


def _version_73(path: Path, **arrays: np.ndarray) -> Path:
    """Write what `save -v7.3` writes: a block for the user in front, axes reversed."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, values in arrays.items():
            file[name] = values.T
            file[name].attrs["MATLAB_class"] = np.bytes_({"f": "double"}.get(values.dtype.kind, values.dtype.name))
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
    return path


@pytest.mark.parametrize("compressed", [False, True])
def test_version_5(tmp_path: Path, *, compressed: bool) -> None:
    """The only array of three axes is the cube, as MATLAB shows it; ground truth beside it is none."""
    path = tmp_path / "Indian_pines_corrected.mat"
    truth = DATA[..., 0].astype(np.uint8)
    scipy_io.savemat(path, {"indian_pines_corrected": DATA, "gt": truth}, do_compression=compressed)
    cube = read_cube(path, READERS)
    np.testing.assert_array_equal(cube.data, DATA)
    assert cube.data.dtype == np.uint16
    assert cube.wavelengths is None
    assert cube.remarks == ()


def test_version_73(tmp_path: Path) -> None:
    """Version 7.3 keeps its axes the other way round; they come back as MATLAB shows them."""
    cube = read_cube(_version_73(tmp_path / "a.mat", pavia=DATA, wavelength=NM), READERS)
    np.testing.assert_array_equal(cube.data, DATA)
    assert cube.wavelengths is not None
    assert cube.wavelengths.tolist() == NM[0].tolist()


@pytest.mark.parametrize("way", ["cells", "cells in a structure", "rows of signs", "cells of numbers"])
def test_wavelengths_in_texts(tmp_path: Path, way: str) -> None:
    """As MATLAB keeps a text for each band: the unit stands in it."""
    texts = ["450.3 nm", "550.0 nm", "650.0 nm", "850.0 nm"]
    listed = np.array([text.removesuffix(" nm") for text in texts], np.float64) if "numbers" in way else texts
    cells = np.array(listed, dtype=object).reshape(4, 1)
    arrays = {"cube": DATA, "wavelengths": np.array(texts) if "rows" in way else cells}
    scipy_io.savemat(tmp_path / "a.mat", {"data": arrays} if "structure" in way else arrays)
    cube = read_cube(tmp_path / "a.mat", READERS)
    assert cube.wavelengths is not None
    np.testing.assert_allclose(cube.wavelengths, [450.3, 550, 650, 850])
    assert cube.remarks == (("The file has no unit for its wavelengths; they were taken for nm.",) * ("numbers" in way))


def test_wavelengths_in_cells_of_version_73(tmp_path: Path) -> None:
    """Cells refer to what they hold; what is no text and no number is none of a band."""
    h5py = pytest.importorskip("h5py")
    path = _version_73(tmp_path / "a.mat", cube=DATA)
    for texts, found in ((["450.3 nm", "0.55 nm", "650 nm", 850.0], False), (["450.3 nm"] * 3 + ["850 nm"], True)):
        with h5py.File(path, "r+") as file:
            for name in ("#refs#", "wavelengths"):
                file.pop(name, None)
            references = file.create_group("#refs#")
            cells = file.create_dataset("wavelengths", (1, 4), dtype=h5py.ref_dtype)
            cells.attrs["MATLAB_class"] = np.bytes_("cell")
            for at, text in enumerate(texts):
                kind = "char" if isinstance(text, str) else "double"
                signs = np.array([[ord(sign)] for sign in text], np.uint16) if isinstance(text, str) else np.array(text)
                references[str(at)] = signs
                references[str(at)].attrs["MATLAB_class"] = np.bytes_(kind)
                cells[0, at] = references[str(at)].ref
        assert (read_cube(path, READERS).wavelengths is not None) == found


def _signs(path: Path, name: str, values: np.ndarray, kind: str = "char") -> Path:
    """Add an array as MATLAB 7.3 names its class."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "r+") as file:
        file[name] = values
        file[name].attrs["MATLAB_class"] = np.bytes_(kind)
    return path


def test_rows_of_signs_of_version_73(tmp_path: Path) -> None:
    """Each row is a text, filled up with blanks; in the file they stand side by side."""
    rows = ["450.3 nm", "550.0 nm", "650.0 nm", "850 nm  "]
    signs = np.array([[ord(sign) for sign in row] for row in rows], np.uint16)
    path = _signs(_version_73(tmp_path / "a.mat", cube=DATA), "wavelengths", signs.T)
    cube = read_cube(_signs(path, "time", np.array([[ord(sign)] for sign in "2024-05-06"], np.uint16)), READERS)
    assert cube.wavelengths is not None
    np.testing.assert_allclose(cube.wavelengths, [450.3, 550, 650, 850])
    assert cube.acquired is not None
    assert cube.acquired.isoformat() == "2024-05-06T00:00:00"


@pytest.mark.parametrize("kind", ["cell", "double", "char"])
def test_empty_arrays_of_version_73(tmp_path: Path, kind: str) -> None:
    """The file has their sizes where others have their values: these are none."""
    h5py = pytest.importorskip("h5py")
    path = _version_73(tmp_path / "a.mat", cube=DATA[..., :2])
    with h5py.File(_signs(path, "wavelengths", np.array([500, 0], np.uint64), kind), "r+") as file:
        file["wavelengths"].attrs["MATLAB_empty"] = np.uint8(1)
    cube = read_cube(path, READERS)
    assert (cube.data.shape, cube.wavelengths, cube.remarks) == ((2, 3, 2), None, ())


@pytest.mark.parametrize(
    "signs", [np.array([[0x110000]], np.uint32), np.array([[-1]], np.int32), np.array([[0xD800]], np.uint16), NM / 1e3]
)
@pytest.mark.parametrize("way", ["cells", "rows"])
def test_odd_signs_of_version_73(tmp_path: Path, signs: np.ndarray, way: str) -> None:
    """What is no text is none of a band, and no obstacle."""
    h5py = pytest.importorskip("h5py")
    path = _version_73(tmp_path / "a.mat", cube=DATA)
    _signs(path, "#refs#/a" if way == "cells" else "wavelengths", np.repeat(signs[:, :1], 4, axis=1))
    if way == "cells":
        with h5py.File(path, "r") as file:
            references = np.array([[file["#refs#/a"].ref] * 4], h5py.ref_dtype)
        _signs(path, "wavelengths", references, "cell")
    cube = read_cube(path, READERS)
    np.testing.assert_array_equal(cube.data, DATA)
    assert cube.wavelengths is None


def test_by_name(tmp_path: Path) -> None:
    """Of several arrays one is asked for by its name; a row of wavelengths beside it is taken."""
    path = tmp_path / "a.mat"
    scipy_io.savemat(path, {"a": DATA, "b": DATA + 1, "wavelengths": NM, "fwhm": NM / 50})
    with pytest.raises(CubeError, match=r"(?s)has 2 arrays of three dimensions.*a\.mat::a"):
        read_cube(path, READERS)
    cube = read_cube(f"{path}::b", READERS)
    np.testing.assert_array_equal(cube.data, DATA + 1)
    assert cube.wavelengths is not None
    assert cube.wavelengths.tolist() == NM[0].tolist()
    assert cube.fwhm is not None
    assert cube.fwhm.tolist() == (NM[0] / 50).tolist()


def test_strange_neighbours(tmp_path: Path) -> None:
    """Cells, structures, text and sparse matrices beside the cube are no obstacle."""
    scipy_sparse = pytest.importorskip("scipy.sparse")
    path = tmp_path / "a.mat"
    others = {"text": "a", "cell": np.array([[1, "b"]], dtype=object), "struct": {"x": 1.0}}
    scipy_io.savemat(path, {"cube": DATA, **others, "sparse": scipy_sparse.eye(3).tocsc()})
    np.testing.assert_array_equal(read_cube(path, READERS).data, DATA)


def test_large_claim(tmp_path: Path) -> None:
    """A packed header of some bytes that claims a huge array is an error with the limit, before anything is read."""
    flags = struct.pack("<IIII", 6, 8, 6, 0)
    sizes = struct.pack("<II3iI", 5, 12, 1 << 20, 1 << 20, 1 << 10, 0)
    body = flags + sizes + struct.pack("<II", 1, 4) + b"cube".ljust(8, b"\0")
    packed = zlib.compress(struct.pack("<II", 14, len(body)) + body)
    path = tmp_path / "a.mat"
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + struct.pack("<II", 15, len(packed)) + packed)
    with pytest.raises(CubeError, match=r"1048576 x 1048576 x 1024 values.*the limit is the memory that is free"):
        read_cube(path, READERS)


@pytest.mark.parametrize("kind", ["structures", "structures of one size", "cells", "cells of one size", "complex"])
def test_cells_that_hold_no_value_each(tmp_path: Path, kind: str) -> None:
    """Beside the cube they are no obstacle, and no wavelengths where they are called so."""
    inner = [np.zeros((2, 3)), np.zeros((2, 3 if "size" in kind else 4)), np.zeros((2, 3)), np.zeros((2, 3))]
    cells = np.empty(4, dtype=object)
    for at, each in enumerate(inner):
        boxed = np.empty((1, 1), dtype=object)
        boxed[0, 0] = each
        cells[at] = {"a": each} if "structures" in kind else boxed if "cells" in kind else np.array([[450 + 1j]])
    scipy_io.savemat(tmp_path / "a.mat", {"cube": DATA, "wavelengths": cells})
    cube = read_cube(tmp_path / "a.mat", READERS)
    np.testing.assert_array_equal(cube.data, DATA)
    assert cube.wavelengths is None


@pytest.mark.parametrize("kept", [0, 100, 130, 200])
def test_damaged(tmp_path: Path, kept: int) -> None:
    """A file that is cut off is one error of ours, whatever the library meets."""
    path = tmp_path / "a.mat"
    scipy_io.savemat(path, {"cube": DATA})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CubeError, match=r"a\.mat' (is not a MATLAB file that can be read|has no arrays)"):
        read_cube(path, READERS)
