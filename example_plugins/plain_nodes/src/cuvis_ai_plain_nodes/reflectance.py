"""From the counts of a sensor to reflectance."""

import math
from collections.abc import Iterable
from typing import Any, ClassVar, TypeAlias

import numpy as np
from array_api_compat import array_namespace
from cuvis_ai_schemas.pipeline import PortSpec

from cuvis_ai_core.node import ArrayNode

Array: TypeAlias = Any
"""An array of any library that follows the array API standard."""

SUN_TEMPERATURE = 5772.0  # K, effective (IAU 2015 resolution B3)
SUN_SOLID_ANGLE = math.pi * (6.957e8 / 1.495979e11) ** 2  # sr, seen from 1 astronomical unit
FIRST_RADIATION = 2 * 6.62607015e-34 * 299_792_458.0**2  # 2 h c^2, W m^2
SECOND_RADIATION = 6.62607015e-34 * 299_792_458.0 / 1.380649e-23  # h c / k, m K


def solar_irradiance(wavelengths: Array) -> Array:
    """Return the irradiance of the sun above the atmosphere in W/(m² µm), as that of a black body.

    Planck's law at the sun's effective temperature: within 10 % of the measured spectrum at most wavelengths.

    Args:
        wavelengths: In nm.
    """
    xp = array_namespace(wavelengths)
    metres = wavelengths * 1e-9
    per_metre = FIRST_RADIATION / metres**5 / xp.expm1(SECOND_RADIATION / (metres * SUN_TEMPERATURE))
    return per_metre * 1e-6 * SUN_SOLID_ANGLE


class ApparentReflectance(ArrayNode):
    """Turn the counts of a calibrated sensor into reflectance at the top of the atmosphere.

    pi L / (E cos(zenith)) with the radiance L = gain (counts - offset) and the solar irradiance E of a black
    body (Schowengerdt 2007, "Remote Sensing", chapter 2), in float64, which stays where float32 has no room for a
    value. The atmosphere is not corrected for. A band
    that was not taken (wavelength 0 or -1) has no reflectance: NaN.

    Args:
        gain: Radiance per count in W/(m² sr µm).
        offset: Counts at zero radiance.
        sun_zenith: Angle between the sun and the vertical in degrees.
        name: Name of this node in its pipeline.
        execution_stages: Stages in which a pipeline runs this node; None means always.

    Raises:
        ValueError: The sun is not above the horizon.
    """

    INPUT_SPECS: ClassVar = {
        "cube": PortSpec(np.floating, (-1, -1, -1, -1), "counts, [batch, height, width, channel]"),
        "wavelengths": PortSpec(np.floating, (-1,), "centres of the bands in nm"),
    }
    OUTPUT_SPECS: ClassVar = {
        "reflectance": PortSpec(np.floating, (-1, -1, -1, -1), "reflectance, 1 is a white surface"),
    }

    def __init__(
        self,
        gain: float = 1.0,
        offset: float = 0.0,
        sun_zenith: float = 0.0,
        *,
        name: str | None = None,
        execution_stages: Iterable[str] | None = None,
    ) -> None:
        if not 0 <= sun_zenith < 90:  # noqa: PLR2004 -- the horizon
            raise ValueError(f"sun_zenith is {sun_zenith:g} degrees: it must be at least 0 and below 90.")
        super().__init__(name, execution_stages, gain=gain, offset=offset, sun_zenith=sun_zenith)
        self.gain = gain
        self.offset = offset
        self.sun_zenith = sun_zenith

    def forward(self, cube: Array, wavelengths: Array) -> dict[str, Array]:
        """Compute the reflectance of each pixel in each band."""
        xp = array_namespace(cube)
        centres = xp.astype(wavelengths, xp.float64)
        taken = centres > 0
        arriving = solar_irradiance(xp.where(taken, centres, 500.0)) * math.cos(math.radians(self.sun_zenith))
        scale = xp.where(taken, math.pi * self.gain / arriving, xp.nan)
        reflectance = (xp.astype(cube, xp.float64) - self.offset) * scale
        narrow = xp.result_type(cube, xp.float32)
        fits = ~xp.isfinite(reflectance) | (xp.abs(reflectance) <= xp.finfo(narrow).max)
        return {"reflectance": xp.astype(reflectance, narrow) if xp.all(fits) else reflectance}
