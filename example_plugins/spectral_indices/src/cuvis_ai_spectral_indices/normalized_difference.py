"""Indices that compare two bands."""

from collections.abc import Iterable
from typing import ClassVar

import numpy as np
from array_api_compat import array_namespace
from cuvis_ai_schemas.pipeline import PortSpec

from cuvis_ai_core.node import ArrayNode
from cuvis_ai_spectral_indices.bands import Array, as_in, band_at


class NormalizedDifferenceIndex(ArrayNode):
    """Compare two bands: (first - second) / (first + second), between -1 and 1.

    The defaults give the NDVI, which tells green vegetation from soil (Rouse et al. 1974, "Monitoring
    vegetation systems in the Great Plains with ERTS"). Where both bands are zero the index is not a number.

    Args:
        first_nm: Wavelength of the first band in nm.
        second_nm: Wavelength of the second band in nm.
        name: Name of this node in its pipeline.
        execution_stages: Stages in which a pipeline runs this node; None means always.
    """

    INPUT_SPECS: ClassVar = {
        "cube": PortSpec(np.floating, (-1, -1, -1, -1), "reflectance, [batch, height, width, channel]"),
        "wavelengths": PortSpec(np.floating, (-1,), "centres of the bands in nm"),
    }
    OUTPUT_SPECS: ClassVar = {
        "index": PortSpec(np.floating, (-1, -1, -1, 1), "the index, [batch, height, width, 1]"),
    }

    def __init__(
        self,
        first_nm: float = 800.0,
        second_nm: float = 670.0,
        *,
        name: str | None = None,
        execution_stages: Iterable[str] | None = None,
    ) -> None:
        super().__init__(name, execution_stages, first_nm=first_nm, second_nm=second_nm)
        self.first_nm = first_nm
        self.second_nm = second_nm

    def forward(self, cube: Array, wavelengths: Array) -> dict[str, Array]:
        """Compute the index of each pixel."""
        xp = array_namespace(cube)
        first = band_at(cube, wavelengths, self.first_nm)
        second = band_at(cube, wavelengths, self.second_nm)
        total = first + second
        index = (first - second) / xp.where(total == 0, xp.ones_like(total), total)
        return {"index": as_in(cube, xp.where(total == 0, xp.full_like(total, xp.nan), index))}
