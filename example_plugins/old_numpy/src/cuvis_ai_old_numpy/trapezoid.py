"""The integral of a spectrum over its bands."""

from typing import Any, ClassVar, TypeAlias

import numpy as np
from cuvis_ai_schemas.pipeline import PortSpec

from cuvis_ai_core.node import ArrayNode

Array: TypeAlias = "np.ndarray[Any, np.dtype[np.floating[Any]]]"


class BandIntegral(ArrayNode):
    """Integrate the spectrum of each pixel over wavelength, by the trapezoidal rule.

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
        integral = np.trapz(cube, wavelengths, axis=-1)  # type: ignore[attr-defined, unused-ignore] # noqa: NPY201
        return {"integral": integral[..., np.newaxis].astype(np.float32), "numpy_version": np.__version__}
