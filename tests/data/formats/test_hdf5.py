"""HDF5 files as instruments' processors and people write them."""

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.data import read_cube
from cuvis_ai_core.data.formats.hdf5_external_links import inside
from cuvis_ai_core.errors import CubeError, MissingExtraError

h5py = pytest.importorskip("h5py")

READERS = NodeRegistry().cube_readers()
DATA = np.arange(2 * 3 * 4, dtype=np.uint16).reshape(2, 3, 4)
NM = [450.0, 550.0, 650.0, 850.0]


def _file(path: Path, **arrays: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name.replace("__", "/")] = values
    return path


def test_the_only_cube(tmp_path: Path) -> None:
    """The only array of three axes is the cube, in the type of the file; lists beside it are its bands."""
    path = _file(tmp_path / "a.h5", scene__data=DATA, scene__wavelengths=NM, scene__fwhm=[10.0] * 4, mask=DATA[..., 0])
    with h5py.File(path, "a") as file:
        file["scene/wavelengths"].attrs["units"] = "nm"
        file.attrs["start_time"] = "2024-05-06T07:08:09Z"
        file.attrs["instrument"] = "HySpex"
    cube = read_cube(path, READERS)
    np.testing.assert_array_equal(cube.data, DATA)
    assert cube.data.dtype == np.uint16
    assert cube.wavelengths is not None
    assert cube.wavelengths.tolist() == NM
    assert cube.fwhm is not None
    assert cube.fwhm.tolist() == [10.0] * 4
    assert cube.acquired is not None
    assert cube.acquired.isoformat() == "2024-05-06T07:08:09+00:00"
    assert cube.metadata["instrument"] == "HySpex"


@pytest.mark.parametrize("name", ["/b/data", "b/data", "other"])
def test_by_path(tmp_path: Path, name: str) -> None:
    """Of several arrays one is asked for by its path, or by its last name where that is clear."""
    path = _file(tmp_path / "a.hdf5", a__data=DATA, b__data=DATA + 1, b__other=DATA + 2)
    assert read_cube(f"{path}::{name}", READERS).data[0, 0, 0] == (2 if name == "other" else 1)


def test_several(tmp_path: Path) -> None:
    """Several arrays without a name that is asked for are an error that lists them and says how to ask."""
    path = _file(tmp_path / "a.h5", a=DATA, b=DATA)
    with pytest.raises(
        CubeError, match=r"(?s)has 2 arrays of three.*a \(2 x 3 x 4\), b.*Ask for one by name: .*a\.h5::a"
    ):
        read_cube(path, READERS)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("dat", r"(?s)has no array 'dat'.*Did you mean '.*::data'"),
        ("line", r"'line' of the file '.*' is 7 of type int"),
    ],
)
def test_wrong_name(tmp_path: Path, wanted: str, message: str) -> None:
    """A name that is not there, or is no cube, is an error that says what is there."""
    path = _file(tmp_path / "a.h5", data=DATA, line=np.arange(7))
    with pytest.raises(CubeError, match=message):
        read_cube(f"{path}::{wanted}", READERS)


def test_no_cube(tmp_path: Path) -> None:
    """A file without an array of three axes is an error that lists what it holds."""
    with pytest.raises(CubeError, match=r"has no arrays of three dimensions with real numbers.*It holds: line \(7\)"):
        read_cube(_file(tmp_path / "a.h5", line=np.arange(7)), READERS)


