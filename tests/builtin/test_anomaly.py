import gc
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from cuvis_ai_core.builtin.anomaly import RXDetector
from cuvis_ai_core.errors import InvalidNodeError


def _scores(cube: NDArray[Any], **hparams: Any) -> NDArray[Any]:
    result: NDArray[Any] = RXDetector(**hparams)(cube=cube)["scores"]
    return result


def _textbook(image: NDArray[Any]) -> NDArray[Any]:
    """Return the formula of Reed and Xiaoli for one image, with an explicit inverse."""
    pixels = image.reshape(-1, image.shape[-1]).astype(np.float64)
    centred = pixels - pixels.mean(axis=0)
    inverse = np.linalg.inv(np.cov(pixels.T))
    distances: NDArray[Any] = np.einsum("pi,ij,pj->p", centred, inverse, centred)
    return distances.reshape(image.shape[:2])


def test_formula() -> None:
    """Scores are those of the textbook formula for each image of a batch."""
    random = np.random.default_rng(2)
    cube = random.normal(size=(3, 9, 8, 5)) @ random.normal(size=(5, 5)) + 100
    expected = np.stack([_textbook(image) for image in cube])
    assert_allclose(_scores(cube)[..., 0], expected, rtol=1e-9)


def test_float32() -> None:
    """Float32 cubes with a large mean lose no accuracy inside."""
    cube = (np.random.default_rng(3).normal(size=(1, 20, 20, 6)) + 3000).astype(np.float32)
    found = _scores(cube)
    assert found.dtype == np.float32
    assert_allclose(found[0, ..., 0], _textbook(cube[0]), rtol=1e-6)


@given(st.integers(0, 2**32 - 1))
def test_affine_invariance(seed: int) -> None:
    """An affine change of the channels leaves the scores."""
    random = np.random.default_rng(seed)
    cube = random.normal(size=(1, 6, 7, 4))
    rotation, _ = np.linalg.qr(random.normal(size=(4, 4)))
    matrix = rotation * random.uniform(0.1, 10, size=4)
    changed = cube @ matrix + random.uniform(-100, 100, size=4)
    assert_allclose(_scores(changed), _scores(cube), rtol=1e-6)


def test_mean_score() -> None:
    """The mean score is the number of channels times the divisor."""
    cube = np.random.default_rng(4).normal(size=(1, 10, 10, 7))
    assert_allclose(_scores(cube).mean(), 7 * 99 / 100)


def test_planted_target() -> None:
    """A planted target has the highest score."""
    cube = np.random.default_rng(5).normal(size=(1, 12, 12, 8))
    cube[0, 3, 4] += 9
    assert _scores(cube).argmax() == 3 * 12 + 4


def test_pixels_not_finite() -> None:
    """Pixels that are not finite get NaN and count for nothing."""
    cube = np.random.default_rng(6).normal(size=(1, 6, 6, 3))
    whole = _scores(cube[:, :5])
    cube[0, 5, :, 1] = [np.nan, np.inf, -np.inf, np.nan, np.inf, np.nan]
    found = _scores(cube)
    assert np.isnan(found[0, 5]).all()
    assert_allclose(found[:, :5], whole)


@pytest.mark.parametrize("shape", [(1, 3, 3, 4), (1, 1, 1, 4)])
def test_no_variance(shape: tuple[int, ...]) -> None:
    """An image without variance has no anomalies."""
    assert_array_equal(_scores(np.full(shape, 7.0)), np.zeros((*shape[:-1], 1)))


def test_no_finite_pixels() -> None:
    """An image without finite pixels has the scores NaN."""
    assert np.isnan(_scores(np.full((1, 2, 2, 3), np.nan))).all()


@pytest.mark.parametrize("kind", ["fewer pixels than channels", "a doubled channel"])
def test_redundant_channels(kind: str) -> None:
    """Redundant channels are no obstacle."""
    cube = np.random.default_rng(7).normal(size=(1, 4, 4, 30 if kind.startswith("fewer") else 3))
    if kind == "a doubled channel":
        cube = np.concatenate([cube, cube[..., :1]], axis=-1)
    found = _scores(cube)
    assert np.isfinite(found).all()
    assert (found >= 0).all()
    # no pixel of n is further than (n - 1)^2 / n from their mean
    assert found.max() <= 15**2 / 16 * (1 + 1e-6)


