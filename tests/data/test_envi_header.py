from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cuvis_ai_core.data.envi_header import EnviHeader, read_header
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
    assert (header.scale, header.ignored, header.wavelengths) == (1.0, None, None)


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
        (None, "400, 500, 600, 700"),
    ],
)
def test_units(tmp_path: Path, unit: str | None, values: str) -> None:
    """Wavelengths are converted to nanometres."""
    header = _read(tmp_path, wavelength=f"{{{values}}}", wavelength_units=unit)
    assert header.wavelengths is not None
    assert_allclose(header.wavelengths, [400, 500, 600, 700])


def test_index(tmp_path: Path) -> None:
    """An index is no wavelength."""
    assert _read(tmp_path, wavelength="{1, 2, 3, 4}", wavelength_units="Index").wavelengths is None


@pytest.mark.parametrize("unit", [None, "Unknown"])
def test_no_guess(tmp_path: Path, unit: str | None) -> None:
    """Without a unit micrometres are not guessed."""
    header = _read(tmp_path, wavelength="{0.4, 0.5, 0.6, 0.7}", wavelength_units=unit)
    with pytest.raises(CubeError, match=r"(?s)from 0\.4 on, but no unit.*wavelength units = Micrometers"):
        _ = header.wavelengths


@pytest.mark.parametrize(
    ("unit", "values", "message"),
    [
        ("GHz", "400, 500, 600, 700", "unit 'GHz'; known are angstroms, index, "),
        ("Wavenumber", "0, 1, 2, 3", "wavenumber 0; "),
    ],
)
def test_bad_units(tmp_path: Path, unit: str, values: str, message: str) -> None:
    """Wavelengths that cannot be converted are an error."""
    header = _read(tmp_path, wavelength=f"{{{values}}}", wavelength_units=unit)
    with pytest.raises(CubeError, match=message):
        _ = header.wavelengths


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"samples": None}, '"samples" missing'),
        ({"byte_order": None}, '"byte order" missing'),
        ({"lines": "0"}, "lines = 0; it is an integer of at least 1"),
        ({"lines": "-2"}, "lines = -2"),
        ({"bands": "many"}, "bands = many"),
        ({"bands": "{1, 2}"}, "bands = "),
        ({"header_offset": "-1"}, "header offset = -1; it is an integer of at least 0"),
        ({"data_type": "7"}, "data type = 7; supported are 1, 2, 3, 4, 5, 12"),
        ({"data_type": "6"}, "data type = 6"),
        ({"interleave": "bsx"}, "interleave = bsx; supported are bil, bip, bsq"),
        ({"byte_order": "2"}, "byte order = 2; supported are 0, 1"),
        ({"wavelength": "{400, 500}"}, r"'wavelength' that is no list \{...\} of 4 finite numbers"),
        ({"wavelength": "{400, 500, 600, nan}"}, "'wavelength' that is no list"),
        ({"wavelength": "500"}, "'wavelength' that is no list"),
        ({"wavelength": "{a, b, c, d}"}, "'wavelength' that is no list of numbers"),
        ({"fwhm": "{wide}"}, "'fwhm' that is no list"),
        ({"bbl": "{1, 1, yes, 0}"}, "'bbl' that is no list"),
        ({"file_type": "ENVI Spectral Library"}, "describes a spectral library"),
        ({"file_compression": "1"}, "(?s)describes a compressed data file.*without compression"),
        ({"major_frame_offsets": "{4, 4}"}, "frame offsets are not supported"),
        ({"major_frame_offsets": "x"}, "no ENVI header that can be read"),
        ({"description": "{never closed"}, "(?s)Failed to parse.*every { has its }"),
    ],
    ids=str,
)
def test_broken_rules(tmp_path: Path, changes: dict[str, str | None], message: str) -> None:
    """A broken rule names the header and the field."""
    path = _write(tmp_path, **changes)
    with pytest.raises(CubeError, match=message) as caught:
        read_header(path)
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


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"no header\n", id="other text"),
        pytest.param(bytes(range(256)), id="binary"),
        pytest.param(b"ENVI\ndescription = {Gr\xfc\xdfe}\n", id="not UTF-8"),
        pytest.param(b"ENVI\n" + b"; comment\n" * 5000 + b"\xfc", id="not UTF-8 far inside"),
        pytest.param(b"\xef\xbb\xbfENVI\n", id="byte order mark"),
    ],
)
def test_no_header(tmp_path: Path, content: Any) -> None:
    """What is no header is one clear error."""
    path = tmp_path / "scene.hdr"
    path.write_bytes(content)
    with pytest.raises(CubeError, match="no ENVI header that can be read"):
        read_header(path)


def test_silence(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing is logged or warned about headers with odd fields."""
    _read(tmp_path, Sensor_Type="{Unknown}", bbl="{1, 0, 1.0, 1}", wavelength="{400, 500, 600, 700}")
    assert capfd.readouterr() == ("", "")
