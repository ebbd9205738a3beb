from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from cuvis_ai_core.data import Cube
from cuvis_ai_core.data.lazy_array import LazyArray
from cuvis_ai_core.errors import CubeError

DATA = np.arange(24).reshape(2, 3, 4)
WAVELENGTHS = [400.0, 500.0, 600.0, 700.0]


def test_batch() -> None:
    """A batch is one image in the type of its file, with its wavelengths."""
    batch = Cube(DATA, np.asarray(WAVELENGTHS)).batch()
    assert batch.keys() == {"cube", "wavelengths"}
    assert_array_equal(batch["cube"], DATA[None], strict=True)
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


@pytest.mark.parametrize(
    ("wavelengths", "remark"),
    [
        ([400.0, 500.0, 600.0], ""),
        ([400.0, 0.0, 600.0], ""),
        ([400.0, 600.0, 500.0], "band 2 (counted from 0) has 500 nm, band 1 before it 600 nm"),
        ([500.0, 0.0, 400.0], "band 2 (counted from 0) has 400 nm, band 0 before it 500 nm"),
        ([400.0, 400.0, 300.0], "band 1 (counted from 0) has 400 nm, band 0 before it 400 nm"),
        ([400.0, 1000.0012, 1000.0011], "band 2 (counted from 0) has 1000.0011 nm, band 1 before it 1000.0012 nm"),
    ],
)
def test_wavelengths_out_of_order_are_said(wavelengths: list[float], remark: str) -> None:
    """They may be in any order: the first band that is not above the one before it is named, once."""
    cube = Cube(np.ones((1, 2, 3)), np.array(wavelengths))
    assert [each for each in cube.remarks if remark in each] == list(cube.remarks)
    assert bool(cube.remarks) == bool(remark)
    assert replace(cube).remarks == cube.remarks


def test_what_is_said_of_a_cube_is_true_of_it() -> None:
    """One that is made of another by `replace` is looked at anew; what a reader met stays said."""
    data = np.full((1, 2, 3), np.nan, np.float32)
    cube = Cube(data, np.array([400.0, 600.0, 500.0]), remarks=("The file has no unit.",))
    assert [each.split(":")[0] for each in cube.remarks] == [
        "The file has no unit.",
        "The cube has no data",
        "The wavelengths do not ascend",
    ]
    other = replace(cube, data=np.ones((1, 2, 3)), wavelengths=np.array([600.0, 500.0, 400.0]))
    assert [*other.remarks[:1], other.remarks[1].partition(": ")[2]] == [
        "The file has no unit.",
        "band 1 (counted from 0) has 500 nm, band 0 before it 600 nm.",
    ]
    assert replace(other, wavelengths=np.array([400.0, 500.0, 600.0])).remarks == ("The file has no unit.",)


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
        ([0.4, 0.5, 0.6, 0.7], r"(?s)0\.4 at band 0 .* in nm, at least 100.*\nMultiply micrometres by 1000"),
        (["a", "b", "c", "d"], "wavelengths that are no numbers"),
        ([[400.0], 500.0, 600.0, 700.0], "wavelengths that are no numbers"),
        ([400.0, 500.0, 600.0, 700.0j], "wavelengths that are no numbers: Cannot cast"),
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


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "uint64", "float16", "float32", "float64"])
def test_batch_keeps_the_type(dtype: str) -> None:
    """A batch has the type that the file has."""
    assert Cube(DATA.astype(dtype)).batch()["cube"].dtype == dtype


@pytest.mark.parametrize(
    ("dtype", "masked"),
    [("uint8", "float32"), ("int16", "float32"), ("int32", "float64"), ("uint64", "float64"), ("float64", "float64")],
)
def test_bad_bands(dtype: str, masked: str) -> None:
    """A bad band is NaN in the batch, in a real type that holds the values of the others; the cube keeps its own."""
    given: Any = [True, False, 1, 0]
    cube = Cube(DATA.astype(dtype), good_bands=given)
    batch = cube.batch()["cube"]
    assert [each.dtype.name for each in (cube.data, batch)] == [dtype, masked]
    assert np.isnan(batch[..., [1, 3]]).all()
    assert_array_equal(batch[0][..., [0, 2]], DATA[..., [0, 2]])