def test_regularization_is_the_textbooks() -> None:
    """The regularization is added to each variance, as a share of their mean."""
    cube = np.random.default_rng(8).normal(size=(1, 9, 8, 5)) * [1, 10, 0.1, 3, 0]
    pixels = cube.reshape(-1, 5)
    covariance = np.cov(pixels.T)
    covariance += 0.25 * np.trace(covariance) / 5 * np.eye(5)
    centred = pixels - pixels.mean(axis=0)
    expected = (centred @ np.linalg.inv(covariance) * centred).sum(axis=-1)
    assert_allclose(_scores(cube, regularization=0.25).ravel(), expected, rtol=1e-9)


@pytest.mark.parametrize("condition", [1e2, 1e6, 1e8, 1e10, 1e12])
def test_condition(condition: float) -> None:
    """Scores are right up to where a covariance in float64 is still one."""
    random = np.random.default_rng(9)
    rotation, _ = np.linalg.qr(random.normal(size=(10, 10)))
    pixels = (random.normal(size=(900, 10)) * np.geomspace(1, condition**0.5, 10)) @ rotation
    basis, _ = np.linalg.qr(pixels - pixels.mean(axis=0))
    expected = 899 * (basis**2).sum(axis=-1)
    assert_allclose(_scores(pixels.reshape(1, 30, 30, 10)).ravel(), expected, rtol=1e-8)


def _constant(cube: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([cube, np.full_like(cube[..., :1], 0.1)], axis=-1)


def _doubled(cube: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([cube, cube[..., :1]], axis=-1)


def _combined(cube: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([cube, (2 * cube[..., :1] - cube[..., 1:2])], axis=-1)


def _without_data(cube: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([np.full_like(cube[..., :1], np.nan), cube], axis=-1)


@pytest.mark.parametrize("change", [_constant, _doubled, _combined, _without_data])
@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e20])
def test_a_band_that_adds_nothing(change: Any, scale: float) -> None:
    """A band that is constant, follows from others or has no data leaves the scores, whatever its unit."""
    cube = np.random.default_rng(10).normal(size=(1, 20, 20, 4)) + 7
    changed = change(cube)
    changed[..., -1] *= scale
    assert_allclose(_scores(changed), _scores(cube), rtol=1e-9)


def test_a_band_that_is_constant_up_to_rounding() -> None:
    """What two ways to compute a number leave of a difference is no anomaly."""
    cube = np.random.default_rng(17).normal(size=(1, 20, 20, 4))
    steady = np.where(np.arange(400) % 7 == 0, 0.3, 0.1 + 0.2).reshape(1, 20, 20, 1)
    assert_allclose(_scores(np.concatenate([cube, steady], axis=-1)), _scores(cube), rtol=1e-9)


def test_a_band_in_float32_that_follows_from_others() -> None:
    """Its rounding adds nothing to the scores."""
    cube = np.random.default_rng(18).normal(size=(1, 30, 30, 3)).astype(np.float32)
    combined = np.concatenate([cube, np.float32(0.3) * cube[..., :1] + np.float32(0.7) * cube[..., 1:2]], axis=-1)
    assert_allclose(_scores(combined), _scores(cube), rtol=1e-5)


def test_a_mean_that_is_large() -> None:
    """Of a billion times the deviation, the mean of many pixels costs no digit that the values have."""
    cube = np.random.default_rng(19).normal(size=(1, 500, 500, 3)) + 2.0**30
    pixels = cube.reshape(-1, 3) - 2.0**30  # exact
    expected = _textbook(pixels.reshape(500, 500, 3))
    assert_allclose(_scores(cube)[0, ..., 0], expected, rtol=1e-7, atol=1e-9)


def test_bands_of_any_unit() -> None:
    """Bands whose scales differ by twenty orders of magnitude count alike."""
    cube = np.random.default_rng(11).normal(size=(1, 20, 20, 5))
    assert_allclose(_scores(cube * [1e-10, 1, 1e10, 1e-5, 1e3]), _scores(cube), rtol=1e-9)


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e150, 1e300])
def test_ends_of_the_range(scale: float) -> None:
    """Cubes whose squares are out of range are scored as others."""
    cube = np.random.default_rng(12).normal(size=(1, 9, 9, 3))
    assert_allclose(_scores(cube * scale), _scores(cube), rtol=1e-9)


def test_rank_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """Where the pseudo-inverse answers, the node says the rank, once."""
    cube = np.random.default_rng(13).normal(size=(2, 4, 4, 30))
    node = RXDetector(name="rx")
    node(cube=cube)
    node(cube=cube)
    (message,) = caplog.messages
    assert message.startswith("Node 'rx': the covariance of its 30 bands over 16 pixels has the rank 15;")


