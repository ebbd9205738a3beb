from functools import reduce
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from cuvis_ai_core import Pipeline
from cuvis_ai_core.builtin._quantiles import Ranks, first_ranks, next_ranks, values_at
from cuvis_ai_core.builtin.decision import QuantileDecider
from cuvis_ai_core.errors import InvalidNodeError
from cuvis_ai_core.pipeline.tiling.threads import thread_count


def _decide(scores: NDArray[Any], quantile: float) -> NDArray[np.bool_]:
    mask: NDArray[np.bool_] = QuantileDecider(quantile=quantile)(scores=scores)["mask"]
    return mask


@given(
    hnp.arrays(np.float64, (2, 3, 4, 1), elements=st.integers(-50, 50).map(float)),
    st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 0.99]),
)
def test_quantile_of_each_image(scores: NDArray[Any], quantile: float) -> None:
    """The mask is what lies above the quantile of each image."""
    mask = _decide(scores, quantile)
    assert mask.dtype == np.bool_
    for image, found in zip(scores, mask, strict=True):
        # rounding may put the threshold on either side of a score that equals it
        threshold = np.quantile(image, quantile)
        clear = ~np.isclose(image, threshold, rtol=0, atol=1e-9)
        assert_array_equal(found[clear], (image > threshold)[clear])


def test_between_two_scores() -> None:
    """A quantile between two scores marks the upper one and not the lower one."""
    scores = np.asarray([0.0, 10.0, 14.0, 20.0]).reshape(1, 2, 2, 1)
    assert_array_equal(_decide(scores, 0.6).ravel(), [False, False, True, True])
    assert_array_equal(_decide(scores, 0.7).ravel(), [False, False, False, True])


def test_default_share() -> None:
    """Half a percent of distinct scores is marked by default."""
    scores = np.random.default_rng(9).permutation(2000).astype(np.float32).reshape(1, 40, 50, 1)
    mask = QuantileDecider()(scores=scores)["mask"]
    assert_array_equal(np.sort(scores[mask]), np.arange(1990, 2000))


def test_equal_scores() -> None:
    """Equal scores mark nothing."""
    assert not _decide(np.full((1, 3, 3, 1), 0.1, dtype=np.float32), 0.3).any()


def test_nan() -> None:
    """NaN is never marked and counts for nothing."""
    scores = np.asarray([np.nan, 1, 2, 3, 4, np.nan]).reshape(1, 2, 3, 1)
    assert_array_equal(_decide(scores, 0.5).ravel(), [False, False, False, True, True, False])


def test_only_nan() -> None:
    """An image of NaN marks nothing."""
    assert not _decide(np.full((1, 2, 2, 1), np.nan), 0.0).any()


def test_infinite_scores() -> None:
    """Infinite scores have their place at the ends."""
    scores = np.asarray([1.0, np.inf, 2.0, -np.inf, 3.0, -np.inf]).reshape(1, 1, 6, 1)
    assert_array_equal(_decide(scores, 0.9).ravel(), [False, True, False, False, False, False])
    assert_array_equal(_decide(scores, 0.3).ravel(), [True, True, True, False, True, False])


@pytest.mark.parametrize("quantile", [1.0, -0.1, 99.5, "0.9", float("nan"), True])
def test_bad_quantiles(quantile: Any) -> None:
    """Quantiles out of range are refused."""
    with pytest.raises(InvalidNodeError, match=r"quantile is .*at least 0, below 1"):
        QuantileDecider(quantile=quantile)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("parts", [1, 3])
def test_a_score_is_found_by_its_rank(dtype: type, parts: int) -> None:
    """Exactly, of any sign, among equal and infinite ones, in one go or by parts; infinity where there is no score."""
    random = np.random.default_rng(0)
    scores: NDArray[Any] = (random.normal(size=(3, 60)) * 10.0 ** random.integers(-3, 4, size=(3, 60))).astype(dtype)
    scores[0, ::7], scores[0, 1], scores[0, 2], scores[0, 3:5] = np.nan, np.inf, -np.inf, 0.5
    scores[1] = np.nan
    scores[2, 30:] = scores[2, 3]
    tiles = np.array_split(scores, parts, axis=1)
    for rank in (0, 1, 25, 50):

        def place(total: int, rank: int = rank) -> int:
            return min(rank, max(total - 1, 0))

        ranks = reduce(Ranks.merged, map(first_ranks, tiles))
        steps = 1
        while not ranks.is_last():
            ranks = reduce(Ranks.merged, [next_ranks(ranks, tile, place) for tile in tiles])
            steps += 1
        found = values_at(ranks, place)
        assert steps == np.dtype(dtype).itemsize // 2
        assert ranks.totals.tolist() == [51, 0, 60]
        assert found == [float(np.sort(scores[0])[rank]), np.inf, float(np.sort(scores[2])[rank])]


@pytest.mark.parametrize(
    ("dtype", "step"), [("float64", 1e-13), ("float32", 1e-6), ("bfloat16", 2**-6), ("float16", 2**-9)]
)
def test_tensors_are_ranked_in_their_own_precision(dtype: str, step: float) -> None:
    """Also in a type that NumPy has not."""
    torch = pytest.importorskip("torch")
    scores = (1 + torch.randperm(40, dtype=torch.float64) * step).to(getattr(torch, dtype)).reshape(1, 5, 8, 1)
    node = QuantileDecider(quantile=0.5)
    ranks = node.tile_statistics(scores)
    while node.statistics_rough(ranks):
        ranks = node.refine_statistics(ranks, scores)
    mask = node.forward_tile(ranks, scores)["mask"]
    assert mask.equal(node(scores=scores)["mask"])
    assert int(mask.sum()) == 20


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([np.float16, np.float32, np.float64]),
    st.sampled_from([0.0, 0.3, 0.9, 0.995]),
    st.integers(1, 40),
    st.data(),
)
def test_by_tiles(dtype: type, quantile: float, pixels: int, data: st.DataObject) -> None:
    """Tile by tile the same pixels are marked: of any type, with NaN, infinities, and many equal scores."""
    special = st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, np.finfo(dtype).tiny, -np.finfo(dtype).max])
    width: Any = np.dtype(dtype).itemsize * 8
    numbers = st.floats(width=width) | special
    scores = data.draw(hnp.arrays(dtype, (2, 7, 6, 1), elements=numbers))
    pipeline = Pipeline.from_dict(
        {"nodes": [{"name": "d", "class_name": "QuantileDecider", "params": {"quantile": quantile}}]}
    )
    tiled = pipeline.forward_tiled({"scores": scores}, memory=64 * 2 * pixels * thread_count())
    assert_array_equal(tiled["d", "mask"], _decide(scores, quantile))


def test_scores_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run by tiles, it never gets the scores of the whole image."""
    scores = np.random.default_rng(1).normal(size=(1, 50, 40, 1))
    expected = _decide(scores, 0.995)
    shapes = []

    def watch(node: QuantileDecider, scores: Any) -> Any:
        shapes.append(scores.shape)
        return gather(node, scores)

    gather = QuantileDecider.tile_statistics
    monkeypatch.setattr(QuantileDecider, "tile_statistics", watch)
    monkeypatch.setattr(QuantileDecider, "forward", lambda _, scores: pytest.fail(f"got all of {scores.shape}"))
    pipeline = Pipeline.from_dict({"nodes": [{"name": "d", "class_name": "QuantileDecider"}]})
    mask = pipeline.forward_tiled({"scores": scores}, memory=64 * 200 * thread_count())["d", "mask"]
    assert_array_equal(mask, expected)
    assert shapes == [(1, 5, 40, 1)] * 10
