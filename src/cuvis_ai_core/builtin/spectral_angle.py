"""Similarity of spectra by their direction."""

from collections.abc import Iterable, Mapping
from math import nan
from typing import ClassVar, TypeAlias

import numpy as np
from array_api_compat import device
from cuvis_ai_schemas.enums import NodeCategory, NodeTag
from cuvis_ai_schemas.pipeline import PortSpec

from cuvis_ai_core.builtin._input_checks import Array, Namespace, image_namespace, input_error, namespace, numbers
from cuvis_ai_core.builtin._no_data import answer_type, bands_with_data, data_in_bands, either, select
from cuvis_ai_core.errors import InvalidNodeError
from cuvis_ai_core.node import ArrayNode

Found: TypeAlias = list[tuple[bool, ...]]
"""Whether each band of each image has a finite value."""


class SpectralAngleMapper(ArrayNode):
    """Measure the angle between every spectrum and a reference: 0 is the same shape, whatever the brightness.

    The angle of Kruse et al., "The spectral image processing system (SIPS)", Remote Sensing of Environment
    44 (1993) 145-163, doi:10.1016/0034-4257(93)90013-N. It is computed as the arc tangent of the parts of a
    spectrum across and along the reference, not as the arc cosine of their normalised product, which is
    blind to small angles, and in float64.

    Ports:
        cube (in): `[batch, height, width, channel]`, any unit. A band without any finite value in an image is left
            out of it, there and in the reference.
        reference (in, optional): the reference spectrum, `[channel]`; it goes before the hyper-parameter.
        angles (out): `[batch, height, width, 1]`, in radians, 0 to pi. A spectrum that is zero or not
            finite has no direction: NaN.

    Args:
        reference: The reference spectrum, one number per channel, of any brightness.
        name: Name of this node in its pipeline.
        execution_stages: Stages in which a pipeline runs this node.

    Raises:
        InvalidNodeError: The reference is no list of finite numbers, or all are zero.
    """

    _category = NodeCategory.MODEL
    _tags = frozenset({NodeTag.CLASSIFICATION, NodeTag.HYPERSPECTRAL})
    INPUT_SPECS: ClassVar[Mapping[str, PortSpec]] = {
        "cube": PortSpec(np.floating, (-1, -1, -1, -1), "Images [batch, height, width, channel]"),
        "reference": PortSpec(np.floating, (-1,), "Reference spectrum [channel]", optional=True),
    }
    OUTPUT_SPECS: ClassVar[Mapping[str, PortSpec]] = {
        "angles": PortSpec(np.floating, (-1, -1, -1, 1), "Angles in radians [batch, height, width, 1]"),
    }

    per_pixel = True
    thread_safe = True

    def __init__(
        self,
        *,
        reference: Iterable[float] | None = None,
        name: str | None = None,
        execution_stages: Iterable[str] | None = None,
    ) -> None:
        super().__init__(name, execution_stages)
        self._reference = None if reference is None else numbers(self, "reference", reference)
        if self._reference is not None and not any(self._reference):
            raise InvalidNodeError(
                f"Node '{self.name}': reference is all zero; a spectrum without a direction has no angles.",
                node=self.name,
            )
        self.hparams["reference"] = self._reference

    def forward(self, cube: Array, reference: Array | None = None) -> dict[str, Array]:
        """Measure the angles.

        Raises:
            PortError: An input is of another form, there is no reference, or it has no direction.
        """
        return self.forward_tile(self.tile_statistics(cube), cube, reference)

    def tile_statistics(self, cube: Array, reference: Array | None = None) -> Found:
        """Tell of each band of each image whether it has a finite value."""
        del reference
        xp = image_namespace(self, "cube", cube)
        # With an ellipsis: without it the array API standard leaves open what an index means that names fewer axes than
        # there are.
        return [data_in_bands(xp, cube[index, ...]) for index in range(cube.shape[0])]

    def merge_statistics(self, left: Found, right: Found) -> Found:
        """Tell the same of two parts together."""
        return list(map(either, left, right))

    def statistics_complete(self, found: Found) -> bool:
        """Tell whether all bands have a finite value."""
        return all(map(all, found))

    def forward_tile(self, found: Found, cube: Array, reference: Array | None = None) -> dict[str, Array]:
        """Measure the angles in a part of the images."""
        xp = image_namespace(self, "cube", cube)
        spectrum = self._from_parameter(xp, cube) if reference is None else self._from_port(xp, cube, reference)
        if tuple(spectrum.shape) != (channels := cube.shape[-1],):
            raise input_error(
                self,
                "reference",
                f"the reference has the shape {tuple(spectrum.shape)}; the cube has {channels} channels, "
                "and a reference has one number per channel",
            )
        bands = [bands_with_data(self, each) for each in found]
        angles = [self._angles(xp, cube[index, ...], spectrum, each) for index, each in enumerate(bands)]
        return {"angles": xp.stack(angles, axis=0)}

    def _angles(self, xp: Namespace, image: Array, spectrum: Array, bands: list[int]) -> Array:
        if not bands:
            return xp.full_like(image[..., :1], nan, dtype=answer_type(xp, image))
        axis = self._direction(xp, select(xp, spectrum, bands))
        spectra = xp.astype(select(xp, image, bands), xp.float64)
        largest = xp.max(xp.abs(spectra), axis=-1, keepdims=True)
        defined = xp.all(xp.isfinite(spectra), axis=-1, keepdims=True) & (largest > 0)
        # spectra without an angle are replaced before, so that they give neither warnings nor NaN gradients
        spectra = xp.where(defined, spectra, axis) / xp.where(defined, largest, 1.0)
        along = xp.sum(spectra * axis, axis=-1, keepdims=True)
        across = xp.linalg.vector_norm(spectra - along * axis, axis=-1, keepdims=True)
        return xp.astype(xp.where(defined, xp.atan2(across, along), nan), answer_type(xp, image))

    def _direction(self, xp: Namespace, spectrum: Array) -> Array:
        """Return the reference scaled to length 1."""
        largest = xp.max(xp.abs(spectrum))
        if not (bool(xp.isfinite(largest)) and bool(largest > 0)):
            raise input_error(self, "reference", "the reference is zero or not finite; it needs a direction")
        # Else squares of very large numbers would be infinite, and those of very small ones 0.
        spectrum = spectrum / largest
        return spectrum / xp.linalg.vector_norm(spectrum)

    def _from_port(self, xp: Namespace, cube: Array, reference: Array) -> Array:
        namespace(self, "reference", cube, reference)
        return xp.astype(reference, xp.float64)

    def _from_parameter(self, xp: Namespace, cube: Array) -> Array:
        if self._reference is None:
            raise input_error(
                self,
                "reference",
                "there is no reference spectrum",
                hint="Connect 'reference', or set the hyper-parameter 'reference' of this node.",
            )
        return xp.asarray(self._reference, dtype=xp.float64, device=device(cube))
