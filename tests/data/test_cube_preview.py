"""What stands for a cube in pictures of it: some pixels, and three bands."""

import numpy as np
import pytest

from cuvis_ai_core.data import Cube
from cuvis_ai_core.data.cube_preview import band_name, colour_bands, sampled


@pytest.mark.parametrize(
    ("height", "width", "rows", "columns"),
    [
        (2, 3, [0, 1], [0, 1, 2]),
        (1, 384, [0], list(range(384))),
        (10, 385, [1, 3, 5, 7, 9], list(range(1, 385, 2))),
        (1, 769, [0], list(range(1, 769, 3))),
        (1153, 2, list(range(2, 1153, 4)), [1]),
    ],
)
def test_pixels_in_the_middle_of_equal_parts(height: int, width: int, rows: list[int], columns: list[int]) -> None:
    """No more than 384 a side, at least one; bands without data are NaN."""
    data = np.arange(height * width * 3, dtype=np.float64).reshape(height, width, 3)
    found = sampled(Cube(data, good_bands=np.array([True, False, True])))
    assert (found.rows.tolist(), found.columns.tolist()) == (rows, columns)
    expected = data[np.ix_(rows, columns)].astype(np.float32)
    expected[..., 1] = np.nan
    np.testing.assert_array_equal(found.values, expected, strict=True)


@pytest.mark.parametrize(
    ("wavelengths", "bands"),
    [
        (None, [4, 2, 0]),
        ([450.0, 500.0, 550.0, 600.0, 650.0], [4, 2, 0]),
        ([650.0, 550.0, 450.0, 900.0, 1000.0], [0, 1, 2]),
        ([410.0, 510.0, 610.0, 700.0, 800.0], [2, 1, 0]),
        ([409.0, 510.0, 610.0, 700.0, 800.0], [4, 2, 0]),
        ([900.0, 1000.0, 1100.0, 1200.0, 1300.0], [4, 2, 0]),
    ],
)
def test_bands_of_colours(wavelengths: list[float] | None, bands: list[int]) -> None:
    """Those nearest to red, green and blue, if all are within 40 nm; else the last, the middle and the first one."""
    cube = Cube(np.ones((1, 1, 5)), None if wavelengths is None else np.array(wavelengths))
    assert colour_bands(cube) == bands


@pytest.mark.parametrize(
    ("wavelengths", "bad", "bands"),
    [
        (None, [0, 4], [3, 2, 1]),
        ([450.0, 550.0, 645.0, 650.0, 700.0], [3], [2, 1, 0]),
        ([450.0, 550.0, 650.0, 660.0, 0.0], [2], [3, 1, 0]),
        ([1000.0, 1100.0, 1200.0, 1300.0, 1400.0], [0, 4], [3, 2, 1]),
        ([450.0, 550.0, 650.0, 700.0, 800.0], [0], [4, 3, 1]),
    ],
)
def test_bad_bands_stand_for_no_colour(wavelengths: list[float] | None, bad: list[int], bands: list[int]) -> None:
    """Of those with data the nearest ones are taken, or the last, middle and first."""
    good = ~np.isin(np.arange(5), bad)
    taken = None if wavelengths is None else np.array(wavelengths)
    assert colour_bands(Cube(np.ones((2, 2, 5)), taken, good_bands=good)) == bands


def test_names_of_bands() -> None:
    """A number, and the wavelength where the band was taken."""
    cube = Cube(np.ones((1, 1, 3)), np.array([450.06, 0.0, 650.0]))
    assert [band_name(cube, band) for band in range(3)] == ["band 0, 450.1 nm", "band 1", "band 2, 650.0 nm"]
    assert band_name(Cube(np.ones((1, 1, 3))), 2) == "band 2"
