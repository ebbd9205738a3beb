from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from cuvis_ai_core.builtin.normalization import MinMaxNormalizer
from cuvis_ai_core.errors import InvalidNodeError

CUBES = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=4, max_dims=4, max_side=4),
    elements=st.floats(-1e6, 1e6, allow_subnormal=False),
)


def _normalise(cube: NDArray[Any], **hparams: Any) -> NDArray[Any]:
    result: NDArray[Any] = MinMaxNormalizer(**hparams)(cube=cube)["cube"]
    return result


def test_each_image() -> None:
    """Each image of a batch is scaled by its own ends."""
    first = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    scaled = _normalise(np.stack([first, 100 + 10 * first]))
    assert_allclose(scaled, np.stack([first / 7, first / 7]), rtol=1e-6)
    assert scaled.dtype == np.float32


def test_per_channel() -> None:
    """With `per_channel`, each band is scaled by its own ends."""
    band = np.arange(4.0).reshape(1, 2, 2)
    scaled = _normalise(np.stack([band, 5 - 3 * band], axis=-1), per_channel=True)
    assert_allclose(scaled[..., 0], band / 3)
    assert_allclose(scaled[..., 1], 1 - band / 3)


@given(cube=CUBES, per_channel=st.booleans())
def test_range(cube: NDArray[Any], *, per_channel: bool) -> None:
    """The result lies between 0 and 1 and reaches both where the input varies."""
    scaled = _normalise(cube, per_channel=per_channel)
    axes = (1, 2) if per_channel else (1, 2, 3)
    low, high = scaled.min(axis=axes), scaled.max(axis=axes)
    varies = np.ptp(cube, axis=axes) > 0
    assert_array_equal(low, np.zeros_like(low))
    assert_array_equal(high, np.where(varies, 1.0, 0.0))


@given(cube=CUBES, per_channel=st.booleans())
def test_idempotence(cube: NDArray[Any], *, per_channel: bool) -> None:
    """Normalising twice changes nothing more."""
    once = _normalise(cube, per_channel=per_channel)
    assert_array_equal(_normalise(once, per_channel=per_channel), once)


def test_constant_cube() -> None:
    """A constant cube becomes zero."""
    assert_array_equal(_normalise(np.full((1, 2, 2, 3), 7.0)), np.zeros((1, 2, 2, 3)))


def test_eps() -> None:
    """A range up to the share eps of the greatest magnitude counts as constant, whatever the unit."""
    for unit in (1e-20, 1.0, -1e20):
        cube = np.asarray([2.0, 4.0]).reshape(1, 1, 2, 1) * unit
        assert _normalise(cube, eps=0.5).max() == 0
        assert _normalise(cube, eps=0.4).max() == 1


@pytest.mark.parametrize("scale", [1e-45, 1e-38, 1e-13, 1e13, 3.4e38])
def test_any_unit(scale: float) -> None:
    """A cube is scaled in any unit that float32 has."""
    cube = np.asarray([-1, 0, 1, 0.5], dtype=np.float64).reshape(1, 2, 2, 1) * scale
    cube = cube.astype(np.float32)
    ends = cube.min().astype(np.float64), cube.max().astype(np.float64)
    assert_allclose(_normalise(cube), (cube.astype(np.float64) - ends[0]) / (ends[1] - ends[0]), rtol=2e-7)


def test_values_not_finite() -> None:
    """Values that are not finite become NaN and count for neither end."""
    cube = np.asarray([np.nan, 2.0, np.inf, 4.0, -np.inf, 3.0]).reshape(1, 1, 2, 3)
    assert_array_equal(_normalise(cube).ravel(), [np.nan, 0.0, np.nan, 1.0, np.nan, 0.5])


def test_no_finite_value() -> None:
    """An image without any finite value becomes NaN."""
    assert np.isnan(_normalise(np.full((1, 2, 2, 3), np.nan))).all()


@pytest.mark.parametrize("hparams", [{"eps": -1.0}, {"eps": "0"}, {"per_channel": 1}], ids=str)
def test_bad_hyper_parameters(hparams: dict[str, Any]) -> None:
    """Hyper-parameters out of range are refused."""
    with pytest.raises(InvalidNodeError, match=rf"Node 'n': {next(iter(hparams))} is"):
        MinMaxNormalizer(name="n", **hparams)
