import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from spectral.io import envi

from cuvis_ai_core.data.formats.envi.reader import read_envi
from cuvis_ai_core.errors import CubeError

DATA = np.arange(24).reshape(2, 3, 4)
WAVELENGTHS = [400.5, 500.0, 600.0, 700.0]


def _save(folder: Path, data: Any = DATA, **options: Any) -> Path:
    header = folder / "scene.hdr"
    envi.save_image(str(header), np.asarray(data), **{"dtype": np.int16, **options})
    return header


@pytest.mark.parametrize("interleave", ["bil", "bip", "bsq"])
@pytest.mark.parametrize("byteorder", [0, 1])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
def test_round_trip(tmp_path: Path, interleave: str, byteorder: int, dtype: str) -> None:
    """Images come back as they were saved."""
    header = _save(tmp_path, interleave=interleave, byteorder=byteorder, dtype=dtype)
    cube = read_envi(header)
    assert_array_equal(cube.data, DATA.astype(dtype), strict=True)
    assert (cube.wavelengths, cube.source) == (None, header)


@pytest.mark.parametrize(
    "extension",
    ["", ".img", ".IMG", ".dat", ".raw", ".bip", ".bsq", ".bil", ".envi", ".rad", ".rfl", ".cmp", ".flt", ".c.ort"],
)
def test_data_file_names(tmp_path: Path, extension: str) -> None:
    """The data file is found beside its header."""
    header = _save(tmp_path)
    (tmp_path / "scene.img").rename(tmp_path / f"scene{extension}")
    assert_array_equal(read_envi(header).data, DATA)


def test_double_suffix(tmp_path: Path) -> None:
    """A header may carry the whole name of its data file."""
    header = _save(tmp_path).rename(tmp_path / "scene.img.HDR")
    assert_array_equal(read_envi(header).data, DATA)


def test_header_offset(tmp_path: Path) -> None:
    """Bytes before the first value are skipped."""
    header = _save(tmp_path, metadata={"header offset": 7})
    data_file = tmp_path / "scene.img"
    data_file.write_bytes(b"\xff" * 7 + data_file.read_bytes())
    text = header.read_text()
    assert "header offset" in text
    header.write_text(text.replace("header offset = 0", "header offset = 7"))
    assert_array_equal(read_envi(header).data, DATA)


def test_wavelengths(tmp_path: Path) -> None:
    """Wavelengths travel with the cube."""
    metadata = {"wavelength": WAVELENGTHS, "wavelength units": "Nanometers"}
    assert_array_equal(read_envi(_save(tmp_path, metadata=metadata)).wavelengths, WAVELENGTHS)


