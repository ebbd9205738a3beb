"""What is known of the bands of an output."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from cuvis_ai_core.data import Cube

_AXES: Final = 4

Address = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Bands:
    """What is known of an image that is written.

    Attributes:
        name: The output, `node.port`.
        description: What it measures.
        wavelengths: Centre of each band in nm, None where nobody knows.
        fwhm: Width of each band in nm, as far as known.
        classes: Names of classes by number.
    """

    name: str
    description: str = ""
    wavelengths: NDArray[np.float64] | None = None
    fwhm: NDArray[np.float64] | None = None
    classes: Mapping[int, str] = field(default_factory=dict)


def bands_of(
    address: Address, shape: tuple[int, ...], values: Mapping[Address, Any], cube: "Cube", known: Bands
) -> Bands:
    """Return what is known of an output with the wavelengths of its bands.

    They are those that its node answers beside it; those of the cube, if it is one of as many bands: a port `cube`.
    """
    channels = shape[3] if len(shape) == _AXES else 1
    stated = values.get((address[0], "wavelengths"))
    own = None if stated is None else np.asarray(stated)
    if own is not None and own.shape == (channels,) and own.dtype.kind in "iuf":
        return Bands(known.name, known.description, own.astype(np.float64), None, known.classes)
    if address[1] == "cube" and cube.data.shape[-1] == channels:
        return Bands(known.name, known.description, cube.wavelengths, cube.fwhm, known.classes)
    return known
