"""What published metric nodes share."""

import pytest

torch = pytest.importorskip("torch")

from cuvis_ai_core.node.fit_utils import random_cap  # noqa: E402
from cuvis_ai_core.node.metric_utils import subsample_hw, topk_count, topk_mean  # noqa: E402 - needs torch


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
    assert subsample_hw(x=rows.reshape(1, 5, 4), stride=2).shape == (1, 3, 2)