def test_scale_factor(tmp_path: Path) -> None:
    """Values are divided by the reflectance scale factor."""
    cube = read_envi(_save(tmp_path, metadata={"reflectance scale factor": 10000}))
    assert cube.data.dtype == np.float32
    assert_allclose(cube.data, DATA / 10000, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_ignore_value(tmp_path: Path, dtype: Any) -> None:
    """The value for no data becomes NaN before scaling."""
    data = np.where(DATA == 5, -9999, DATA)
    metadata = {"data ignore value": -9999, "reflectance scale factor": 2}
    cube = read_envi(_save(tmp_path, data, dtype=dtype, metadata=metadata))
    assert_allclose(cube.data, np.where(DATA == 5, np.nan, DATA / 2))


def test_ignore_value_out_of_range(tmp_path: Path) -> None:
    """A value for no data that does not occur changes nothing."""
    cube = read_envi(_save(tmp_path, metadata={"data ignore value": 1e300}))
    assert_array_equal(cube.data, DATA)


def test_nan_pixels(tmp_path: Path) -> None:
    """NaN pixels are read without a warning."""
    data = np.where(DATA == 5, np.nan, DATA)
    assert_array_equal(read_envi(_save(tmp_path, data, dtype=np.float32)).data, data)


def test_missing_data_file(tmp_path: Path) -> None:
    """A missing data file names the places looked at."""
    header = _save(tmp_path)
    (tmp_path / "scene.img").unlink()
    with pytest.raises(CubeError, match=r"(?s)scene\.hdr' has no data file beside it.*\.img, \.dat") as caught:
        read_envi(header)
    assert caught.value.path == header


def test_truncated_data(tmp_path: Path) -> None:
    """A data file that is shorter than described is an error."""
    header = _save(tmp_path)
    (tmp_path / "scene.img").write_bytes(bytes(40))
    with pytest.raises(CubeError, match=r"48 bytes of data, but '.*scene\.img' has 40: it is truncated"):
        read_envi(header)


def test_trailing_bytes(tmp_path: Path) -> None:
    """Bytes behind the values are remarked."""
    header = _save(tmp_path)
    data_file = tmp_path / "scene.img"
    data_file.write_bytes(data_file.read_bytes() + b"end")
    cube = read_envi(header)
    assert_array_equal(cube.data, DATA)
    assert cube.remarks == ("The data file has 3 bytes behind the 48 that were read.",)


def test_giant_image(tmp_path: Path) -> None:
    """A header that claims a giant image takes no memory."""
    header = _save(tmp_path)
    header.write_text(header.read_text().replace("lines = 2", f"lines = {10**12}"))
    with pytest.raises(CubeError, match="it is truncated"):
        read_envi(header)


def _edit(header: Path, *lines: str, without: str | None = None) -> Path:
    kept = [line for line in header.read_text().splitlines() if without is None or not line.startswith(without)]
    header.write_text("\n".join([*kept, *lines]) + "\n", encoding="utf-8")
    return header


def test_no_byte_order(tmp_path: Path) -> None:
    """Without a byte order values are little endian, which is said where it matters."""
    cube = read_envi(_edit(_save(tmp_path, byteorder=0), without="byte order"))
    assert_array_equal(cube.data, DATA)
    assert cube.remarks == ("The header has no byte order; the values were read as little endian.",)
    assert read_envi(_edit(_save(tmp_path, dtype=np.uint8, force=True), without="byte order")).remarks == ()


@pytest.mark.parametrize(("dtype", "real"), [(np.int16, np.float32), (np.int32, np.float64), (np.float64, np.float64)])
def test_gain_and_offset(tmp_path: Path, dtype: Any, real: Any) -> None:
    """Values of each band are multiplied by its gain and its offset is added, before all are divided by the factor."""
    header = _edit(
        _save(tmp_path, dtype=dtype),
        "data gain values = {0.5, 1, 2, 4}",
        "data offset values = {10, 0, -1, 0.25}",
        "data ignore value = 6",
        "reflectance scale factor = 100",
    )
    cube = read_envi(header)
    expected = np.where(DATA == 6, np.nan, (DATA * [0.5, 1, 2, 4] + [10, 0, -1, 0.25]) / 100)
    assert cube.data.dtype == real
    assert_allclose(cube.data, expected, rtol=1e-6)
    assert [each.split()[0] for each in cube.remarks] == ["Values", "The", "Values"]


def test_neutral_gain(tmp_path: Path) -> None:
    """Gains of 1 and offsets of 0 leave the type of the file."""
    header = _edit(_save(tmp_path), "data gain values = {1, 1, 1, 1}", "data offset values = {0, 0, 0, 0}")
    assert read_envi(header).data.dtype == np.int16


def test_what_a_cube_carries(tmp_path: Path) -> None:
    """Bad bands, widths, place, time and all fields come with the cube."""
    header = _edit(
        _save(tmp_path),
        "wavelength units = Micrometers",
        "wavelength = {0.4, 0.5, 0.6, 0.7}",
        "fwhm = {0.01, 0.01, 0.01, 0.02}",
        "bbl = {1, 1, 0, 1}",
        "map info = {UTM, 1, 1, 332000.0, 5419000.0, 5.3, 5.3, 33, North, WGS-84}",
        'coordinate system string = {PROJCS["UTM_33N"]}',
        "acquisition time = 2019-06-01T10:15:30.5Z",
        "default bands = {3, 2, 1}",
    )
    cube = read_envi(header)
    assert cube.wavelengths is not None
    assert cube.fwhm is not None
    assert cube.good_bands is not None
    assert cube.acquired is not None
    assert_allclose(cube.wavelengths, [400, 500, 600, 700])
    assert_allclose(cube.fwhm, [10, 10, 10, 20])
    assert cube.good_bands.tolist() == [True, True, False, True]
    assert cube.crs == 'PROJCS["UTM_33N"]'
    assert cube.transform == (5.3, 0, 332000, 0, -5.3, 5419000)
    assert cube.acquired.isoformat() == "2019-06-01T10:15:30.500000+00:00"
    assert cube.metadata["default bands"] == ["3", "2", "1"]
    assert cube.data.dtype == np.int16


@pytest.mark.parametrize(
    ("text", "crs"),
    [
        ("UTM, 1, 1, 332000.0, 5419000.0, 5.3, 5.3, 33, North, WGS-84, units=Meters", "EPSG:32633"),
        ("UTM, 1, 1, 332000.0, 5419000.0, 5.3, 5.3, 7, South, WGS-84", "EPSG:32707"),
        ("Geographic Lat/Lon, 1, 1, 8, 50, 0.1, 0.1, WGS-84, units=Degrees", "EPSG:4326"),
        ("UTM, 1, 1, 332000.0, 5419000.0, 5.3, 5.3, 33, North, North America 1927", None),
        ("Arbitrary, 1, 1, 332000.0, 5419000.0, 5.3, 5.3, 33, North, WGS-84", None),
    ],
)
def test_the_system_that_map_info_names(tmp_path: Path, text: str, crs: str | None) -> None:
    """As GDAL has it; headers older than `coordinate system string` have no other; of other datums none is guessed."""
    cube = read_envi(_edit(_save(tmp_path), f"map info = {{{text}}}"))
    assert cube.crs == crs
    rasterio = pytest.importorskip("rasterio")
    with rasterio.open(tmp_path / cube_data(tmp_path)) as raster:
        assert crs is None or raster.crs == rasterio.crs.CRS.from_user_input(crs)


def cube_data(folder: Path) -> str:
    """Return the name of the data file in a folder."""
    return next(each.name for each in folder.iterdir() if each.suffix != ".hdr")


SPECIM = """ENVI
description = {
File Imported into ENVI}
file type = ENVI
sensor type = FENIX , Lumo - Recorder v2018-512
acquisition date = DATE(yyyy-mm-dd): 2019-01-29
Start Time = UTC TIME: 14:45:52
samples = 3
bands = 4
lines = 2
errors = {none}
interleave = bil
data type = 12
header offset = 0
byte order = 0
default bands = {3, 2, 1}
binning = {4, 2}
trigger mode1 = External
Wavelength = {
 378.19,
 381.57,
 384.94,
 2503.73
}
fwhm = {
 3.37,
 3.37,
 3.38,
 5.5
}
"""


def test_header_of_a_recorder(tmp_path: Path) -> None:
    """A header as Specim's recorder writes it is read with wavelengths, widths and time."""
    (tmp_path / "scan.hdr").write_text(SPECIM, encoding="ascii")
    np.arange(24, dtype="<u2").tofile(tmp_path / "scan.raw")
    cube = read_envi(tmp_path / "scan.hdr")
    assert_array_equal(cube.data, np.arange(24).reshape(2, 4, 3).transpose(0, 2, 1))
    assert_array_equal(cube.wavelengths, [378.19, 381.57, 384.94, 2503.73])
    assert_array_equal(cube.fwhm, [3.37, 3.37, 3.38, 5.5])
    assert cube.acquired is not None
    assert cube.acquired.isoformat() == "2019-01-29T14:45:52+00:00"
    assert cube.remarks == ("The header has no unit for its wavelengths; they were taken for nm.",)


@pytest.mark.parametrize(
    ("date", "start", "acquired"),
    [
        ("DATE(dd-mm-yyyy): 21-07-2008", "GPS Start Time = UTC TIME: 9:00:11.5", "2008-07-21T09:00:11.500000+00:00"),
        ("DATE(mm/dd/yyyy): 7/2/2008", "start time = 14:00:11", "2008-07-02T14:00:11"),
        ("2019-01-29", "", "2019-01-29T00:00:00"),
    ],
)
def test_dates_of_older_recorders(tmp_path: Path, date: str, start: str, acquired: str) -> None:
    """The header says how the numbers of its date are ordered."""
    cube = read_envi(_edit(_save(tmp_path), f"acquisition date = {date}", start))
    assert cube.acquired is not None
    assert cube.acquired.isoformat() == acquired
    assert cube.remarks == ()


def test_a_date_that_is_none(tmp_path: Path) -> None:
    """It is left out with a remark."""
    cube = read_envi(_edit(_save(tmp_path), "acquisition date = DATE(dd-mm-yyyy): 31-02-2008"))
    assert cube.acquired is None
    assert cube.remarks == (
        "The acquisition date 'DATE(dd-mm-yyyy): 31-02-2008' of the header is no date and time; it was left out.",
    )


@pytest.mark.parametrize(
    ("name", "begin", "kind"),
    [
        ("scene.png", b"\x89PNG\r\n\x1a\n", "a PNG picture"),
        ("scene.jpg", b"\xff\xd8\xff\xe0", "a JPEG picture"),
        ("scene.tif", b"II*\x00", "a TIFF picture"),
        ("scene.pdf", b"%PDF-1.7", "a PDF document"),
        ("scene.zip", b"PK\x03\x04", "a zip archive"),
        ("scene.txt", "größer\n".encode(), "a text"),
    ],
)
def test_a_picture_of_the_size_is_no_data(tmp_path: Path, name: str, begin: bytes, kind: str) -> None:
    """A file of another kind is not taken for the data, though it lies there alone and has just the size."""
    header = _save(tmp_path, np.zeros((4, 5, 6)))
    (tmp_path / "scene.img").unlink()
    (tmp_path / name).write_bytes(begin + b"a" * (240 - len(begin)))
    with pytest.raises(CubeError, match=f"no data file beside it: '{name}' has the size, and is {kind}"):
        read_envi(header)
    (tmp_path / name).write_bytes(bytes(240))
    assert not read_envi(header).data.any()


@pytest.mark.parametrize(
    ("name", "begin", "kind"),
    [
        ("scene.png", b"\x89PNG\r\n\x1a\n\0", "a PNG picture"),
        ("scene.jpg", b"\xff\xd8\xff\xe0", "a JPEG picture"),
        ("scene.xml", b"<properties>\n", "a text"),
    ],
)
def test_a_preview_is_not_the_data(tmp_path: Path, name: str, begin: bytes, kind: str) -> None:
    """Pictures and texts that recorders put beside an image, under its name, are refused where they are given."""
    header = _save(tmp_path)
    (tmp_path / name).write_bytes(begin * 100)
    assert_array_equal(read_envi(header).data, DATA)
    with pytest.raises(
        CubeError, match=rf"scene\.hdr' lies beside '.*{name}', which is {kind} and not its data"
    ) as caught:
        read_envi(tmp_path / name)
    assert caught.value.hint == f"Give the header: '{header}'."


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("scene.hdr", r"describes a file of another format \(file type = TIFF\)"),
        ("scene.tif.hdr", r"lies beside '.*scene\.tif', which is a TIFF picture"),
    ],
)
def test_a_header_of_a_tiff_file(tmp_path: Path, name: str, says: str) -> None:
    """ENVI writes one beside each file that it opens: the file itself is to be given, and no bytes of it are values."""
    header = _edit(_save(tmp_path), "file type = TIFF")
    header.with_suffix(".img").unlink()
    header.rename(tmp_path / name)
    (tmp_path / "scene.tif").write_bytes(b"II*\0" + bytes(300))
    with pytest.raises(CubeError, match=rf"(?s){says}.*Give that file.*scene\.tif'"):
        read_envi(tmp_path / name)


