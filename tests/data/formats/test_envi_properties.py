"""However a header is decorated, it says the same."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from cuvis_ai_core.data.formats.envi.reader import read_envi

SHAPE = (2, 3, 4)
WAVELENGTHS = [400.5, 550.0, 700.25, 2400.0]
GAIN = [0.5, 1.0, 2.0, 4.0]
IGNORED = 7
UNITS = {
    "Nanometers": 1.0, "nanometer": 1.0, "NM": 1.0, "Micrometers": 1e-3, "um": 1e-3, "\u00b5m": 1e-3, "Microns": 1e-3,
    "Angstroms": 10.0,
}  # fmt: skip
AXES = {"bip": (0, 1, 2), "bil": (0, 2, 1), "bsq": (2, 0, 1)}
TYPES = {1: "u1", 2: "i2", 3: "i4", 4: "f4", 5: "f8", 12: "u2", 13: "u4", 14: "i8", 15: "u8"}

blanks = st.text(" \t", max_size=3)
cases: Any = st.sampled_from([str, str.upper, str.title])
remarks = st.one_of(st.just(""), st.text("ab =,;{1", max_size=8).map(";{}".format))
noise = st.sampled_from(["", "   ", "; wavelength = {1, 2}", "\t; bands = 9", ";"])


@st.composite
def _listed(draw: Any, values: list[float], factor: float = 1.0) -> str:
    """Draw a list in braces over one or more lines, with blanks, remarks and a comma too many."""
    parts = [repr(value * factor) for value in values]
    ends = [
        draw(st.sampled_from([", ", ",", " , ", ",\n", ",\n\n  ", ", ; one\n", ",\n; was {9}\n"])) for _ in parts[1:]
    ]
    begin, end = (
        draw(st.sampled_from(["{", "{ ", "{\n", "\n{", "\n\n; here\n  {\n"])),
        draw(st.sampled_from(["}", " }", ",}", "\n}"])),
    )
    text: str = begin + "".join(part + after for part, after in zip(parts, [*ends, end], strict=True))
    return text


@st.composite
def headers(draw: Any) -> tuple[bytes, dict[str, Any]]:
    """Draw a header and what it says."""
    unit = draw(st.sampled_from(sorted(UNITS)))
    interleave, code, order = (draw(st.sampled_from(each)) for each in (sorted(AXES), sorted(TYPES), "01"))
    numbers = {"lines": SHAPE[0], "samples": SHAPE[1], "bands": SHAPE[2], "data type": code, "byte order": order}
    fields = {
        **{key: str(value) for key, value in numbers.items()},
        "interleave": draw(cases)(interleave),
        "header offset": draw(st.sampled_from(["0", "5", ""])),
        "wavelength units": unit,
        "wavelength": draw(_listed(WAVELENGTHS, UNITS[unit])),
        "bbl": draw(_listed([1, 1, 0, 1.0])),
        "data gain values": draw(_listed(GAIN)),
        "data ignore value": str(IGNORED),
        "description": draw(st.sampled_from(["{21 \u00b0C; a = b}", "{\n a {b} c}", "x", "", "{,}"])),
        "band names": draw(st.sampled_from(["{a; b, c, d, e}", "{a,\nb,\nc,\nd,\n}"])),
    }
    lines = ["ENVI"]
    for key in draw(st.permutations(sorted(fields))):
        behind = "" if key in {"description", "band names"} else draw(remarks)
        name, equals = draw(cases)(key), draw(blanks) + "=" + draw(blanks)
        lines += [draw(noise), draw(blanks) + name + equals + fields[key] + draw(blanks) + behind]
    text = draw(st.sampled_from(["\n", "\r\n", "\r"])).join("\n".join(lines).split("\n"))
    content = text.encode(draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"])))
    offset = int(fields["header offset"] or 0)
    dtype = np.dtype("<>"[int(order)] + TYPES[code])
    return content, {"interleave": interleave, "dtype": dtype, "offset": offset}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the image is written again and again."""
    return tmp_path_factory.mktemp("envi")


@given(header=headers())
def test_decoration_changes_nothing(folder: Path, header: tuple[bytes, dict[str, Any]]) -> None:
    """Case, blanks, remarks, order, line ends and encodings of a header do not change the cube."""
    content, layout = header
    stored: Any = np.arange(24).reshape(SHAPE)
    (folder / "scene.hdr").write_bytes(content)
    values = stored.transpose(AXES[layout["interleave"]]).astype(layout["dtype"])
    (folder / "scene.img").write_bytes(bytes(layout["offset"]) + values.tobytes())
    cube = read_envi(folder / "scene.hdr")
    assert_allclose(cube.data, np.where(stored == IGNORED, np.nan, stored * GAIN))
    assert cube.wavelengths is not None
    assert_allclose(cube.wavelengths, WAVELENGTHS)
    assert_array_equal(cube.good_bands, [True, True, False, True])
    assert cube.remarks == ("Values were multiplied by the data gain values of the header.",)
