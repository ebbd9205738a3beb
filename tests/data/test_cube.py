from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from cuvis_ai_core.data import Cube
from cuvis_ai_core.errors import CubeError

DATA = np.arange(24).reshape(2, 3, 4)
WAVELENGTHS = [400.0, 500.0, 600.0, 700.0]


def test_batch() -> None:
    """A batch is one float32 image with its wavelengths."""
    batch = Cube(DATA, np.asarray(WAVELENGTHS)).batch()
    assert batch.keys() == {"cube", "wavelengths"}
    assert_array_equal(batch["cube"], DATA[None].astype(np.float32), strict=True)
    assert_array_equal(batch["wavelengths"], np.asarray(WAVELENGTHS), strict=True)


def test_batch_without_wavelengths() -> None:
    """A cube without wavelengths gives a batch without them."""
    assert Cube(DATA).batch().keys() == {"cube"}


def test_batch_byte_order() -> None:
    """A batch is in the byte order of the machine."""
    batch = Cube(DATA.astype(">u2")).batch()
    assert batch["cube"].dtype.isnative
    assert_array_equal(batch["cube"][0], DATA)


def test_batch_is_a_copy() -> None:
    """Changing a batch leaves the cube alone."""
    cube = Cube(np.zeros((1, 1, 1), dtype=np.float32))
    cube.batch()["cube"][:] = 1
    assert cube.data.max() == 0


def test_pixels_not_finite() -> None:
    """Pixels that are not finite are allowed."""
    data = np.asarray([[[np.nan, np.inf]]])
    assert_array_equal(Cube(data).batch()["cube"], data[None])


def test_wavelengths() -> None:
    """Wavelengths become float64 and need not ascend."""
    given: Any = [700, 400, 500, 600]
    wavelengths = Cube(DATA, given).wavelengths
    assert wavelengths is not None
    assert wavelengths.dtype == np.float64


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.zeros((2, 3)), r"shape \(2, 3\); a cube has three dimensions, \[height, width, channel\]"),
        (np.zeros((1, 2, 3, 4)), r"shape \(1, 2, 3, 4\)"),
        (np.zeros((2, 0, 3)), "at least one pixel and one band"),
        (np.zeros((1, 1, 1), dtype=np.complex64), "type complex64; a cube holds real numbers"),
        (np.zeros((1, 1, 1), dtype=bool), "type bool"),
        (np.full((1, 1, 1), None), "type object"),
        (np.zeros((1, 1, 1), dtype="datetime64[s]"), "type datetime64"),
        ("text", "type <U4"),
    ],
)
def test_bad_data(data: Any, message: str) -> None:
    """What is no array of real numbers in three dimensions is refused."""
    with pytest.raises(CubeError, match=message):
        Cube(data)


@pytest.mark.parametrize(
    ("wavelengths", "message"),
    [
        ([400.0, 500.0], r"4 bands, but wavelengths of shape \(2,\)"),
        ([WAVELENGTHS], r"wavelengths of shape \(1, 4\)"),
        (500.0, r"wavelengths of shape \(\)"),
        ([400.0, np.nan, 600.0, 700.0], r"wavelength nan at band 1 \(counted from 0\)"),
        ([400.0, 500.0, np.inf, 700.0], "wavelength inf at band 2"),
        ([0.4, 0.5, 0.6, 0.7], r"(?s)0\.4 at band 0 .* in nm, at least 100\.\nMultiply micrometres by 1000"),
        (["a", "b", "c", "d"], "wavelengths that are no numbers"),
    ],
)
def test_bad_wavelengths(wavelengths: Any, message: str) -> None:
    """Wavelengths are one finite number of nanometres per band."""
    with pytest.raises(CubeError, match=message):
        Cube(DATA, wavelengths)


def test_source_in_errors() -> None:
    """Errors name the source."""
    source = Path("field.npy")
    with pytest.raises(CubeError, match=r"The cube 'field\.npy' has") as caught:
        Cube(np.zeros(3), source=source)
    assert caught.value.path == source


def test_overflow() -> None:
    """Values that float32 cannot hold are an error and no infinity."""
    with pytest.raises(CubeError, match="too large for float32"):
        Cube(np.full((1, 1, 1), 1e300)).batch()