def test_values_inside_a_file_of_another_kind(tmp_path: Path) -> None:
    """A header that says where they begin in it is read, whatever stands before and behind them."""
    header = _edit(_save(tmp_path), "header offset = 8")
    file = header.with_suffix(".img")
    file.write_bytes(b"II*\0" + bytes(4) + file.read_bytes() + b"tags")
    cube = read_envi(header)
    assert_array_equal(cube.data, DATA)
    assert cube.remarks[-1].startswith("The data file has 4 bytes behind the ")


def test_a_cube_without_data_is_remarked(tmp_path: Path) -> None:
    """Whether its values are NaN or stand for no data."""
    assert read_envi(_edit(_save(tmp_path, np.full((2, 2, 2), 7)), "data ignore value = 7")).remarks == (
        "The cube has no data: no value is finite.",
    )


def test_map_info_without_numbers(tmp_path: Path) -> None:
    """A map info that cannot be understood is left out with a remark."""
    cube = read_envi(_edit(_save(tmp_path), "map info = {UTM}"))
    assert cube.transform is None
    assert cube.remarks == ("The map info of the header has no six numbers; it was left out.",)


def test_acquisition_time(tmp_path: Path) -> None:
    """A time with slashes is a time; one that is none is left out with a remark."""
    acquired = read_envi(_edit(_save(tmp_path), "acquisition time = 2013/04/15 17:34:56")).acquired
    assert acquired is not None
    assert acquired.isoformat() == "2013-04-15T17:34:56"
    (tmp_path / "other").mkdir()
    cube = read_envi(_edit(_save(tmp_path / "other"), "acquisition time = noon"))
    assert cube.acquired is None
    assert cube.remarks == ("The acquisition time 'noon' of the header is no date and time; it was left out.",)


