"""Depth of an absorption band."""

from collections.abc import Iterable
from typing import ClassVar

import numpy as np
from array_api_compat import array_namespace
from cuvis_ai_schemas.pipeline import PortSpec

from cuvis_ai_core.node import ArrayNode
from cuvis_ai_spectral_indices.bands import Array, as_in, band_at


class BandDepth(ArrayNode):
    """Measure how far a spectrum dips below the straight line between the shoulders of an absorption.

    1 - R(centre) / continuum(centre), after Clark & Roush 1984, "Reflectance spectroscopy: quantitative
    analysis techniques for remote sensing applications". The defaults look at the water of leaves near
    970 nm. Where the continuum is zero the depth is not a number.

    Args:
        left_nm: Wavelength of the left shoulder in nm.
        centre_nm: Wavelength of the deepest point in nm.
        right_nm: Wavelength of the right shoulder in nm.
        name: Name of this node in its pipeline.
        execution_stages: Stages in which a pipeline runs this node; None means always.
    """

    INPUT_SPECS: ClassVar = {
        "cube": PortSpec(np.floating, (-1, -1, -1, -1), "reflectance, [batch, height, width, channel]"),
        "wavelengths": PortSpec(np.floating, (-1,), "centres of the bands in nm"),
    }
    OUTPUT_SPECS: ClassVar = {
        "depth": PortSpec(np.floating, (-1, -1, -1, 1), "depth, at most 1, [batch, height, width, 1]"),
    }

    def __init__(
        self,
        left_nm: float = 920.0,
        centre_nm: float = 970.0,
        right_nm: float = 1080.0,
        *,
        name: str | None = None,
        execution_stages: Iterable[str] | None = None,
    ) -> None:
        if not left_nm < centre_nm < right_nm:
            raise ValueError(f"Wavelengths must rise: {left_nm:g} < {centre_nm:g} < {right_nm:g} is not so.")
        super().__init__(name, execution_stages, left_nm=left_nm, centre_nm=centre_nm, right_nm=right_nm)
        self.shoulders_nm = (left_nm, right_nm)
        self.centre_nm = centre_nm

    def forward(self, cube: Array, wavelengths: Array) -> dict[str, Array]:
        """Compute the depth of each pixel."""
        xp = array_namespace(cube)
        left, right = (band_at(cube, wavelengths, nm) for nm in self.shoulders_nm)
        weight = (self.centre_nm - self.shoulders_nm[0]) / (self.shoulders_nm[1] - self.shoulders_nm[0])
        continuum = (1 - weight) * left + weight * right
        ratio = band_at(cube, wavelengths, self.centre_nm) / xp.where(
            continuum == 0, xp.ones_like(continuum), continuum
        )
        return {"depth": as_in(cube, xp.where(continuum == 0, xp.full_like(continuum, xp.nan), 1 - ratio))}
