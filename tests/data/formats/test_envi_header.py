from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cuvis_ai_core.data.formats.envi.band_fields import read_bands
from cuvis_ai_core.data.formats.envi.header_fields import EnviHeader, read_header
from cuvis_ai_core.data.formats.envi.reader import read_envi
from cuvis_ai_core.errors import CubeError

FIELDS: dict[str, str | None] = {
    "samples": "3",
    "lines": "2",
    "bands": "4",
    "header offset": "0",
    "file type": "ENVI Standard",
    "data type": "2",
    "interleave": "bil",
    "byte order": "0",
}


def _write(folder: Path, **changes: str | None) -> Path:
    fields = {**FIELDS, **{key.replace("_", " "): value for key, value in changes.items()}}
    lines = ["ENVI", *(f"{key} = {value}" for key, value in fields.items() if value is not None)]
    path = folder / "scene.hdr"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _read(folder: Path, **changes: str | None) -> EnviHeader:
    return read_header(_write(folder, **changes))


def test_layout(tmp_path: Path) -> None:
    """A header says how the data file is laid out."""
    header = _read(tmp_path, header_offset="16", byte_order="1")
    assert (header.shape, header.interleave, header.offset) == ((2, 3, 4), "bil", 16)
    assert header.dtype == np.dtype(">i2")
    assert (header.scale, header.ignored, read_bands(header)) == (1.0, None, (None, None, None))


def test_default_offset(tmp_path: Path) -> None:
    """The offset is 0 unless the header has one."""
    assert _read(tmp_path, header_offset=None).offset == 0


def test_capitals(tmp_path: Path) -> None:
    """Names and values may be in capitals."""
    path = _write(tmp_path, interleave="BSQ")
    path.write_text(path.read_text().replace("samples", "Samples").replace("bands", "BANDS"))
    header = read_header(path)
    assert (header.interleave, header.shape) == ("bsq", (2, 3, 4))


@pytest.mark.parametrize(
    ("unit", "values"),
    [
        ("Nanometers", "400, 500, 600, 700"),
        ("nm", "400, 500, 600, 700"),
        ("Micrometers", "0.4, 0.5, 0.6, 0.7"),
        ("\u00b5m", "0.4, 0.5, 0.6, 0.7"),
        ("\u03bcm", "0.4, 0.5, 0.6, 0.7"),
        ("um", "0.4,\n 0.5,\n 0.6,\n 0.7"),
        ("Millimeters", "4e-4, 5e-4, 6e-4, 7e-4"),
        ("Angstroms", "4000, 5000, 6000, 7000"),
        ("Wavenumber", "25000, 20000, 16666.6666667, 14285.7142857"),
        ("Unknown", "400, 500, 600, 700"),
        ("Nanometer", "400 500 600 700"),
        ("  NANOMETRE ", "400, 500, 600, 700,"),
        ("nanometers (nm)", "400, 500, 600, 700"),
        ("nm.,", "400, 500, 600, 700"),
        ("'nm'", "400, 500, 600, 700"),
        ("[nm]", "4D+002, 5.0D2, 600, 700"),
        ("Micrometer", "0.4, 0.5, 0.6, 0.7"),
        ("Micron", "0.4, 0.5, 0.6, 0.7"),
        ("Centimeters", "4e-5, 5e-5, 6e-5, 7e-5"),
        ("Meters", "4e-7, 5e-7, 6e-7, 7e-7"),
        ("GHz", "749481.145, 599584.916, 499654.0967, 428274.94"),
        ("MHz", "749481145, 599584916, 499654096.7, 428274940"),
        ("THz", "749.481145, 599.584916, 499.6540967, 428.27494"),
        *((unit, "25000, 20000, 16666.6666667, 14285.7142857") for unit in ("cm-1", "cm**-1", "/cm", "cm\u207b\u00b9")),
        ("m-1", "2.5e6, 2e6, 1666666.66667, 1428571.42857"),
        ("Hz", "7.49481145e14, 5.99584916e14, 4.996540967e14, 4.2827494e14"),
        ("eV", "3.09960496, 2.47968397, 2.06640331, 1.77120283"),
        *((unit, "400, 500, 600, 700") for unit in ("1e-9 m", "1.e-9 m", "10^-9 m")),
        ("1E-06 m", "0.4, 0.5, 0.6, 0.7"),
        ("", "400, 500, 600, 700"),
        (None, "400, 500, 600, 700"),
    ],
)
def test_units(tmp_path: Path, unit: str | None, values: str) -> None:
    """Wavelengths are converted to nanometres."""
    header = _read(tmp_path, wavelength=f"{{{values}}}", wavelength_units=unit)
    wavelengths, _, _ = read_bands(header)
    assert wavelengths is not None
    assert_allclose(wavelengths, [400, 500, 600, 700])


