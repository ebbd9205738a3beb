"""What the page of a cube holds: spectra of its points, pictures of its bands, how often which value occurs."""

import base64
import io
import json
import re
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from cuvis_ai_core.data import Cube
from cuvis_ai_core.results.cube_page import cube_page


def data_of(page: str) -> dict[str, Any]:
    """Return what the script of a page is given, its spectra as numbers."""
    found = re.search(r"const DATA = (\{.*\});\n", page)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    packed = np.frombuffer(base64.b64decode(data["points"]), "<u2")
    packed = packed.reshape(len(data["rows"]), len(data["columns"]), len(data["axis"]))
    values = data["low"] + packed / 65534 * (data["high"] - data["low"])
    return data | {"points": np.where(packed == 65535, np.nan, values)}


def images_of(page: str) -> list[Any]:
    """Return the pixels of all pictures in a page: false colour, the first band, all bands."""
    found = re.findall(r"data:image/(png|jpeg);base64,([A-Za-z0-9+/=]+)", page)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(content)))) for _, content in found]


@pytest.mark.parametrize(
    ("shape", "step", "bands"),
    [((5, 7, 3), 1, 3), ((64, 10, 300), 1, 256), ((65, 129, 4), 3, 4), ((10, 900, 2), None, 2)],
)
def test_points_have_their_spectra(shape: tuple[int, int, int], step: int | None, bands: int) -> None:
    """Of rows and columns that are told, at most 64 a side, in 16 bits; at most 256 bands of them."""
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32) * 3 + 1
    values[0, 0] = np.nan
    values[0, 1, 0] = np.inf
    data = data_of(cube_page(Cube(values), "cube"))
    rows, columns, axis = (np.array(data[name], int) for name in ("rows", "columns", "axis"))
    assert max(len(rows), len(columns)) <= 64
    if step is not None:
        assert_array_equal(rows, range(0, shape[0], step))
        assert_array_equal(columns, range(0, shape[1], step))
    assert (len(axis), axis[0], axis[-1], data["unit"]) == (bands, 0, shape[2] - 1, "band")
    assert (np.diff(axis) > 0).all()
    expected = values[np.ix_(rows, columns, axis)]
    expected[~np.isfinite(expected)] = np.nan
    assert_allclose(data["points"], expected, atol=(data["high"] - data["low"]) / 65534)
    assert (data["low"], data["high"]) == (np.nanmin(expected), np.nanmax(expected)) or bands == 256
    assert data["size"] == list(shape[:2])


@pytest.mark.parametrize(
    ("wavelengths", "axis", "unit"),
    [([500.123, 600, 700], [500.12, 600, 700], "nm"), ([500.0, -1, 700], [0, 1, 2], "band")],
)
def test_the_axis_of_spectra(wavelengths: list[float], axis: list[float], unit: str) -> None:
    """Wavelengths where all are known; a cube of one value has spectra, too."""
    cube = Cube(np.full((2, 3, 3), 7.0), np.array(wavelengths))
    data = data_of(cube_page(cube, "cube"))
    assert (data["axis"], data["unit"], data["low"], data["high"]) == (axis, unit, 7, 7)
    assert_array_equal(data["points"], np.broadcast_to(np.where(np.array(wavelengths) > 0, 7, np.nan), (2, 3, 3)))
    names = [f"band {band}, {each:.1f} nm" if each > 0 else f"band {band}" for band, each in enumerate(wavelengths)]
    assert data["names"] == names


def test_without_data_there_are_no_spectra() -> None:
    """And no values to count."""
    page = cube_page(Cube(np.full((2, 3, 2), np.nan)), "cube")
    data = data_of(page)
    assert (data["low"], data["high"], np.isnan(data["points"]).all()) == (0, 1, True)
    assert "No value is finite." in page


def test_pictures_show_the_bands_that_are_named() -> None:
    """Red, green and blue in the first; then each band that the slider has, of a hundred 64, the first one shown."""
    values = np.zeros((20, 30, 100), np.float32)
    for band in range(100):
        values[:, band % 30, band] = 5.0
    page = cube_page(Cube(values), "cube")
    names = data_of(page)["names"]
    colours, first, *bands = images_of(page)
    assert (len(names), names[0], names[-1], len(bands)) == (64, "band 0", "band 99", 64)
    assert (colours[0] > 128).nonzero()[0].tolist() == sorted([99 % 30, 50 % 30, 0])
    assert [(colours[0, column] > 128).tolist() for column in (9, 20, 0)] == np.eye(3, dtype=bool).tolist()
    assert_array_equal(first, bands[0])
    for name, image in zip(names, bands, strict=True):
        assert int(image.astype(int).sum(axis=0).argmax()) == int(name.removeprefix("band ")) % 30
    assert "red band 99, green band 50, blue band 0; from the 2nd" in page
    assert 'min="0" max="63"' in page
    assert 'id="name">band 0<' in page


def test_the_histogram_has_a_bar_for_each_share() -> None:
    """As high as often its values occur, against the most frequent."""
    values = np.repeat([0.0, 47.5, 48.0, np.nan], [300, 100, 0, 80]).reshape(20, 24, 1)
    values[0, 0] = 48
    page = cube_page(Cube(values), "cube")
    bars = re.findall(r'<rect x="(\d+)" y="([\d.]+)" width="9" height="([\d.]+)"/>', page)
    assert [int(x) for x, _, _ in bars] == list(range(0, 480, 10))
    heights = [float(height) for _, _, height in bars]
    assert heights == [100.0, *[0.0] * 46, round(101 / 299 * 100, 1)]
    assert [float(y) for _, y, _ in bars] == [pytest.approx(100 - height) for height in heights]
    assert 'viewBox="0 0 480 100"' in page
    assert "from 0 to 48, in the pixels" in page


@pytest.mark.parametrize(("length", "kept"), [(300, 300), (301, 300)])
def test_what_a_file_says_is_shown_in_brief(length: int, kept: int) -> None:
    """A hundred entries of three hundred signs; nothing of what nobody knows."""
    metadata = {f"key{number}.": "x" * length for number in range(101)}
    text = re.sub(r"<[^>]*>", "|", cube_page(Cube(np.ones((2, 2, 1)), metadata=metadata), "cube"))
    assert ("key99." in text, "key100." in text) == (True, False)
    assert ("x" * kept + ("|" if length == kept else " …")) in text
    assert "x" * (kept + 1) not in text
    for name in ("wavelengths", "full width", "bands without", "place", "transform", "taken"):
        assert f"|{name}" not in text
    assert "|file||-|" in text
    known = Cube(np.ones((2, 2, 1)), transform=(1.0, 2, 3, 4, 5, 6))
    assert "|transform||(1.0, 2, 3, 4, 5, 6)|" in re.sub(r"<[^>]*>", "|", cube_page(known, "cube"))