def test_packed_data(tmp_path: Path) -> None:
    """A data file that is packed is unpacked; one of the right size is taken as it is."""
    header = _edit(_save(tmp_path), "file compression = 1")
    data_file = tmp_path / "scene.img"
    content = data_file.read_bytes()
    assert_array_equal(read_envi(header).data, DATA)
    data_file.write_bytes(content + b"more")
    with pytest.raises(CubeError, match=r"says that its data are compressed, but .* is not packed by gzip"):
        read_envi(header)
    data_file.write_bytes(gzip.compress(content))
    assert_array_equal(read_envi(header).data, DATA)
    data_file.write_bytes(gzip.compress(content)[:-9])
    with pytest.raises(CubeError, match="which gzip cannot unpack"):
        read_envi(header)
    data_file.write_bytes(gzip.compress(content[:-1]))
    with pytest.raises(CubeError, match="has 47: it is truncated"):
        read_envi(header)


@pytest.mark.parametrize("written", ["-3.40282e+038", "-3.4e+38"])
def test_end_of_range_as_no_data(tmp_path: Path, written: str) -> None:
    """The lowest float32 stands for no data also where it is written with few digits."""
    data = np.where(DATA == 5, np.finfo(np.float32).min, DATA).astype(np.float32)
    header = _edit(_save(tmp_path, data, dtype=np.float32), f"data ignore value = {written}")
    assert_array_equal(read_envi(header).data, np.where(DATA == 5, np.nan, DATA))


