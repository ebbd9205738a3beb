from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from cuvis_ai_core.builtin.color import WavelengthSelector
from cuvis_ai_core.errors import InvalidNodeError, PortError

WAVELENGTHS = np.asarray([440.0, 460.0, 545.0, 560.0, 655.0, 800.0])
CUBE = np.random.default_rng(0).random((2, 3, 4, 6), dtype=np.float32)


def test_default_colours() -> None:
    """The default is red, green and blue from the nearest bands."""
    image = WavelengthSelector()(cube=CUBE, wavelengths=WAVELENGTHS)["image"]
    assert_array_equal(image, CUBE[..., [4, 2, 0]])
    assert image.dtype == np.float32


def test_any_number_of_targets() -> None:
    """Targets may be of any number and fall on one band."""
    node = WavelengthSelector(targets=[800, 795, 441.5, 805])
    assert node.target_count == 4
    image = node(cube=CUBE, wavelengths=WAVELENGTHS)["image"]
    assert_array_equal(image, CUBE[..., [5, 5, 0, 5]])


def test_descending_bands() -> None:
    """Bands need not ascend."""
    image = WavelengthSelector()(cube=CUBE, wavelengths=WAVELENGTHS[::-1])["image"]
    assert_array_equal(image, CUBE[..., [1, 3, 4]])


def test_integer_wavelengths() -> None:
    """Integer wavelengths are read."""
    image = WavelengthSelector()(cube=CUBE, wavelengths=WAVELENGTHS.astype(np.int32))["image"]
    assert_array_equal(image, CUBE[..., [4, 2, 0]])


def test_tolerance() -> None:
    """The tolerance counts up to itself."""
    node = WavelengthSelector(targets=[820.0], tolerance=20)
    assert_array_equal(node(cube=CUBE, wavelengths=WAVELENGTHS)["image"], CUBE[..., 5:])


def test_no_band_near() -> None:
    """A target without a band near it is an error with the numbers."""
    node = WavelengthSelector(targets=[650.0, 900.0], name="swir")
    with pytest.raises(PortError) as caught:
        node(cube=CUBE, wavelengths=WAVELENGTHS)
    assert str(caught.value) == (
        "Node 'swir', input 'wavelengths': the band nearest to 900 nm is at 800 nm, 100 nm away; "
        "the tolerance is 20 nm.\n"
        "The cube has 440 to 800 nm. Change 'targets' or raise 'tolerance' of this node."
    )
    assert (caught.value.node, caught.value.port) == ("swir", "wavelengths")


def test_a_band_without_data() -> None:
    """A band that is needed and has no data is an error with node and band; other bands are not needed."""
    cube = CUBE.copy()
    cube[1, ..., [3, 4]] = np.nan
    node = WavelengthSelector(name="colours")
    with pytest.raises(
        PortError, match=r"Node 'colours', input 'cube': band 4 \(counted from 0\) at 655 nm has no fin"
    ):
        node(cube=cube, wavelengths=WAVELENGTHS)
    cube[1, ..., 4] = CUBE[1, ..., 4]
    assert_array_equal(node(cube=cube, wavelengths=WAVELENGTHS)["image"], cube[..., [4, 2, 0]])


def test_an_image_without_data() -> None:
    """An image without any data stays so."""
    cube = CUBE.copy()
    cube[1] = np.nan
    assert_array_equal(WavelengthSelector()(cube=cube, wavelengths=WAVELENGTHS)["image"], cube[..., [4, 2, 0]])


def test_all_picked_bands_without_data() -> None:
    """They are an error where others have data: the image is not missing as a whole."""
    cube = CUBE.copy()
    cube[0, ..., [0, 2, 4]] = np.nan
    with pytest.raises(PortError, match=r"band 4 \(counted from 0\) at 655 nm") as caught:
        WavelengthSelector()(cube=cube, wavelengths=WAVELENGTHS)
    assert "Change 'targets'" in str(caught.value.hint)


@pytest.mark.parametrize("value", [0, -1])
def test_bands_that_were_not_taken(value: int) -> None:
    """Wavelengths of 0 or -1 stand for bands that were not taken, and are not told as the range of the cube."""
    with pytest.raises(PortError, match="The cube has 440 to 655 nm"):
        WavelengthSelector(targets=[2000])(cube=CUBE, wavelengths=np.where(WAVELENGTHS > 700, value, WAVELENGTHS))


@pytest.mark.parametrize(
    ("wavelengths", "message"),
    [
        (WAVELENGTHS[:5], r"shape \(5,\) for a cube of 6 channels"),
        (WAVELENGTHS[None], r"shape \(1, 6\)"),
        (np.where(WAVELENGTHS > 700, np.nan, WAVELENGTHS), "not finite"),
        (WAVELENGTHS.tolist(), "got list"),
    ],
)
def test_bad_wavelengths(wavelengths: Any, message: str) -> None:
    """Wavelengths that do not fit the cube are an error."""
    with pytest.raises(PortError, match=message):
        WavelengthSelector()(cube=CUBE, wavelengths=wavelengths)


@pytest.mark.parametrize(
    "hparams",
    [{"targets": []}, {"targets": "650"}, {"targets": [True]}, {"targets": 650.0}, {"tolerance": -1}],
    ids=str,
)
def test_bad_hyper_parameters(hparams: dict[str, Any]) -> None:
    """Hyper-parameters out of range are refused."""
    with pytest.raises(InvalidNodeError, match=next(iter(hparams))):
        WavelengthSelector(**hparams)


def test_hyper_parameters_are_plain() -> None:
    """Targets are kept as plain numbers to be written to a pipeline file."""
    node = WavelengthSelector(targets=np.asarray([650.0, 550.0], dtype=np.float32), tolerance=5)
    assert node.hparams == {"targets": [650.0, 550.0], "tolerance": 5}
    assert [type(target) for target in node.hparams["targets"]] == [float, float]
