"""What another sensor would see of the same spectra."""

from collections.abc import Iterable, Mapping
from typing import ClassVar, Final

import numpy as np

from cuvis_ai_core.node import ArrayNode
from cuvis_ai_spectral_toolbox.arrays import CUBE, WAVELENGTHS, Array, as_in, like, numbers_of, take_bands, to_float64

SENSORS: Final[Mapping[str, tuple[tuple[float, float], ...]]] = {
    "Sentinel-2A": (
        *((442.7, 21.0), (492.4, 66.0), (559.8, 36.0), (664.6, 31.0), (704.1, 15.0), (740.5, 15.0), (782.8, 20.0)),
        *((832.8, 106.0), (864.7, 21.0), (945.1, 20.0), (1373.5, 31.0), (1613.7, 91.0), (2202.4, 175.0)),
    ),
    "Landsat-8": (
        *((443.0, 16.0), (482.0, 60.0), (561.4, 57.3), (654.6, 37.5), (864.7, 28.3), (1608.9, 84.7), (2200.7, 186.7)),
    ),
}
"""Centre and full width at half maximum of each band in nm. Sentinel-2A: bands 1 to 8, 8A, 9 to 12 (ESA, Sentinel-2
User Handbook); Landsat 8 OLI: bands 1 to 7 (Barsi et al. 2014, doi:10.3390/rs61010232)."""

_TO_SIGMA: Final = 1 / (2 * (2 * np.log(2)) ** 0.5)
_LEAST: Final = 0.5
"""This share of a band's response has to lie on bands of the cube."""


class ResampleToSensor(ArrayNode):
    """Resample each spectrum to the bands of a sensor, with Gaussian responses.

    A band of the sensor is the mean of the bands of the cube, weighted by its response at their centres and by how far
    these lie apart (the trapezoidal rule). Bands of the sensor of which less than half lies on the cube are NaN.

    Args:
        sensor: A name of `SENSORS`; or
        centres_nm: Centres of the bands in nm, and
        fwhm_nm: their full widths at half maximum in nm, one for all or one a band.
        name: Name of this node in its pipeline.
        execution_stages: Stages in which a pipeline runs this node; None means always.
    """

    INPUT_SPECS: ClassVar = {"cube": CUBE, "wavelengths": WAVELENGTHS}
    OUTPUT_SPECS: ClassVar = {"cube": CUBE, "wavelengths": WAVELENGTHS}

    per_pixel = True
    thread_safe = True

    def __init__(
        self,
        sensor: str | None = None,
        centres_nm: list[float] | None = None,
        fwhm_nm: list[float] | float | None = None,
        *,
        name: str | None = None,
        execution_stages: Iterable[str] | None = None,
    ) -> None:
        if (sensor is None) == (centres_nm is None):
            raise ValueError(f"Give either a sensor ({', '.join(SENSORS)}) or centres_nm with fwhm_nm.")
        if sensor is not None and sensor not in SENSORS:
            raise ValueError(f"There is no sensor '{sensor}' here; known are {', '.join(SENSORS)}.")
        super().__init__(name, execution_stages, sensor=sensor, centres_nm=centres_nm, fwhm_nm=fwhm_nm)
        if sensor is not None:
            bands = np.array(SENSORS[sensor])
            self._centres, self._widths = bands[:, 0], bands[:, 1]
        else:
            self._centres = np.asarray(centres_nm, dtype=np.float64)
            self._widths = np.broadcast_to(np.asarray(fwhm_nm, dtype=np.float64), self._centres.shape)
        if not (np.isfinite(self._widths).all() and (self._widths > 0).all() and len(self._centres)):
            raise ValueError(f"fwhm_nm is {fwhm_nm!r}; it is a number above 0, or one for each of centres_nm.")

    def forward(self, cube: Array, wavelengths: Array) -> dict[str, Array]:
        """Resample each spectrum."""
        xp, values = to_float64(cube)
        stated = numbers_of(wavelengths)
        order = [int(band) for band in np.argsort(stated, kind="stable") if stated[band] > 0]
        spectra, weights = take_bands(values, order), like(cube, self._weights(stated[order]))
        known = xp.isfinite(spectra)
        share = xp.matmul(xp.astype(known, xp.float64), weights)
        total = xp.matmul(xp.where(known, spectra, 0.0), weights)
        enough = share >= _LEAST
        seen = xp.where(enough, total / xp.where(enough, share, 1.0), xp.nan)
        return {"cube": as_in(cube, seen), "wavelengths": as_in(wavelengths, like(cube, self._centres))}

    def _weights(
        self, centres: "np.ndarray[tuple[int], np.dtype[np.float64]]"
    ) -> "np.ndarray[tuple[int, int], np.dtype[np.float64]]":
        """Return the share that each band of a cube has in each of the sensor, `[band, band of the sensor]`."""
        steps = np.gradient(centres)[:, None] if len(centres) > 1 else np.ones((1, 1))
        sigma = self._widths * _TO_SIGMA
        response = np.exp(-0.5 * ((centres[:, None] - self._centres) / sigma) ** 2)
        return np.asarray(response * steps / (sigma * (2 * np.pi) ** 0.5))