def test_index(tmp_path: Path) -> None:
    """An index is no wavelength."""
    assert read_bands(_read(tmp_path, wavelength="{100, 200, 300, 400}", wavelength_units="Index"))[0] is None


@pytest.mark.parametrize("values", ["{1, 2, 3, 4}", "{0, 1, 2, 3}"])
def test_numbers_of_bands(tmp_path: Path, values: str) -> None:
    """Numbers that count the bands, without a unit, are no wavelengths."""
    header = _read(tmp_path, wavelength=values)
    assert read_bands(header)[0] is None
    assert "count the bands" in header.remarks[0]


@pytest.mark.parametrize("absent", ["0", "-1", "nan", "-9999.0"])
def test_bands_that_were_not_taken(tmp_path: Path, absent: str) -> None:
    """A wavelength of 0 or less stands for a band that was not taken, whatever the unit."""
    header = _read(
        tmp_path, wavelength=f"{{{absent}, 0.5, 0.6, 0.7}}", fwhm="{0, 0.01, 0.01, 0.02}", wavelength_units="um"
    )
    wavelengths, fwhm, _ = read_bands(header)
    assert wavelengths is not None
    assert fwhm is not None
    assert wavelengths[0] <= 0
    assert_allclose(wavelengths[1:], [500, 600, 700])
    assert_allclose(fwhm, [0, 10, 10, 20])
    assert "1 of 4 bands have no wavelength above 0" in header.remarks[0]


def test_no_band_taken(tmp_path: Path) -> None:
    """A list of zeros says nothing."""
    header = _read(tmp_path, wavelength="{0, 0, 0, 0}", wavelength_units="nm")
    assert read_bands(header)[0] is None
    assert "No wavelength in the header is above 0" in header.remarks[0]


def test_widths_of_wavenumbers(tmp_path: Path) -> None:
    """Widths become nm at their wavelength."""
    header = _read(
        tmp_path, wavelength="{25000, 20000, 10000, 5000}", fwhm="{10, 10, 10, 10}", wavelength_units="Wavenumber"
    )
    assert_allclose(read_bands(header)[1], [0.16, 0.25, 1.0, 4.0])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "bbl",
    [
        "{1, 0, 1, 1}",
        "{1.0, 0.0, 1.000, 1}",
        "{1,\n0 ; water\n,1, 1,}",
        "{ True , False , True , True }",
        "{true, FALSE, 1, true}",
    ],
)
def test_bad_bands(tmp_path: Path, bbl: str) -> None:
    """In the list of bad bands 1 is good, as an integer or not."""
    _, _, good = read_bands(_read(tmp_path, bbl=bbl))
    assert good is not None
    assert good.tolist() == [True, False, True, True]


@pytest.mark.parametrize(
    ("name", "value", "remark"),
    [
        ("fwhm", "{6.9, 6.6}", "The list 'fwhm' in the header has 2 values for 4 bands; it was left out."),
        ("fwhm", "{wide}", "has a field 'fwhm' that is no list of numbers"),
        ("wavelength", "{400, 500}", "The list 'wavelength' in the header has 2 values for 4 bands"),
        ("wavelength", "{a, b, c, d}", "has a field 'wavelength' that is no list of numbers"),
    ],
)
def test_lists_that_do_not_fit(tmp_path: Path, name: str, value: str, remark: str) -> None:
    """A list that does not fit, and without which the values are the same, is left out with a remark."""
    fields = {"wavelength": "{400, 500, 600, 700}", name: value}
    header = _read(tmp_path, wavelength_units="nm", **fields)
    wavelengths, fwhm, _ = read_bands(header)
    assert (wavelengths if name == "wavelength" else fwhm) is None
    assert any(remark in each for each in header.remarks)


