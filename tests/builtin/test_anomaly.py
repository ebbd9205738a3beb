from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from cuvis_ai_core.builtin.anomaly import RXDetector
from cuvis_ai_core.errors import InvalidNodeError, PortError


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
    assert_allclose(_scores(cube, regularization=0)[..., 0], expected, rtol=1e-9)
    assert_allclose(_scores(cube)[..., 0], expected, rtol=1e-5)


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
    assert_allclose(_scores(changed, regularization=0), _scores(cube, regularization=0), rtol=1e-6)


def test_mean_score() -> None:
    """The mean score is the number of channels times the divisor."""
    cube = np.random.default_rng(4).normal(size=(1, 10, 10, 7))
    assert_allclose(_scores(cube, regularization=0).mean(), 7 * 99 / 100)


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
    assert_array_equal(_scores(np.full(shape, 7.0), regularization=0), np.zeros((*shape[:-1], 1)))


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


def test_singular_covariance() -> None:
    """A singular covariance without regularization is an error that names the remedy."""
    cube = np.random.default_rng(8).normal(size=(1, 2, 2, 30))
    with pytest.raises(PortError, match=r"(?s)30 channels cannot be inverted.*Raise 'regularization'"):
        _scores(cube, regularization=0)


@pytest.mark.parametrize("value", [-1e-9, "1e-6", float("inf"), None])
def test_bad_hyper_parameters(value: Any) -> None:
    """Hyper-parameters out of range are refused."""
    with pytest.raises(InvalidNodeError, match=r"regularization is .*; it is a finite number, at least 0"):
        RXDetector(regularization=value)
