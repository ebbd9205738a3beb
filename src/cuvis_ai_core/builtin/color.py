"""Choice of bands by wavelength."""

from collections.abc import Iterable, Mapping
from math import isfinite
from typing import ClassVar, TypeAlias

import numpy as np
from cuvis_ai_schemas.enums import NodeCategory, NodeTag
from cuvis_ai_schemas.pipeline import PortSpec

from cuvis_ai_core.builtin._input_checks import (
    Array,
    Namespace,
    image_namespace,
    input_error,
    namespace,
    number,
    numbers,
)
from cuvis_ai_core.builtin._no_data import either
from cuvis_ai_core.errors import PortError
from cuvis_ai_core.node import ArrayNode

Found: TypeAlias = list[tuple[bool, ...]]
"""Of each image whether it has any finite value, and whether each band that is picked has one."""


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

    _category = NodeCategory.TRANSFORM
    _tags = frozenset({NodeTag.HYPERSPECTRAL, NodeTag.RGB})
    INPUT_SPECS: ClassVar[Mapping[str, PortSpec]] = {
        "cube": PortSpec(np.floating, (-1, -1, -1, -1), "Images [batch, height, width, channel]"),
        "wavelengths": PortSpec(np.number, (-1,), "Centre of each band in nm [channel]"),
    }
    OUTPUT_SPECS: ClassVar[Mapping[str, PortSpec]] = {
        "image": PortSpec(np.floating, (-1, -1, -1, "target_count"), "The chosen bands [batch, height, width, target]"),
        "wavelengths": PortSpec(np.number, ("target_count",), "Centre of each chosen band in nm [target]"),
    }

    per_pixel = True
    thread_safe = True

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
        # As a list: what was handed in may be used up, and files hold lists.
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
        xp, bands = image_namespace(self, "cube", cube), self._bands(wavelengths, cube.shape[-1])
        return self._picked(xp, bands, self._data_in(xp, bands, cube), cube, wavelengths)

    def tile_statistics(self, cube: Array, wavelengths: Array) -> Found:
        """Tell of each image whether it has any finite value, and whether each band that is picked has one.

        Raises:
            PortError: An input is of another form, or a target has no band within the tolerance.
        """
        xp, bands = image_namespace(self, "cube", cube), self._bands(wavelengths, cube.shape[-1])
        return self._data_in(xp, bands, cube)

    def merge_statistics(self, left: Found, right: Found) -> Found:
        """Tell the same of two parts together."""
        return list(map(either, left, right))

    def statistics_complete(self, found: Found) -> bool:
        """Tell whether all the bands have a finite value."""
        return all(map(all, found))

    def forward_tile(self, found: Found, cube: Array, wavelengths: Array) -> dict[str, Array]:
        """Pick the bands of a part of the images.

        Raises:
            PortError: A band has no finite value in an image that has any.
        """
        xp, bands = image_namespace(self, "cube", cube), self._bands(wavelengths, cube.shape[-1])
        return self._picked(xp, bands, found, cube, wavelengths)

    def _picked(
        self, xp: Namespace, bands: list[int], found: Found, cube: Array, wavelengths: Array
    ) -> dict[str, Array]:
        for any_value, *in_bands in found:
            if any_value and not all(in_bands):
                raise self._without_data(bands[in_bands.index(False)], wavelengths)
        return {
            "image": xp.stack([cube[..., band] for band in bands], axis=-1),
            "wavelengths": namespace(self, "wavelengths", wavelengths).stack([wavelengths[band] for band in bands]),
        }

    def _bands(self, wavelengths: Array, channels: int) -> list[int]:
        centres = self._centres(wavelengths, channels)
        return [self._nearest(centres, target) for target in self._targets]

    def _data_in(self, xp: Namespace, bands: list[int], cube: Array) -> Found:
        return [self._found(xp, cube[index, ...], bands) for index in range(cube.shape[0])]

    def _found(self, xp: Namespace, image: Array, bands: list[int]) -> tuple[bool, ...]:
        # one pixel with all its values is proof enough, and nearly always the first is one
        if all(bool(xp.isfinite(image[0, 0, band])) for band in bands):
            return (True,) * (len(bands) + 1)
        in_bands = [bool(xp.any(xp.isfinite(image[..., band]))) for band in bands]
        # an image without any data is missing as a whole, not its band
        return (any(in_bands) or bool(xp.any(xp.isfinite(image))), *in_bands)

    def _centres(self, wavelengths: Array, channels: int) -> list[float]:
        namespace(self, "wavelengths", wavelengths)
        if tuple(wavelengths.shape) != (channels,):
            raise input_error(
                self,
                "wavelengths",
                f"got the shape {tuple(wavelengths.shape)} for a cube of {channels} channels; "
                "it takes one wavelength per channel",
            )
        # One by one: the array API standard has no `tolist`.
        centres = [float(wavelengths[channel]) for channel in range(channels)]
        if not all(map(isfinite, centres)):
            raise input_error(self, "wavelengths", "got values that are not finite; it takes nm")
        return centres

    def _without_data(self, band: int, wavelengths: Array) -> PortError:
        return input_error(
            self,
            "cube",
            f"band {band} (counted from 0) at {float(wavelengths[band]):g} nm has no finite value",
            hint="It is a bad band, or has no data. Change 'targets' of this node to other bands.",
        )

    def _nearest(self, centres: list[float], target: float) -> int:
        distances = [abs(centre - target) for centre in centres]
        band = distances.index(min(distances))
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