def test_so_many_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a file with a great many arrays, the first ones are looked at."""
    monkeypatch.setattr("cuvis_ai_core.data.formats.hdf5_datasets._MOST", 3)
    lists: dict[str, Any] = {"a": NM, "b": NM}
    assert read_cube(_file(tmp_path / "third.h5", **lists, c=DATA), READERS).data.shape == DATA.shape
    with pytest.raises(CubeError, match=r"no arrays of three dimensions.*It holds: a \(4\), b \(4\), c \(4\)\."):
        read_cube(_file(tmp_path / "fourth.h5", **lists, c=NM, d=DATA), READERS)


def test_bands_first(tmp_path: Path) -> None:
    """Where axes have no names, the one that is as long as the list of wavelengths is the channel."""
    path = _file(tmp_path / "a.h5", data=DATA.transpose(2, 0, 1), wavelength_nm=NM)
    cube = read_cube(path, READERS)
    np.testing.assert_array_equal(cube.data, DATA)
    assert not cube.remarks


def test_names_of_axes(tmp_path: Path) -> None:
    """Labels of axes put them in order, whatever it is in the file."""
    path = _file(tmp_path / "a.h5", data=DATA.transpose(2, 1, 0))
    with h5py.File(path, "a") as file:
        for at, label in enumerate(("wavelength", "x", "y")):
            file["data"].dims[at].label = label
    np.testing.assert_array_equal(read_cube(path, READERS).data, DATA)


def test_assumed_axes(tmp_path: Path) -> None:
    """Axes that nothing names are taken for height, width, channel, and that is said."""
    cube = read_cube(_file(tmp_path / "a.h5", data=DATA), READERS)
    assert cube.remarks == ("The axes of 'data' have no names; they were taken for height, width, channel.",)


def test_scaled(tmp_path: Path) -> None:
    """A scale is applied, "no data" becomes NaN, compared as stored; both as the CF conventions say."""
    path = _file(tmp_path / "a.h5", cube=DATA)
    with h5py.File(path, "a") as file:
        file["cube"].attrs.update({"scale_factor": 0.5, "add_offset": 1.0, "_FillValue": np.uint16(23)})
    cube = read_cube(path, READERS)
    assert cube.data.dtype == np.float32
    assert np.isnan(cube.data[1, 2, 3])
    np.testing.assert_array_equal(cube.data.ravel()[:-1], DATA.ravel()[:-1] * 0.5 + 1)
    assert any("scale_factor 0.5" in remark for remark in cube.remarks)


def test_large_claim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of some bytes that claims a huge array is an error with the limit, and takes no memory; raised or not."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("cube", (1 << 20, 1 << 20, 1 << 10), "f8", chunks=(64, 64, 64))
    assert path.stat().st_size < 1 << 16
    with pytest.raises(CubeError, match=r"would unpack to 8.39e\+06 GiB; the limit is 256 MiB"):
        read_cube(path, READERS)
    monkeypatch.setenv("CUVIS_UNPACK_LIMIT", "10000000GiB")
    with pytest.raises(
        CubeError, match=r"1048576 x 1048576 x 1024 values.*the limit is the memory that is free"
    ) as caught:
        np.asarray(read_cube(path, READERS).data)
    assert caught.value.path == path


@pytest.mark.parametrize("kept", [0, 8, 100, 1000])
def test_damaged(tmp_path: Path, kept: int) -> None:
    """A file that is cut off is one error of ours, whatever the library meets."""
    path = _file(tmp_path / "a.h5", cube=DATA)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CubeError, match=r"a\.h5' is not an HDF5 file that can be read"):
        read_cube(path, READERS)


def _packed(file: Any, name: str, values: Any) -> None:
    """Add an array that some filter packed which nobody has."""
    values = np.asarray(values)
    created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    created.set_chunk(values.shape)
    created.set_filter(300, h5py.h5z.FLAG_OPTIONAL)  # of those for tests
    space = h5py.h5s.create_simple(values.shape)
    stored = h5py.h5d.create(file.id, name.encode(), h5py.h5t.py_create(values.dtype), space, created)
    stored.write_direct_chunk((0,) * values.ndim, values.tobytes())


@pytest.mark.parametrize("packed", ["cube", "wavelengths"])
def test_filters_that_are_missing_are_named(tmp_path: Path, packed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is not damaged: what packed it is named, and the package of filters imported where there is one."""
    arrays = {"cube": DATA.astype(np.float32), "wavelengths": NM}
    path = _file(tmp_path / "a.h5", **{name: values for name, values in arrays.items() if name != packed})
    with h5py.File(path, "a") as file:
        _packed(file, packed, arrays[packed])
        _packed(file, "other", DATA)
    (tmp_path / "hdf5plugin.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "hdf5plugin", raising=False)
    with pytest.raises(
        CubeError, match=rf"The array '/{packed}' of the file '.*a\.h5' is packed by the filter 300"
    ) as error:
        read_cube(f"{path}::cube", READERS)
    assert "pip install hdf5plugin" in str(error.value.hint)
    assert sys.modules["hdf5plugin"].__file__ == str(tmp_path / "hdf5plugin.py")


def test_a_file_that_is_written_is_not_called_damaged(tmp_path: Path) -> None:
    """Another program holds a lock on it, or has left the mark of one that writes."""
    fcntl = pytest.importorskip("fcntl")
    path = _file(tmp_path / "a.h5", cube=DATA)
    with path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(CubeError, match=r"a\.h5' is open for writing in another program") as error:
            read_cube(path, READERS)
    assert f"h5clear -s {path}" in str(error.value.hint)
    with h5py.File(path, "w", libver="latest") as file:
        file["cube"] = DATA
        file.swmr_mode = True
        shutil.copy(path, tmp_path / "b.h5")
    with pytest.raises(CubeError, match=r"b\.h5' is open for writing in another program"):
        read_cube(tmp_path / "b.h5", READERS)
    np.testing.assert_array_equal(read_cube(path, READERS).data, DATA)


def test_hdf4(tmp_path: Path) -> None:
    """HDF4 has the same suffix and is another format: the error says so."""
    path = tmp_path / "a.hdf"
    path.write_bytes(b"\x0e\x03\x13\x01" + bytes(100))
    with pytest.raises(CubeError, match=r"(?s)is an HDF4 file.*Convert it"):
        read_cube(path, READERS)


def test_without_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the library the error names the extra."""
    path = _file(tmp_path / "a.h5", cube=DATA)
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(MissingExtraError, match=r"(?s)package 'h5py'.*cuvis-ai-core\[hdf5\]") as caught:
        read_cube(path, READERS)
    assert caught.value.extra == "hdf5"


def test_by_content(tmp_path: Path) -> None:
    """A file with an unknown suffix is read by what it begins with."""
    path = _file(tmp_path / "a.h5", cube=DATA).rename(tmp_path / "a.result")
    np.testing.assert_array_equal(read_cube(path, READERS).data, DATA)


def test_neon(tmp_path: Path) -> None:
    """Of NEON's airborne scenes come the scale, which divides, "no data", bands, and the place as ENVI has it."""
    path = tmp_path / "NEON_D17_SOAP_DP3_298000_4100000_reflectance.h5"
    with h5py.File(path, "w") as file:
        site = file.create_group("SOAP/Reflectance")
        site["Reflectance_Data"] = np.where(DATA == 5, -9999, DATA.astype(np.int16) * 100).astype(np.int16)
        site["Reflectance_Data"].attrs.update({"Scale_Factor": 10000.0, "Data_Ignore_Value": -9999.0})
        for name, values in (("Wavelength", NM), ("FWHM", [5.0] * 4)):
            site[f"Metadata/Spectral_Data/{name}"] = values
            site[f"Metadata/Spectral_Data/{name}"].attrs["Units"] = "nanometers"
        where = site.create_group("Metadata/Coordinate_System")
        where["Map_Info"] = (
            "UTM,  1.000,  1.000,       298000.00,       4101000.00,       1.0,       1.0,  11,  North,  WGS-84"
        )
        where["Coordinate_System_String"] = 'PROJCS["UTM_Zone_11N"]'
    cube = read_cube(path, READERS)
    expected = np.where(DATA == 5, np.nan, DATA / 100)
    np.testing.assert_allclose(cube.data, expected, rtol=1e-6)
    assert cube.wavelengths is not None
    assert cube.wavelengths.tolist() == NM
    assert cube.transform == (1, 0, 298000, 0, -1, 4101000)
    assert cube.crs == 'PROJCS["UTM_Zone_11N"]'


def test_items_behind_links_in_a_file(tmp_path: Path) -> None:
    """They are found along the steps of a path, from where a link stands or from the top, over sixteen links."""
    path = _file(tmp_path / "a.h5", d=7, g__d=8)
    with h5py.File(path, "a") as file:
        for name, target in {"g/beside": "d", "g/top": "/d", "g/way": "./way2", "g/way2": "/g/d"}.items():
            file[name] = h5py.SoftLink(target)
        for number in range(17):
            file[f"l{number}"] = h5py.SoftLink(f"/l{number - 1}" if number else "/d")
        found = {"d": 7, "/g//d": 8, "./g/./d": 8, "g/beside": 8, "g/top": 7, "g/way": 8, "l15": 7}
        assert {name: int(inside(path, file, name)[()]) for name in found} == found
        for name in ("l16", "none", "g/none", "d/d"):
            with pytest.raises(KeyError, match="is not there"):
                inside(path, file, name)


@pytest.mark.parametrize(
    ("fields", "code", "crs", "placed"),
    [
        ({"Projection": "HE5_GCTP_UTM", "ZoneCode": "-33", "SphereCode": "12"}, None, "EPSG:32733", True),
        ({"Projection": "HE5_GCTP_UTM", "ZoneCode": "9", "SphereCode": "12"}, None, "EPSG:32609", True),
        ({"Projection": "HE5_GCTP_UTM", "ZoneCode": "9", "SphereCode": "0"}, None, None, True),
        ({"Projection": "HE5_GCTP_UTM", "GridOrigin": "HE5_HDFE_GD_UL"}, 3035, "EPSG:3035", True),
        ({"Projection": "HE5_GCTP_UTM", "GridOrigin": "HE5_HDFE_GD_LL"}, 3035, None, False),
        ({"Projection": "HE5_GCTP_SNSOID"}, None, None, True),
        ({"Projection": "HE5_GCTP_GEO"}, None, None, False),
        ({"LowerRightMtrs": "DEFAULT"}, 32633, None, False),
        ({"LowerRightMtrs": "(--,1)"}, 32633, None, False),
    ],
)
def test_grids_of_hdf_eos(
    tmp_path: Path, fields: dict[str, str], code: int | None, crs: str | None, *, placed: bool
) -> None:
    """Their corners are the outer ones, in a text of the file, which has other grids as well."""
    corners = {"UpperLeftPointMtrs": "(300.0,900.000000)", "LowerRightMtrs": "(390.0,840.0)"}
    lines = [f"\t\t{key}={value}" for key, value in (corners | fields).items()]
    text = (
        'GROUP=GridStructure\n\tGROUP=GRID_1\n\t\tGridName="OTHER"\n\t\tUpperLeftPointMtrs=(1,2)\n\tEND_GROUP=GRID_1\n'
    )
    text += (
        '\tGROUP=GRID_2\n\t\tGridName="HYP"\n' + "\n".join(lines) + "\n\tEND_GROUP=GRID_2\nEND_GROUP=GridStructure\n"
    )
    with h5py.File(tmp_path / "a.h5", "w") as file:
        grid = file.create_group("HDFEOS/GRIDS/HYP")
        grid["Data Fields/toa_radiance"] = DATA.transpose(2, 0, 1)
        grid["Data Fields/toa_radiance"].attrs["wavelengths"] = NM
        if code is not None:
            grid.attrs["epsg_code"] = code
        file["HDFEOS INFORMATION/StructMetadata.0"] = np.bytes_(text)
    cube = read_cube(tmp_path / "a.h5", READERS)
    np.testing.assert_array_equal(cube.data, DATA)
    assert cube.crs == crs
    assert cube.transform == ((30, 0, 300, 0, -30, 900) if placed else None)