def _pair(folder: Path, header: str, data_file: str, value: int, **options: Any) -> None:
    saved = _save(folder, np.full((2, 3, 4), value), force=True, **options)
    (folder / "scene.img").rename(folder / "now.tmp")
    saved.rename(folder / header)
    (folder / "now.tmp").rename(folder / data_file)


def test_headers_belong_to_their_data_files(tmp_path: Path) -> None:
    """A header named after its whole data file has that one, and another header the one that is left."""
    _pair(tmp_path, "a.raw.hdr", "a.raw", 1)
    _pair(tmp_path, "a.hdr", "a.img", 2)
    _pair(tmp_path, "a.dat.hdr", "a.dat", 3)
    assert {name: read_envi(tmp_path / name).data.item(0) for name in ("a.hdr", "a.raw.hdr", "a.dat.hdr")} == {
        "a.hdr": 2,
        "a.raw.hdr": 1,
        "a.dat.hdr": 3,
    }


def test_data_file_of_the_right_size(tmp_path: Path) -> None:
    """Of several data files the one with the size that is described is read."""
    _pair(tmp_path, "a.hdr", "a.img", 2)
    (tmp_path / "a.raw").write_bytes(bytes(1000))
    assert read_envi(tmp_path / "a.hdr").data.item(0) == 2


def test_notes_beside_the_data(tmp_path: Path) -> None:
    """A text with a suffix of data does not stand for the file that has the size."""
    header = _save(tmp_path)
    (tmp_path / "scene.img").rename(tmp_path / "scene.spe")
    for notes in ("rain", "rain " * 100):
        (tmp_path / "scene.dat").write_text(notes, encoding="utf-8")
        cube = read_envi(header)
        assert_array_equal(cube.data, DATA)
        assert cube.remarks == ()


def test_several_data_files_that_fit(tmp_path: Path) -> None:
    """Two data files that fit one header are an error, unless one is given itself."""
    _pair(tmp_path, "a.hdr", "a.img", 2)
    _pair(tmp_path, "b.hdr", "a.raw", 3)
    with pytest.raises(CubeError, match=r"(?s)several files beside it.*'a\.img' \(48 bytes\).*Give the data file"):
        read_envi(tmp_path / "a.hdr")
    assert read_envi(tmp_path / "a.raw").data.item(0) == 3
    assert read_envi(tmp_path / "a.img").data.item(0) == 2


@pytest.mark.parametrize("name", ["scene.img", "scene.hdr", "scene.img.hdr"])
def test_data_file_given(tmp_path: Path, name: str) -> None:
    """Header and data file are both names of the image."""
    header = _save(tmp_path)
    if name.endswith(".img.hdr"):
        header.rename(tmp_path / name)
    assert_array_equal(read_envi(tmp_path / name).data, DATA)


def test_two_names_of_one_data_file(tmp_path: Path) -> None:
    """They are no two files that may hold the data, as where upper and lower case do not count."""
    header = _save(tmp_path, ext=".img")
    data = header.with_suffix(".img")
    data.with_suffix(".IMG").hardlink_to(data)
    assert_array_equal(read_envi(header).data, DATA)
