"""Choice of bands by wavelength."""

from collections.abc import Iterable, Mapping
from math import isfinite
from typing import ClassVar

import numpy as np
from cuvis_ai_schemas.pipeline import PortSpec

from cuvis_ai_core.builtin._checks import (
    Array,
    Namespace,
    image_namespace,
    input_error,
    namespace,
    number,
    numbers,
)
from cuvis_ai_core.node import ArrayNode


class WavelengthSelector(ArrayNode):
    """Pick the bands nearest to given wavelengths: by default red, green and blue, a false-colour image.

    Ports:
        cube (in): `[batch, height, width, channel]`. A band that is picked has a finite value in every image that
            has any.
        wavelengths (in): centre of each band in nm, `[channel]`.
        image (out): `[batch, height, width, target]`, the bands in the order of the targets, values
            unchanged.
        wavelengths (out): centres of these bands in nm, `[target]`.

    Args:
        targets: Wavelengths to pick, in nm; several may fall on one band. Of two bands equally near, the
            first counts.
        tolerance: How far the nearest band may be from its target, in nm.
        name: Name of this node in its pipeline.
        execution_stages: Stages in which a pipeline runs this node.

    Raises:
        InvalidNodeError: A hyper-parameter is out of its range.
    """

    INPUT_SPECS: ClassVar[Mapping[str, PortSpec]] = {
        "cube": PortSpec(np.floating, (-1, -1, -1, -1), "Images [batch, height, width, channel]"),
        "wavelengths": PortSpec(np.number, (-1,), "Centre of each band in nm [channel]"),
    }
    OUTPUT_SPECS: ClassVar[Mapping[str, PortSpec]] = {
        "image": PortSpec(np.floating, (-1, -1, -1, "target_count"), "The chosen bands [batch, height, width, target]"),
        "wavelengths": PortSpec(np.number, ("target_count",), "Centre of each chosen band in nm [target]"),
    }

    def __init__(
        self,
        *,
        targets: Iterable[float] = (650.0, 550.0, 450.0),
        tolerance: float = 20.0,
        name: str | None = None,
        execution_stages: Iterable[str] | None = None,
    ) -> None:
        super().__init__(name, execution_stages, tolerance=tolerance)
        self._targets = numbers(self, "targets", targets)
        self._tolerance = number(self, "tolerance", tolerance, least=0)
        self.hparams["targets"] = self._targets

    @property
    def target_count(self) -> int:
        """Number of bands in the output."""
        return len(self._targets)

    def forward(self, cube: Array, wavelengths: Array) -> dict[str, Array]:
        """Pick the bands.

        Raises:
            PortError: An input is of another form, a target has no band within the tolerance, or that band has no
                finite value.
        """
        xp = image_namespace(self, "cube", cube)
        centres = self._centres(wavelengths, cube.shape[-1])
        bands = [self._nearest(centres, target) for target in self._targets]
        for index in range(cube.shape[0]):
            self._refuse_without_data(xp, cube[index, ...], bands, centres)
        return {
            "image": xp.stack([cube[..., band] for band in bands], axis=-1),
            "wavelengths": namespace(self, "wavelengths", wavelengths).stack([wavelengths[band] for band in bands]),
        }

    def _centres(self, wavelengths: Array, channels: int) -> list[float]:
        namespace(self, "wavelengths", wavelengths)
        if tuple(wavelengths.shape) != (channels,):
            raise input_error(
                self,
                "wavelengths",
                f"got the shape {tuple(wavelengths.shape)} for a cube of {channels} channels; "
                "it takes one wavelength per channel",
            )
        centres = [float(wavelengths[channel]) for channel in range(channels)]
        if not all(map(isfinite, centres)):
            raise input_error(self, "wavelengths", "got values that are not finite; it takes nm")
        return centres

    def _refuse_without_data(self, xp: Namespace, image: Array, bands: list[int], centres: list[float]) -> None:
        for band in bands:
            # an image without any data is missing as a whole, not its band
            if not bool(xp.any(xp.isfinite(image[..., band]))) and bool(xp.any(xp.isfinite(image))):
                raise input_error(
                    self,
                    "cube",
                    f"band {band} (counted from 0) at {centres[band]:g} nm has no finite value",
                    hint="It is a bad band, or has no data. Change 'targets' of this node to other bands.",
                )

    def _nearest(self, centres: list[float], target: float) -> int:
        band = min(range(len(centres)), key=lambda index: abs(centres[index] - target))
        taken = [centre for centre in centres if centre > 0] or centres  # a band that was not taken has 0 or -1
        if (distance := abs(centres[band] - target)) > self._tolerance:
            raise input_error(
                self,
                "wavelengths",
                f"the band nearest to {target:g} nm is at {centres[band]:g} nm, {distance:g} nm away; "
                f"the tolerance is {self._tolerance:g} nm",
                hint=f"The cube has {min(taken):g} to {max(taken):g} nm. "
                "Change 'targets' or raise 'tolerance' of this node.",
            )
        return band
