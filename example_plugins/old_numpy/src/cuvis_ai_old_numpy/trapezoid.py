"""The integral of a spectrum over its bands."""

import logging
from typing import Any, ClassVar, TypeAlias

import numpy as np
from cuvis_ai_schemas.pipeline import PortSpec

from cuvis_ai_core.node import ArrayNode

logger = logging.getLogger(__name__)

Array: TypeAlias = "np.ndarray[Any, np.dtype[np.floating[Any]]]"


class BandIntegral(ArrayNode):
    """Integrate the spectrum of each pixel over wavelength, by the trapezoidal rule.

    Bands may come in any order. A band that was not taken (wavelength 0 or -1) or has no finite value in an image is
    left out of it; then a pixel with a value that is not finite has no integral: NaN. Computed in float64.

    Written with `np.trapz`, which NumPy no longer has from 2.4 on: this code needs an old one.
    """

    INPUT_SPECS: ClassVar = {
        "cube": PortSpec(np.float32, (-1, -1, -1, -1), "[batch, height, width, channel]"),
        "wavelengths": PortSpec(np.floating, (-1,), "centres of the bands in nm"),
    }
    OUTPUT_SPECS: ClassVar = {
        "integral": PortSpec(np.float32, (-1, -1, -1, 1), "unit of the cube times nm"),
        "numpy_version": PortSpec(str, (), "the NumPy that computed it"),
    }

    def forward(self, cube: Array, wavelengths: Array) -> dict[str, Any]:
        """Integrate each spectrum."""
        rising = [band for band in np.argsort(wavelengths) if wavelengths[band] > 0]
        integrals = [self._integral(image[..., rising], wavelengths[rising]) for image in cube]
        return {"integral": np.stack(integrals), "numpy_version": np.__version__}

    def _integral(self, image: Array, wavelengths: Array) -> Array:
        finite = np.isfinite(image)
        kept = finite.any(axis=(0, 1))
        missing = ", ".join(f"{centre:g}" for centre in wavelengths[~kept])
        said = vars(self).setdefault("said", {""})
        if kept.any() and missing not in said:
            said.add(missing)
            logger.warning("Node '%s': the bands at %s nm left out: without any finite value.", self.name, missing)
        spectra = np.where(finite, image, np.nan)[..., kept].astype(np.float64)
        integral = np.trapz(spectra, wavelengths[kept])  # type: ignore[attr-defined, unused-ignore] # noqa: NPY201
        if np.any(np.abs(integral) > np.finfo(np.float32).max):
            raise OverflowError("an integral is too large for float32; scale the cube before")
        without = not kept.any()
        return np.where(without, np.nan, integral)[..., np.newaxis].astype(np.float32)