def test_masked_array() -> None:
    """What is masked, as netCDF4 and rasterio give it, has no data; a mask of nothing changes no type."""
    masked: Any = np.ma.masked_equal(DATA.astype(np.uint16), 5)
    assert_array_equal(
        Cube(masked).batch()["cube"][0], np.where(DATA == 5, np.nan, DATA).astype(np.float32), strict=True
    )
    nothing: Any = np.ma.masked_array(DATA.astype(np.uint16))
    assert_array_equal(Cube(nothing).data, DATA.astype(np.uint16), strict=True)


def test_tensors() -> None:
    """A tensor is an array where NumPy makes one of it; another one is refused as a cube."""
    torch = pytest.importorskip("torch")
    tensor: Any = torch.arange(24.0).reshape(2, 3, 4)
    assert_array_equal(Cube(tensor).data, np.arange(24, dtype=np.float32).reshape(2, 3, 4), strict=True)
    for other in (tensor.bfloat16(), tensor.clone().requires_grad_(), tensor.to("meta")):
        with pytest.raises(CubeError, match="The cube has data of type Tensor, which is no array: "):
            Cube(other)


@pytest.mark.parametrize("absent", [0.0, -1.0])
def test_bands_that_were_not_taken(absent: float) -> None:
    """A wavelength of 0 or less says that the band was not taken: it has no data, and its number stays."""
    wavelengths: Any = [absent, 500.0, 600.0, 700.0]
    cube = Cube(DATA, wavelengths)
    assert cube.good_bands is not None
    assert cube.good_bands.tolist() == [False, True, True, True]
    batch = cube.batch()
    assert_array_equal(batch["wavelengths"], wavelengths)
    assert np.isnan(batch["cube"][..., 0]).all()


def test_all_bands_good() -> None:
    """Where all bands are good nothing is masked."""
    cube = Cube(DATA, good_bands=np.ones(4, dtype=bool))
    assert cube.good_bands is None
    assert cube.batch()["cube"].dtype == DATA.dtype


def test_no_good_band() -> None:
    """A cube without a band that has data is refused."""
    with pytest.raises(CubeError, match="no band with data"):
        Cube(DATA, good_bands=np.zeros(4, dtype=bool))


@pytest.mark.parametrize("good_bands", [[0, 1, 2, 3], [1, np.nan, 1, 1], [-1, 1, 1, 1]])
def test_good_bands_are_0_or_1(good_bands: Any) -> None:
    """Numbers of bands, or other marks, are not taken for truth values."""
    with pytest.raises(CubeError, match=r"good_bands with other values than 0 and 1, such as (2|nan|-1)"):
        Cube(DATA, good_bands=good_bands)


@pytest.mark.parametrize("name", ["fwhm", "good_bands"])
def test_one_number_per_band(name: str) -> None:
    """Lists of another length are refused."""
    lists: Any = {name: [1, 1]}
    with pytest.raises(CubeError, match=rf"4 bands, but {name} of shape \(2,\)"):
        Cube(DATA, **lists)


def test_a_line_longer_than_memory() -> None:
    """Whether there is data is looked for in pieces: a file may claim lines of any length."""
    asked: list[int] = []

    def read(*parts: slice) -> np.ndarray:
        sizes = [part.stop - part.start for part in parts]
        asked.append(int(np.prod(sizes)))
        return np.zeros(sizes, np.float32)

    Cube(LazyArray((2, 1 << 20, 1 << 8), np.float32, read))
    assert 0 < max(asked) <= 1 << 22


def test_looking_for_data_has_a_bound() -> None:
    """An image of nothing, whose file has pieces of gigabytes, is not unpacked for as many times as it has parts."""
    read: list[tuple[slice, ...]] = []

    def nothing(*ranges: slice) -> NDArray[Any]:
        read.append(ranges)
        return np.full([each.stop - each.start for each in ranges], np.nan, dtype=np.float32)

    Cube(LazyArray((32768, 32768, 3), np.float32, nothing, chunk=(16384, 16384)))
    assert len(read) <= 2
    small = Cube(LazyArray((40, 40, 3), np.float32, nothing, chunk=(20, 20)))
    assert small.remarks == ("The cube has no data: no value is finite.",)
