"""From a wavelength to the band of a cube."""

from typing import Any, TypeAlias

from array_api_compat import array_namespace

Array: TypeAlias = Any
"""An array of any library that follows the array API standard."""

FARTHEST_NM = 20.0
"""How far the centre of a band may lie from the wavelength that is asked for."""


def band_at(cube: Array, wavelengths: Array, nm: float) -> Array:
    """Return the band nearest to a wavelength, as `[batch, height, width, 1]`.

    Args:
        cube: `[batch, height, width, channel]`.
        wavelengths: Centres of the bands, `[channel]`, in nm.
        nm: The wavelength that is asked for.

    Raises:
        ValueError: No band lies within 20 nm of it.
    """
    xp = array_namespace(wavelengths)
    distance = xp.abs(wavelengths - nm)
    nearest = int(xp.argmin(distance))
    if float(distance[nearest]) > FARTHEST_NM:
        raise ValueError(
            f"No band lies within {FARTHEST_NM:g} nm of {nm:g} nm: the bands of this cube lie between "
            f"{float(xp.min(wavelengths)):g} and {float(xp.max(wavelengths)):g} nm, "
            f"the nearest at {float(wavelengths[nearest]):g} nm."
        )
    return cube[..., nearest : nearest + 1]