@pytest.mark.parametrize(
    ("unit", "remark"),
    [
        (None, "has wavelengths from 0.4 on, but no unit for them"),
        ("Unknown", "has wavelengths from 0.4 on, but no unit for them"),
        ("nm", "has wavelengths of 0.4 to 0.7 nm in its unit 'nm', which no camera sees"),
        ("m", "has wavelengths of 4e+08 to 7e+08 nm in its unit 'm', which no camera sees"),
        ("Fathoms", "has the wavelength unit 'Fathoms', which is not known"),
    ],
)
def test_no_guess(tmp_path: Path, unit: str | None, remark: str) -> None:
    """Units are not guessed: wavelengths that cannot be made nm are left out with a remark, the cube is read."""
    header = _read(tmp_path, wavelength="{0.4, 0.5, 0.6, 0.7}", wavelength_units=unit)
    assert read_bands(header) == (None, None, None)
    assert remark in header.remarks[0]
    assert any(hint in header.remarks[0] for hint in ("write 'wavelength units = ", "Correct the unit."))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"samples": None}, '"samples": the field is missing'),
        ({"data_type": ""}, '"data type": the field is missing'),
        ({"interleave": None}, '"interleave": the field is missing'),
        ({"lines": "2.5"}, "lines = 2.5; it is an integer"),
        ({"lines": "nan"}, "lines = nan; it is an integer"),
        ({"lines": "0"}, "lines = 0; it is an integer of at least 1"),
        ({"lines": "-2"}, "lines = -2"),
        ({"bands": "many"}, "bands = many"),
        ({"bands": "{1, 2}"}, "bands = "),
        ({"header_offset": "-1"}, "header offset = -1; it is an integer of at least 0"),
        ({"data_type": "7"}, "data type = 7; supported are 1, 2, 3, 4, 5, 12"),
        ({"data_type": "6"}, "data type = 6"),
        ({"interleave": "bsx"}, "interleave = bsx; supported are bil, bip, bsq"),
        ({"byte_order": "2"}, "byte order = 2; supported are 0, 1"),
        ({"bbl": "{1, 1, yes, 0}"}, "'bbl' that is no list"),
        ({"bbl": "{1, 1}"}, "'bbl' of 2 numbers, but 4 bands"),
        ({"data_gain_values": "{1, 1, 2}"}, "'data gain values' of 3 numbers, but 4 bands"),
        ({"data_offset_values": "{1, 1, nan, 2}"}, "one finite number per band"),
        ({"file_type": "ENVI Spectral Library"}, "describes a spectral library"),
        ({"file_type": "ENVI Virtual Mosaic"}, "a virtual mosaic"),
        ({"major_frame_offsets": "{4, 4}"}, "(?s)bytes between lines or bands, which are not read.*without frames"),
        ({"major_frame_offsets": "x"}, "'major frame offsets' that is no list of numbers"),
        ({"description": "{never closed"}, "'description' that begins in line 10 has no end"),
        ({"band_names": "{a, b\nwavelength = {1, 2, 3, 4}"}, "'band names' that begins in line 10 has no end"),
        ({"description": "{a\nwavelength = {1, 2, 3, 4}"}, "'description' that begins in line 10 has no end"),
    ],
    ids=str,
)
def test_broken_rules(tmp_path: Path, changes: dict[str, str | None], message: str) -> None:
    """A broken rule names the header and the field."""
    path = _write(tmp_path, **changes)
    (tmp_path / "scene.img").write_bytes(bytes(48))
    with pytest.raises(CubeError, match=message) as caught:
        read_envi(path)
    assert str(path) in str(caught.value)
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("scale", "0", "factor is positive"),
        ("scale", "-1", "factor is positive"),
        ("scale", "nan", "factor is positive"),
        ("scale", "inf", "factor is positive"),
        ("scale", "ten", "reflectance scale factor = ten; it is a number"),
        ("ignored", "none", "data ignore value = none; it is a number"),
    ],
)
def test_bad_numbers(tmp_path: Path, field: str, value: str, message: str) -> None:
    """Numbers that are none are an error."""
    key = {"scale": "reflectance_scale_factor", "ignored": "data_ignore_value"}[field]
    header = _read(tmp_path, **{key: value})
    with pytest.raises(CubeError, match=message):
        getattr(header, field)


