import importlib
from types import ModuleType

import numpy as np
import pytest


@pytest.fixture
def reflectance() -> ModuleType:
    """Return the plugin's module."""
    return importlib.import_module("cuvis_ai_plain_nodes.reflectance")


def test_the_irradiance_adds_up_to_the_solar_constant(reflectance: ModuleType) -> None:
    """Over all wavelengths the sun sends 1361 W/m²."""
    wavelengths = np.arange(100.0, 100_000.0, 5.0)
    total = np.sum(reflectance.solar_irradiance(wavelengths)) * 5e-3
    assert total == pytest.approx(1361.0, rel=0.01)


def test_a_white_surface_has_reflectance_one(reflectance: ModuleType) -> None:
    """A white surface sends back what arrives under the sun's angle, whatever gain and offset are."""
    wavelengths = np.array([450.0, 900.0, 2200.0])
    radiance = reflectance.solar_irradiance(wavelengths) * 0.5 / np.pi
    counts = np.broadcast_to(radiance / 0.02 + 1000.0, (1, 2, 3, 3)).astype(np.float32)
    node = reflectance.ApparentReflectance(gain=0.02, offset=1000.0, sun_zenith=60.0)
    result = node.forward(cube=counts, wavelengths=wavelengths)["reflectance"]
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, np.ones((1, 2, 3, 3)), rtol=1e-4)


def test_what_float32_has_no_room_for_stays_float64(reflectance: ModuleType) -> None:
    """A gain beyond all instruments makes no infinite reflectance of a finite one."""
    counts = np.array([1e30, np.nan, 0], np.float32).reshape(1, 1, 3, 1)
    result = reflectance.ApparentReflectance(gain=1e20).forward(cube=counts, wavelengths=np.array([500.0]))[
        "reflectance"
    ]
    small = reflectance.ApparentReflectance().forward(cube=np.ones((1, 1, 1, 1)), wavelengths=np.array([500.0]))
    np.testing.assert_allclose(result.ravel()[[0, 2]], [1e50 * small["reflectance"].item(), 0], rtol=1e-6)
    assert np.isnan(result.ravel()[1])


@pytest.mark.parametrize("angle", [-1.0, 90.0, float("nan")])
def test_the_sun_is_above_the_horizon(reflectance: ModuleType, angle: float) -> None:
    """At night there is no reflectance to compute."""
    with pytest.raises(ValueError, match="at least 0 and below 90"):
        reflectance.ApparentReflectance(sun_zenith=angle)