def test_a_band_without_data_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """A band that is left out is named, once."""
    cube = np.random.default_rng(14).normal(size=(2, 5, 5, 6))
    cube[..., [0, 3, 4]] = np.nan
    RXDetector(name="rx")(cube=cube)
    assert caplog.messages == ["Node 'rx': bands 0, 3 to 4 of 6 (counted from 0) left out: without any finite value."]


def test_gradients_where_the_covariance_is_singular() -> None:
    """Gradients are those of the scores without the band that follows from others."""
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(15)
    weights = random.normal(size=(1, 5, 5, 1))

    def gradient(copies: int) -> Any:
        cube = torch.tensor(np.random.default_rng(16).normal(size=(1, 5, 5, 3)), requires_grad=True)
        scores = RXDetector()(cube=torch.cat([cube] * copies, dim=-1))["scores"]
        (scores * torch.from_numpy(weights)).sum().backward()
        return cube.grad.numpy()

    assert_allclose(gradient(2), gradient(1), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("value", [-1e-9, "1e-6", float("inf"), None])
def test_bad_hyper_parameters(value: Any) -> None:
    """Hyper-parameters out of range are refused."""
    with pytest.raises(InvalidNodeError, match=r"regularization is .*; it is a finite number, at least 0"):
        RXDetector(regularization=value)


def test_nothing_is_left_for_the_garbage_collection() -> None:
    """A small image that was scored is freed at once, with all that was made of it."""
    image = np.random.default_rng(0).random((1, 50, 50, 60), dtype=np.float32)
    node = RXDetector()
    node.forward(image)
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        for _ in range(5):
            node.forward(image)
        left, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    assert left < image.nbytes


def test_a_small_image_has_the_scores_of_its_parts() -> None:
    """A small image, whose spectra are kept between the passes, has the scores that its parts have together."""
    image = (np.random.default_rng(0).normal(size=(1, 40, 31, 7)) + 1e9).astype(np.float64)
    image[0, 3, :, 2] = np.nan
    node = RXDetector()
    halves = [image[:, :17], image[:, 17:]]
    together = node.merge_statistics(*map(node.tile_statistics, halves))
    parts = [node.forward_tile(together, half)["scores"] for half in halves]
    assert_allclose(node.forward(image)["scores"], np.concatenate(parts, axis=1), rtol=1e-8)


@pytest.mark.parametrize("order", [1, -1])
def test_parts_may_be_of_any_size_of_numbers(order: int) -> None:
    """Also where squares are out of range in one of them alone, whichever comes first."""
    image = np.random.default_rng(0).normal(size=(1, 9, 8, 3))
    image[:, :4] *= 1e200
    node = RXDetector()
    halves = [image[:, :4], image[:, 4:]][::order]
    together = node.merge_statistics(*map(node.tile_statistics, halves))
    parts = [node.forward_tile(together, half)["scores"] for half in halves]
    assert_allclose(np.concatenate(parts[::order], axis=1), node.forward(image)["scores"], rtol=1e-8)


def test_the_order_in_memory_changes_no_score() -> None:
    """An image that lies in memory band by band has the scores of one that lies there pixel by pixel."""
    image = np.random.default_rng(0).normal(size=(1, 12, 10, 5)) + 1e9
    by_band = np.moveaxis(np.ascontiguousarray(np.moveaxis(image, -1, 0)), 0, -1)
    scores = RXDetector().forward(image)["scores"]
    assert_allclose(RXDetector().forward(by_band)["scores"], scores, rtol=1e-8)


@pytest.mark.parametrize(
    ("kind", "rough"), [("plain", False), ("steady", False), ("without data", False), ("near", True)]
)
def test_images_are_gone_through_again_only_where_their_bands_nearly_follow_from_others(
    kind: str, *, rough: bool
) -> None:
    """Which takes twice the time; once is enough."""
    random = np.random.default_rng(0)
    image = random.normal(size=(1, 20, 20, 3))
    if kind == "near":
        image[..., 2] = image[..., 0] + image[..., 1] + 1e-6 * image[..., 2]
    elif kind != "plain":
        image[:] = 7 if kind == "steady" else np.nan
    node = RXDetector()
    moments = node.tile_statistics(image)
    assert node.statistics_rough(moments) == rough
    refined = node.refine_statistics(moments, image)
    assert [each.whitened is not None for each in refined] == [rough]
    assert not node.statistics_rough(refined)
