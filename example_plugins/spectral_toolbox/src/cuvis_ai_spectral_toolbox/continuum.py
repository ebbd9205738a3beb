"""Absorptions without the slope of the spectrum that they lie in."""

from collections.abc import Iterable
from math import nan
from typing import ClassVar, Final

from array_api_compat import array_namespace, device

from cuvis_ai_core.node import ArrayNode
from cuvis_ai_spectral_toolbox.arrays import CUBE, WAVELENGTHS, Array, as_in, like, numbers_of, take_bands, to_float64

_DEEP: Final = 1e6
_NO_STEP: Final = 1e-9
"""In nm, between bands of the same wavelength."""


class ContinuumRemoval(ArrayNode):
    """Divide each spectrum by its continuum: the upper convex hull over the wavelengths.

    Clark and Roush 1984, "Reflectance spectroscopy: quantitative analysis techniques for remote sensing applications",
    Journal of Geophysical Research 89, 6329-6340, doi:10.1029/JB089iB07p06329. The answer is 1 on the hull, less in an
    absorption. Values that are missing are left out of the hull and stay so; bands with a wavelength of 0 have no place
    in the spectrum and become NaN.

    Args:
        name: Name of this node in its pipeline.
        execution_stages: Stages in which a pipeline runs this node; None means always.
    """

    INPUT_SPECS: ClassVar = {"cube": CUBE, "wavelengths": WAVELENGTHS}
    OUTPUT_SPECS: ClassVar = {"cube": CUBE}

    per_pixel = True
    thread_safe = True

    def __init__(self, *, name: str | None = None, execution_stages: Iterable[str] | None = None) -> None:
        super().__init__(name, execution_stages)

    def forward(self, cube: Array, wavelengths: Array) -> dict[str, Array]:
        """Remove the continuum of each spectrum."""
        xp, values = to_float64(cube)
        centres = numbers_of(wavelengths)
        order = [int(band) for band in centres.argsort(kind="stable") if centres[band] > 0]
        pixels = xp.reshape(values, (-1, cube.shape[-1]))
        removed = _removed(take_bands(pixels, order), like(cube, centres[order])) if order else pixels
        nothing = xp.full_like(pixels[:, 0], nan)
        bands = [removed[:, order.index(band)] if band in order else nothing for band in range(cube.shape[-1])]
        return {"cube": as_in(cube, xp.reshape(xp.stack(bands, axis=-1), cube.shape))}


def _removed(spectra: Array, centres: Array) -> Array:
    """Return spectra `[pixel, band]` of rising wavelengths over their hulls.

    From the first band on, the next corner of a hull is the one to which the line rises most: the pixels whose corner a
    band is are looked at together. A missing value lies so low that no hull has a corner there but at its ends.
    """
    xp = array_namespace(spectra)
    finite = xp.isfinite(spectra)
    low = -_DEEP * (1.0 + float(xp.max(xp.where(finite, xp.abs(spectra), 0.0))))
    spectra = xp.where(finite, spectra, low)
    hull = xp.astype(spectra, spectra.dtype, copy=True)
    corner = xp.zeros(spectra.shape[0], dtype=xp.int64, device=device(spectra))
    places = xp.arange(spectra.shape[-1], dtype=xp.int64, device=device(spectra))
    for band in range(spectra.shape[-1] - 1):
        here = corner == band
        if not bool(xp.any(here)):
            continue
        mine = spectra[here, ...]
        distance = centres[band + 1 :] - centres[band]
        slopes = (mine[:, band + 1 :] - mine[:, band : band + 1]) / xp.where(distance == 0, _NO_STEP, distance)
        following = xp.argmax(slopes, axis=-1)
        corner[here] = following + band + 1
        line = mine[:, band : band + 1] + xp.max(slopes, axis=-1, keepdims=True) * distance
        inside = places[: distance.shape[0]][None, :] < following[:, None]
        old = hull[here, ...]
        hull[here, ...] = xp.concat([old[:, : band + 1], xp.where(inside, line, old[:, band + 1 :])], axis=-1)
    usable = finite & (hull != 0)
    return xp.where(usable, spectra / xp.where(usable, hull, 1.0), nan)