@pytest.mark.parametrize("key", ["data ignore value", "reflectance scale factor", "wavelength", "bbl", "header offset"])
def test_empty_values(tmp_path: Path, key: str) -> None:
    """A field without a value is as if it were not there."""
    header = _read(tmp_path, **{key: ""})
    assert (header.scale, header.ignored, header.offset, read_bands(header)) == (1.0, None, 0, (None, None, None))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"no header\n", id="other text"),
        pytest.param(bytes(range(256)), id="binary"),
        pytest.param(b"\xff\xfeE\x00N\x00V", id="half of a letter"),
        pytest.param(b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X", id="resources of a Mac"),
    ],
)
def test_no_header(tmp_path: Path, content: Any) -> None:
    """What is no header is one clear error."""
    path = tmp_path / "scene.hdr"
    path.write_bytes(content)
    with pytest.raises(CubeError, match="no ENVI header that can be read"):
        read_header(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1", "cp1252"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_encodings(tmp_path: Path, encoding: str, line_end: str) -> None:
    """Texts are read as the programs of the field write them."""
    path = _write(tmp_path, description="{Gew\u00e4chshaus, 21 \u00b0C}", wavelength="{1,\n 2,\n 3, 4}")
    path.write_bytes(path.read_text(encoding="utf-8").replace("\n", line_end).encode(encoding))
    header = read_header(path)
    assert header.fields["description"] == "Gew\u00e4chshaus, 21 \u00b0C"
    assert header.fields["wavelength"] == ["1", "2", "3", "4"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("default bands = {3, 2, 1} ; set by Eva", ["3", "2", "1"]),
        ("default bands = {3, 2, 1},", ["3", "2", "1"]),
        ("default bands = {3, 2, 1,}", ["3", "2", "1"]),
        ("default bands = {3, 2, ; was {5, 4}\n1}", ["3", "2", "1"]),
        ("default bands = {3, 2, 1 ; as in {5, 4}\n}", ["3", "2", "1"]),
        ("default bands = {\n; {9, 9}\n3,\n\n2, 1\n}", ["3", "2", "1"]),
        ("default bands =\n{3, 2, 1}", ["3", "2", "1"]),
        ("default bands =   ; red first\n\n  {3, 2, 1}", ["3", "2", "1"]),
        ("Default  BANDS={3,2,1}", ["3", "2", "1"]),
        ("default bands = {3, 2, 1} interleave = bil", ["3", "2", "1"]),
        ("default bands = {3, 2, 1} bbl = {1, 0, 1, 1}", ["3", "2", "1"]),
        ("default bands = {3, 2, 1} words", ["3", "2", "1"]),
        ("rotation = {{1, 0}, {0, 1}} ; turned", ["{1", "0}", "{0", "1}"]),
        ("default bands = {9, 9, 9}\ndefault bands = {3, 2, 1}", ["3", "2", "1"]),
        ("sensor type = A = B ; rented", "A = B"),
        ("band names = {Red; 650 nm, NIR; 800 nm}", ["Red; 650 nm", "NIR; 800 nm"]),
        ("band names = {Red, ; first\nNIR}", ["Red", "NIR"]),
        ("description = {a {b} c; d}", "a {b} c; d"),
        ("description = {a\n b = c}", "a\nb = c"),
        ("description = {samples = 7\n samples = 7}", "samples = 7\nsamples = 7"),
        ("description = a", "a"),
        ('coordinate system string = {PROJCS["a",GEOGCS["b;c"]]}', 'PROJCS["a",GEOGCS["b;c"]]'),
    ],
)
def test_texts(tmp_path: Path, text: str, value: Any) -> None:
    """Remarks, blanks and line ends may stand anywhere, and no field behind them gets lost."""
    path = _write(tmp_path)
    path.write_text(path.read_text() + f"{text}\nlast = here\n", encoding="utf-8")
    header = read_header(path)
    key = " ".join(text.partition("=")[0].lower().split())
    assert header.fields[key] == value
    assert header.fields["last"] == "here"


@pytest.mark.parametrize(
    ("text", "remark"),
    [
        ("no field at all", "Line 10 of the header is no field and was left out: 'no field at all'."),
        ("sensor = a\nsensor = b", "The header has 'sensor' twice, in lines 10 and 11; the last one counts."),
        ("wavelengths = {1}", "The header has a field 'wavelengths', which was left out; is it 'wavelength'?"),
        (
            "data_ignore_value = 1",
            "The header has a field 'data_ignore_value', which was left out; is it 'data ignore value'?",
        ),
        (
            "scale factor = 2",
            "The header has a field 'scale factor', which was left out; is it 'reflectance scale factor'?",
        ),
        (
            "factor scale_reflectance = 2",
            "The header has a field 'factor scale_reflectance', which was left out; is it 'reflectance scale factor'?",
        ),
        ("nodata = 0", "The header has a field 'nodata', which was left out; is it 'data ignore value'?"),
        ("Gain-Values = {1}", "The header has a field 'gain-values', which was left out; is it 'data gain values'?"),
        ("fwhm = {1} words", "Line 10 of the header is no field and was left out: 'words'."),
    ],
)
def test_remarks(tmp_path: Path, text: str, remark: str) -> None:
    """Lines that say nothing, or again what was said, are remarked."""
    path = _write(tmp_path)
    path.write_text(path.read_text() + text, encoding="utf-8")
    assert read_header(path).remarks == [remark]


def test_silence(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing is printed about headers with odd fields."""
    _read(tmp_path, Sensor_Type="{Unknown}", bbl="{1, 0, 1.0, 1}", wavelength="{400, 500, 600, 700}")
    assert capfd.readouterr() == ("", "")
