from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image

from cuvis_ai_core.cli.pictures import Picture, draw


def only(array: Any, image: tuple[int, int] = (2, 2)) -> Picture:
    """Return the one picture of an output."""
    (picture,) = draw(np.asarray(array), image)
    return picture


def test_a_mask_is_black_and_white() -> None:
    """Also where it is all of one value, and where it is written in integers."""
    assert only([[[[True], [False]], [[False], [True]]]]).pixels.tolist() == [[255, 0], [0, 255]]
    assert only(np.ones((1, 2, 2), bool)).pixels.tolist() == [[255, 255], [255, 255]]
    assert only(np.ones((1, 2, 2), np.int64)).pixels.tolist() == [[255, 255], [255, 255]]


def test_scores_are_stretched_from_least_to_greatest() -> None:
    """The ends are kept with the picture; what is not finite is black and stretches nothing."""
    picture = only([[[[2.0], [4.0]], [[3.0], [np.inf]]], [[[2.0], [4.0]], [[3.0], [np.nan]]]][:1])
    assert picture.pixels.tolist() == [[0, 255], [128, 0]]
    assert (picture.black, picture.white) == ((2.0,), (4.0,))


def test_a_flat_map_is_black() -> None:
    """Without a difference there is nothing to show."""
    assert only(np.full((1, 2, 2, 1), 3.5)).pixels.tolist() == [[0, 0], [0, 0]]
    assert only(np.full((1, 2, 2, 1), np.nan)).pixels.tolist() == [[0, 0], [0, 0]]


def test_colours_are_stretched_per_channel_between_percentiles() -> None:
    """The 2nd percentile becomes 0 and the 98th 255, in each channel by itself."""
    ramp = np.linspace(0, 10, 101).reshape(1, 101, 1)
    image = np.stack([ramp, ramp * 5 + 100, np.full_like(ramp, 7)], axis=-1)
    picture = only(image, (101, 1))
    assert picture.black == pytest.approx((0.2, 101, 7))
    assert picture.white == pytest.approx((9.8, 149, 7))
    expected = np.rint(np.clip((ramp[0] - 0.2) / 9.6, 0, 1) * 255)
    assert np.abs(picture.pixels[..., 0] - expected).max() <= 1
    assert np.abs(picture.pixels[..., 0].astype(int) - picture.pixels[..., 1]).max() <= 1
    assert not picture.pixels[..., 2].any()


def test_colours_that_were_made_to_be_seen_are_kept() -> None:
    """uint8 as it is, and floats that reach exactly from 0 to 1 without a stretch of their own."""
    photo = np.array([[[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [250, 0, 1]]]], np.uint8)
    assert only(photo).pixels.tolist() == photo[0].tolist()
    colours = np.array([[[[0, 0.5, 0.2], [1, 0.5, 0.2]], [[0.4, 0.2, 0.2], [0.6, 0.4, 0.2]]]])
    assert only(colours).pixels.tolist() == np.rint(colours[0] * 255).astype(int).tolist()


def test_every_image_of_a_batch_is_a_picture() -> None:
    """Each is stretched by itself and has a number."""
    first, second = draw(np.arange(8.0).reshape(2, 2, 2, 1), (2, 2))
    assert (first.index, second.index) == (0, 1)
    assert first.pixels.tolist() == second.pixels.tolist() == [[0, 85], [170, 255]]


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((1, 2, 2, 4)),
        np.zeros((1, 2, 3)),
        np.zeros((1, 2)),
        np.zeros(()),
        np.zeros((1, 0, 2, 1)),
        np.zeros((1, 1, 5, 1)),
        np.full((1, 2, 2), "text"),
        np.zeros((1, 2, 2), complex),
    ],
)
def test_what_does_not_look_like_an_image_is_left_alone(array: NDArray[Any]) -> None:
    """Other ranks, other channel counts, tables, texts."""
    assert list(draw(array, (2, 2))) == []


def test_the_greatest_numbers_can_be_shown() -> None:
    """The difference of the ends is more than a float can hold."""
    assert only([[[-1.7e308, 1.7e308]]], (1, 2)).pixels.tolist() == [[0, 255]]


@given(arrays(np.float64, (1, 3, 3, 1), elements=st.floats(allow_nan=True, allow_infinity=True)))
def test_any_numbers_become_a_picture(array: NDArray[np.float64]) -> None:
    """Brighter is never less, whatever the numbers, and no warning is given."""
    finite = np.isfinite(array[0, ..., 0])
    pixels = only(array, (3, 3)).pixels
    order = np.argsort(array[0, ..., 0][finite], kind="stable")
    assert (np.diff(pixels[finite][order].astype(int)) >= 0).all()
    assert not pixels[~finite].any()


def test_a_picture_is_saved_as_png(tmp_path: Path) -> None:
    """What is read back is what was drawn."""
    picture = only(np.random.default_rng(0).random((1, 4, 6, 3)), (4, 6))
    picture.save(tmp_path / "picture.png")
    with Image.open(tmp_path / "picture.png") as image:
        assert (image.format, image.size) == ("PNG", (6, 4))
        np.testing.assert_array_equal(np.asarray(image), picture.pixels)
