"""From a wavelength to the band of a cube."""

from typing import Any, TypeAlias

from array_api_compat import array_namespace

Array: TypeAlias = Any
"""An array of any library that follows the array API standard."""

FARTHEST_NM = 20.0
"""How far the centre of a band may lie from the wavelength that is asked for."""


def band_at(cube: Array, wavelengths: Array, nm: float) -> Array:
    """Return the band nearest to a wavelength in float64, as `[batch, height, width, 1]`; NaN where it has no data.

    Args:
        cube: `[batch, height, width, channel]`.
        wavelengths: Centres of the bands, `[channel]`, in nm.
        nm: The wavelength that is asked for.

    Raises:
        ValueError: No band lies within 20 nm of it, or that band has no finite value in an image that has others.
    """
    centres = [float(wavelengths[band]) for band in range(wavelengths.shape[0])]
    taken = [centre for centre in centres if centre > 0] or centres  # a band that was not taken has 0 or -1
    nearest = min(range(len(centres)), key=lambda band: abs(centres[band] - nm))
    if abs(centres[nearest] - nm) > FARTHEST_NM:
        raise ValueError(
            f"No band lies within {FARTHEST_NM:g} nm of {nm:g} nm: the bands of this cube lie between "
            f"{min(taken):g} and {max(taken):g} nm, the nearest at {centres[nearest]:g} nm."
        )
    xp = array_namespace(cube)
    band = cube[..., nearest : nearest + 1]
    for index in range(cube.shape[0]):
        missing = not bool(xp.any(xp.isfinite(band[index, ...])))
        if missing and bool(xp.any(xp.isfinite(cube[index, ...]))):
            raise ValueError(f"Band {nearest} (counted from 0) at {centres[nearest]:g} nm has no finite value.")
    values = xp.astype(band, xp.float64)
    return xp.where(xp.isfinite(values), values, xp.full_like(values, xp.nan))


def as_in(cube: Array, values: Array) -> Array:
    """Return values in the type of a cube, but not below float32; what that cannot hold is not a number."""
    xp = array_namespace(cube)
    wanted = xp.result_type(cube, xp.float32)
    fits = xp.abs(values) <= xp.finfo(wanted).max
    return xp.astype(xp.where(fits, values, xp.full_like(values, xp.nan)), wanted)
