"""What a notebook shows of what a run answered."""

import base64
import io
import re
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cuvis_ai_core.pages.colour_maps import NO_DATA
from cuvis_ai_core.pipeline.execution.run_results import Results


def shown(value: Any) -> str:
    """Return what is shown of one output."""
    return str(Results({("node", "port"): value})._repr_html_())


def kind(value: Any) -> str | None:
    """Return what a picture is said to be, None where there is none."""
    found = re.search(r'alt="(\w+)"', shown(value))
    return found[1] if found else None


@pytest.mark.parametrize(
    ("value", "picture"),
    [
        (np.arange(255).reshape(1, 15, 17), "classes"),
        (np.arange(256).reshape(1, 16, 16), "numbers"),
        (np.zeros((1, 2, 2), bool), "classes"),
        (np.zeros((2, 3, 2, 1), np.float32), "scores"),
        (np.zeros((1, 2, 2, 3), np.uint8), "colours"),
        (np.zeros((1, 2, 2, 3)), "colours"),
        (np.zeros((1, 2, 2, 4)), None),
        (np.zeros((1, 1, 9)), None),
        (np.zeros((2, 2)), None),
        (np.zeros((1, 0, 0)), None),
        (np.full((1, 2, 2), "text"), None),
        (None, None),
        (7, None),
    ],
)
def test_what_looks_like_an_image_is_shown_as_one(value: Any, picture: str | None) -> None:
    """Classes by their colours while they are few, scores on a scale, anything else in words."""
    assert kind(value) == picture


def test_what_is_no_number_is_left_out_of_the_range() -> None:
    """And has a colour of its own in the picture."""
    html = shown(np.array([[[np.nan, -2.5], [np.inf, 7.25]]], np.float32))
    assert all(f">{each}<" in html for each in ("-2.5", "7.25"))
    data = re.search(r"data:image/png;base64,([^\"']+)", html)
    assert data is not None
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(data[1]))).convert("RGB"))
    assert [tuple(map(int, pixels[each])) == tuple(NO_DATA) for each in np.ndindex(2, 2)] == [True, False, True, False]


def test_large_images_are_shown_small() -> None:
    """Of 1000 lines every sixth."""
    data = re.search(r"data:image/png;base64,([^\"']+)", shown(np.zeros((1, 1000, 10), np.float32)))
    assert data is not None
    assert Image.open(io.BytesIO(base64.b64decode(data[1]))).size == (2, 167)


@pytest.mark.parametrize("shape", [(1, 2, 2), (1, 16, 17), (1, 2, 2, 3), (1, 2, 2, 1)])
def test_pictures_are_wide_and_their_pixels_sharp(shape: tuple[int, ...]) -> None:
    """Those of all kinds: a browser would draw few pixels small, or blur them."""
    for kind in (int, np.float32):
        values = np.arange(np.prod(shape)).reshape(shape).astype(kind)
        assert shown(values).count("width:10rem;image-rendering:pixelated") == 1


def test_colours_stay_in_their_order() -> None:
    """Red first, whatever type the numbers have."""
    red = np.zeros((1, 2, 2, 3))
    red[0, 0, 0, 0] = 1
    for values in (red, (red * 255).astype(np.uint8)):
        data = re.search(r"data:image/png;base64,([^\"']+)", shown(values))
        assert data is not None
        pixel = np.asarray(Image.open(io.BytesIO(base64.b64decode(data[1]))).convert("RGB"))[0, 0]
        assert pixel.argmax() == 0
        assert pixel[0] > pixel[1] == pixel[2]


@pytest.mark.parametrize(
    ("value", "cells"),
    [
        (np.float32(2.5), ["float32", "one value", "2.5", "2.5"]),
        (np.array([[1.23456789, -9.87654321e8]]), ["float64", "1 x 2", "-9.87654e+08", "1.23457"]),
        (np.array([np.nan]), ["float64", "1", "-", "-"]),
        (np.array([], np.int8), ["ndarray", "-", "-", "-"]),
        ("text", ["str", "-", "-", "-"]),
        (None, ["NoneType", "-", "-", "-"]),
    ],
)
def test_type_shape_and_range_stand_in_words(value: Any, cells: list[str]) -> None:
    """Six digits of each end; where there is none, a dash."""
    assert re.findall(r"<td[^>]*>([^<]*)</td>", shown(value))[1:5] == cells
