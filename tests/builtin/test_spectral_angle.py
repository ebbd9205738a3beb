from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from cuvis_ai_core.builtin.spectral_angle import SpectralAngleMapper
from cuvis_ai_core.errors import InvalidNodeError, PortError

REFERENCE = [0.1, 0.4, 0.3, 0.9]
SPECTRA = hnp.arrays(np.float64, (1, 2, 2, 4), elements=st.floats(1e-3, 1e3))


def _angles(cube: NDArray[Any], **inputs: Any) -> NDArray[Any]:
    result: NDArray[Any] = SpectralAngleMapper(reference=REFERENCE)(cube=cube, **inputs)["angles"]
    return result


def test_formula() -> None:
    """Angles are those of the formula of Kruse."""
    cube = np.random.default_rng(1).normal(size=(2, 5, 6, 4))
    norms = np.sqrt((cube**2).sum(axis=-1)) * np.sqrt(np.square(REFERENCE).sum())
    expected = np.arccos((cube * REFERENCE).sum(axis=-1) / norms)
    assert_allclose(_angles(cube)[..., 0], expected, rtol=1e-9)


@given(SPECTRA, st.floats(1e-3, 1e3))
def test_brightness(cube: NDArray[Any], brightness: float) -> None:
    """Brightness does not change the angle."""
    assert_allclose(_angles(cube * brightness), _angles(cube), atol=1e-12)


@given(SPECTRA)
def test_opposite_spectrum(cube: NDArray[Any]) -> None:
    """Angle to the opposite spectrum completes the half circle."""
    assert_allclose(_angles(-cube), np.pi - _angles(cube), atol=1e-12)


def test_small_angles() -> None:
    """Small angles survive in float32 where an arc cosine gives zero."""
    cube = np.asarray([[[[1.0, 1e-5]]]], dtype=np.float32)
    found = SpectralAngleMapper(reference=[1.0, 0.0])(cube=cube)["angles"]
    assert_allclose(found, 1e-5, rtol=1e-5)
    assert found.dtype == np.float32


@pytest.mark.parametrize(("factor", "expected"), [(3.7, 0.0), (-0.2, np.pi)])
def test_parallel_spectra(factor: float, expected: float) -> None:
    """Parallel spectra give an angle in range despite rounding."""
    cube = np.asarray(REFERENCE, dtype=np.float32).reshape(1, 1, 1, 4) * np.float32(factor)
    assert_allclose(_angles(cube), expected, atol=1e-6)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_no_direction(value: float) -> None:
    """A spectrum without direction has the angle NaN and disturbs no other."""
    cube = np.ones((1, 1, 2, 4))
    cube[0, 0, 0] = value
    found = _angles(cube)
    assert np.isnan(found[0, 0, 0, 0])
    assert_array_equal(found[0, 0, 1], _angles(np.ones((1, 1, 1, 4)))[0, 0, 0])


def test_reference_port() -> None:
    """A reference at the port goes before the hyper-parameter."""
    cube = np.ones((1, 2, 2, 4), dtype=np.float32)
    assert_allclose(_angles(cube, reference=np.full(4, 9.0)), 0, atol=1e-6)


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_reference_brightness(size: float) -> None:
    """A reference may be of any brightness."""
    cube = np.ones((1, 2, 2, 4), dtype=np.float32)
    reference = np.full(4, size, dtype=np.float32)
    assert_allclose(_angles(cube, reference=reference), 0, atol=1e-6)


def test_no_reference() -> None:
    """Without any reference the error says how to give one."""
    with pytest.raises(PortError, match=r"(?s)no reference spectrum.*Connect 'reference', or set"):
        SpectralAngleMapper()(cube=np.ones((1, 2, 2, 4)))


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (np.ones(3), r"shape \(3,\); the cube has 4 channels"),
        (np.ones((4, 1)), r"shape \(4, 1\)"),
        (np.zeros(4), "zero or not finite"),
        (np.asarray([1.0, np.nan, 1.0, 1.0]), "zero or not finite"),
        ([1.0, 1.0, 1.0, 1.0], "got list"),
    ],
)
def test_bad_reference_at_port(reference: Any, message: str) -> None:
    """References at the port that do not fit are an error."""
    with pytest.raises(PortError, match=message) as caught:
        _angles(np.ones((1, 2, 2, 4)), reference=reference)
    assert caught.value.port == "reference"


@pytest.mark.parametrize("reference", [[], [0, 0], [float("nan")], ["1"], 3.0, [10**400]], ids=str)
def test_bad_hyper_parameters(reference: Any) -> None:
    """Hyper-parameters that are no spectrum are refused."""
    with pytest.raises(InvalidNodeError, match="reference"):
        SpectralAngleMapper(reference=reference)


def test_small_angles_of_many_bands() -> None:
    """Angles near the last digit of float32 are those of the stored values."""
    cube = (np.random.default_rng(7).random((1, 4, 5, 4)) * 1e-6 + REFERENCE).astype(np.float32)
    lines = cube.astype(np.longdouble) / np.linalg.norm(cube.astype(np.float64), axis=-1, keepdims=True)
    across = np.linalg.norm((lines - np.asarray(REFERENCE) / np.linalg.norm(REFERENCE)).astype(np.float64), axis=-1)
    assert_allclose(_angles(cube)[..., 0], 2 * np.arcsin(across / 2), rtol=1e-5)


@pytest.mark.parametrize("scale", [1e-45, 1e-25, 1e25, 1e38])
def test_any_unit(scale: float) -> None:
    """Spectra of any brightness that float32 has get the angle of their stored values."""
    cube = (np.asarray([[[[1.0, 2.0, 0.0, 3.0]]]]) * scale).astype(np.float32)
    spectrum = cube[0, 0, 0].astype(np.float64) / scale
    cosine = spectrum @ REFERENCE / np.linalg.norm(spectrum) / np.linalg.norm(REFERENCE)
    assert_allclose(_angles(cube).item(), np.arccos(cosine), rtol=1e-6)


def test_reference_of_double_precision() -> None:
    """A reference is not cut to the type of the cube."""
    cube = np.asarray([[[[1.0, 0.0]]]], dtype=np.float32)
    found = SpectralAngleMapper()(cube=cube, reference=np.asarray([1.0, 1e-60]))["angles"]
    assert_allclose(SpectralAngleMapper(reference=[1.0, 1e-60])(cube=cube.astype(np.float64))["angles"], 1e-60)
    assert found.item() == 0  # what float32 has of it


def test_a_band_without_data(caplog: pytest.LogCaptureFixture) -> None:
    """A band without data is left out in cube and reference, which may have none there either, and said once."""
    cube = np.random.default_rng(3).random((2, 3, 3, 4))
    expected = SpectralAngleMapper(reference=REFERENCE[:3])(cube=cube[..., :3])["angles"]
    cube[..., 3] = np.nan
    node = SpectralAngleMapper(name="sam")
    assert_allclose(node(cube=cube, reference=np.asarray([*REFERENCE[:3], np.nan]))["angles"], expected, rtol=1e-12)
    assert caplog.messages == ["Node 'sam': band 3 of 4 (counted from 0) left out: without any finite value."]


def test_an_image_without_data() -> None:
    """An image without data has no angles, and leaves the others of its batch."""
    cube = np.random.default_rng(3).random((2, 3, 3, 4))
    cube[0] = np.nan
    found = _angles(cube)
    assert np.isnan(found[0]).all()
    assert_array_equal(found[1:], _angles(cube[1:]))
