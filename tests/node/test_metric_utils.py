"""What published metric nodes share."""

import logging
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from cuvis_ai_core.node.fit_utils import random_cap  # noqa: E402
from cuvis_ai_core.node.metric_utils import (  # noqa: E402 - needs torch
    check_topk_frac,
    subsample_hw,
    topk_count,
    topk_mean,
    warn_below_vectorized_cutoff,
)


@pytest.mark.parametrize(
    ("pixels", "share", "count"),
    [(3, 0.001, 1), (48, 0.05, 3), (99, 0.01, 1), (101, 0.01, 2), (100, 0.015, 2), (100, 0.07, 7), (100, 0.55, 55)],
)
def test_a_share_of_the_highest_scores(pixels: int, share: float, count: int) -> None:
    """A part of a pixel counts as one, of each image for itself, and rounding of floats adds none."""
    scores = torch.arange(1.0, pixels + 1).reshape(1, pixels, 1)
    means = topk_mean(torch.cat([scores, -scores]), share)
    assert means.tolist() == [pixels - (count - 1) / 2, -1 - (count - 1) / 2]


@pytest.mark.parametrize(
    ("pixels", "share", "count"),
    [
        (1, 0.001, 1),
        (576, 0.05, 29),
        (1_080_000, 0.003, 3240),
        (1_598_618, 0.767, 1_226_140),
        (451_293, 0.785, 354_265),
    ],
)
def test_a_share_of_large_images(pixels: int, share: float, count: int) -> None:
    """Of 1,226,140.006 a float32 has no part, so it is one fewer than by exact numbers."""
    assert topk_count(numel=pixels, topk_frac=share) == count


def test_arguments_by_their_published_names() -> None:
    """As programs may hand them over."""
    rows = torch.arange(20.0).reshape(10, 2)
    drawn = random_cap(rows=rows, max_rows=4, generator=torch.Generator().manual_seed(3))
    assert drawn.shape == (4, 2)
    assert torch.equal(drawn, random_cap(rows, 4, torch.Generator().manual_seed(3)))
    by_chance = random_cap(rows, 9)
    assert len(set(by_chance[:, 0].tolist())) == 9
    assert set(by_chance[:, 0].tolist()) < set(rows[:, 0].tolist())
    assert random_cap(rows, 10) is rows
    assert subsample_hw(x=rows.reshape(1, 5, 4), stride=2).shape == (1, 3, 2)


@pytest.mark.parametrize("stride", [0, -1, 1.0, True, "2", None])
def test_what_is_no_stride(stride: Any) -> None:
    """A number of pixels, one or more."""
    with pytest.raises(ValueError, match="stride must be an integer of at least 1"):
        subsample_hw(torch.zeros(1, 4, 4), stride)


def test_pixels_are_left_out_of_both_axes() -> None:
    """As a view; a stride of one leaves all, whatever the axes are."""
    images = torch.arange(24.0).reshape(1, 4, 6)
    assert subsample_hw(images, 3).tolist() == [[[0, 3], [18, 21]]]
    assert subsample_hw(images, 3).data_ptr() == images.data_ptr()
    rows = torch.zeros(4, 2)
    assert subsample_hw(rows, 1) is rows
    with pytest.raises(ValueError, match=r"\[batch, height, width, \.\.\.\] is needed, and the shape is \(4, 2\)"):
        subsample_hw(rows, 2)


@pytest.mark.parametrize(("share", "found"), [(1, 1.0), (0.5, 0.5), (1e-9, 1e-9)])
def test_a_share(share: float, found: float) -> None:
    """Is a float."""
    assert type(check_topk_frac(share)) is float
    assert check_topk_frac(share) == found


@pytest.mark.parametrize("share", [0, -0.1, 1.0001, True, float("nan"), "0.5", None])
def test_what_is_no_share(share: Any) -> None:
    """The error has the name that the node gives it."""
    with pytest.raises(ValueError, match="top must be a number above 0 and up to 1"):
        check_topk_frac(share, "top")


@pytest.mark.parametrize(
    ("counted", "whole", "said"),
    [(50_000, 50_001, True), (50_001, 60_000, False), (40_000, 50_000, False), (100, 200, False)],
)
def test_a_metric_that_gets_slower_by_counting_less(
    counted: int, whole: int, caplog: pytest.LogCaptureFixture, *, said: bool
) -> None:
    """It is said where leaving pixels out brought it there; once, where the node remembers."""
    states: list[Any] = [{}, set()]
    for state in states:
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            for _ in range(2):
                warn_below_vectorized_cutoff("n", counted, whole, state)
        assert len(caplog.records) == said
    caplog.clear()
    for _ in range(2):
        warn_below_vectorized_cutoff("n", counted, whole)
    assert len(caplog.records) == 2 * said
