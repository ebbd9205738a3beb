"""Masks as runs of pixels: what pycocotools writes itself is the measure."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco

from cuvis_ai_core.data.rle import (
    RLE2mask,
    coco_rle_area,
    coco_rle_decode,
    coco_rle_encode,
    coco_rle_to_bbox,
    decode_rle_mask_for_canvas,
    rle_list_to_mask,
)
from cuvis_ai_core.errors import AnnotationError

MASKS = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 1))
TALL = np.array([[0, 1], [0, 1], [1, 1]], np.uint8)


@given(MASKS)
def test_what_is_encoded_is_decoded(mask: np.ndarray[Any, Any]) -> None:
    """Through JSON too, and as pycocotools has it; area and box fit."""
    runs = json.loads(json.dumps(coco_rle_encode(mask)))
    assert runs["size"] == list(mask.shape)
    assert runs["counts"].encode() == coco.encode(np.asfortranarray(mask))["counts"]
    assert np.array_equal(coco_rle_decode(runs), mask)
    assert coco_rle_area(runs) == mask.sum()
    rows, columns = np.nonzero(mask)
    box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1] if len(rows) else [0, 0, 0, 0]
    assert coco_rle_to_bbox(runs) == box


@pytest.mark.parametrize("ends", [[1], [999_999], [17, 18, 400_000, 400_003, 900_000], [3, 600_000, 600_001, 600_002]])
def test_long_runs_are_decoded(ends: list[int]) -> None:
    """A length has several signs, and the one after the next may be far longer, or far shorter."""
    flat = np.zeros(1_000_000, np.uint8)
    for end in ends:
        flat[end:] ^= 1
    mask = flat.reshape(1000, 1000, order="F")
    assert np.array_equal(coco_rle_decode(coco_rle_encode(mask)), mask)


def test_runs_are_columns_and_begin_with_the_background() -> None:
    """A list of lengths is understood, and counts may be bytes."""
    lengths = [2, 4]
    mask = rle_list_to_mask(lengths, 3, 2)
    assert (mask.dtype.kind, np.array_equal(mask, TALL)) == ("b", True)
    published = RLE2mask(lengths, 3, 2)
    assert (published.dtype, np.array_equal(published, TALL)) == (bool, True)
    assert np.array_equal(coco_rle_decode({"size": [3, 2], "counts": lengths}), TALL)
    assert np.array_equal(coco_rle_decode(coco.encode(np.asfortranarray(TALL))), TALL)
    assert coco_rle_decode(coco_rle_encode(TALL)).dtype == np.uint8
    assert coco_rle_encode(TALL * 7) == coco_rle_encode(TALL)


def test_a_size_the_wrong_way_round_is_that_of_the_canvas(caplog: pytest.LogCaptureFixture) -> None:
    """It is taken for it, which is said once; another size is an error."""
    runs = {**coco_rle_encode(TALL), "size": [2, 3]}
    for _ in range(2):
        mask = decode_rle_mask_for_canvas(runs, 3, 2)
        assert (mask.dtype.kind, np.array_equal(mask, TALL)) == ("b", True)
    assert len([each for each in caplog.records if "[width, height]" in each.getMessage()]) <= 1
    mask = decode_rle_mask_for_canvas({"counts": [2, 4]}, 3, 2)
    assert (mask.dtype.kind, np.array_equal(mask, TALL)) == ("b", True)
    with pytest.raises(AnnotationError, match=r"A mask has 3 x 2 pixels .* and its picture 5 x 5"):
        decode_rle_mask_for_canvas(coco_rle_encode(TALL), 5, 5)


@pytest.mark.parametrize(
    "runs",
    [
        {"size": [2, 2], "counts": "0"},  # of which pycocotools makes what lies in memory
        {"size": [2, 2], "counts": ""},
        {"size": [2, 2], "counts": "44444444"},
        {"size": [2, 2], "counts": "~~"},
        {"size": [2, 2], "counts": "P"},
        {"size": [2, 2], "counts": "4\n"},
        {"size": [2, 2], "counts": "T" + "P" * 9 + "0"},  # 4, with more signs than any number of pixels has
        {"size": [2, 2], "counts": "o" * 2_000_000 + "4"},
        {"size": [2, 2], "counts": [2**64, 4 - 2**64]},
        {"size": [2, 2], "counts": [1, 1]},
        {"size": [2, 2], "counts": [5, -1]},
        {"size": [2, 2], "counts": ["a"]},
        {"size": [2], "counts": [4]},
        {"counts": [4]},
        {},
    ],
)
@pytest.mark.parametrize("read", [coco_rle_decode, coco_rle_area, coco_rle_to_bbox])
def test_broken_runs_are_refused(read: Callable[[Any], Any], runs: dict[str, Any]) -> None:
    """None of them is taken for a mask."""
    with pytest.raises(AnnotationError):
        read(runs)


def test_a_mask_has_two_axes() -> None:
    """Others are refused."""
    with pytest.raises(AnnotationError, match=r"\[height, width\]"):
        coco_rle_encode(np.zeros((2, 2, 2)))
