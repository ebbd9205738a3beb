"""From the named arrays of a file to its cube: the steps that HDF5, NetCDF, Zarr and MATLAB files share."""

from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from cuvis_ai_core.data.cube import Cube
from cuvis_ai_core.data.decompression_bombs import refuse_bomb
from cuvis_ai_core.data.formats.axis_order import axes_of
from cuvis_ai_core.data.formats.band_wavelengths import bands_of, list_lengths
from cuvis_ai_core.data.formats.cf_conventions import (
    acquired_of,
    meaning_of,
    metadata_of,
    pixel_places,
    place_of,
    time_of,
    unread_system,
)
from cuvis_ai_core.data.formats.stored_image import Stored, data_of
from cuvis_ai_core.data.formats.variable_choice import Variables, choose


def cube_of(file: Path, variables: Variables, root: Mapping[str, Any], wanted: str | None) -> Cube:
    """Make a cube of the one array that is it, and of what the file says of it.

    Args:
        file: Where the arrays are from.
        variables: The arrays by name.
        root: The attributes of the file.
        wanted: The name of the array that is asked for.

    Raises:
        CubeError: It is not clear which array is the cube, or it is none.
    """
    remarks: list[str] = []
    chosen = choose(file, variables, wanted)
    # A store of Zarr is a folder, whose pieces have limits of their own.
    if file.is_file():
        refuse_bomb(file, prod(chosen.shape) * np.dtype(chosen.array.dtype).itemsize)
    axes = axes_of(chosen, list_lengths(chosen, variables, root), remarks)
    meaning = meaning_of(chosen.attrs, np.dtype(chosen.array.dtype), remarks, chosen.shape[axes[2]])
    image = Stored(chosen.array, chosen.opening(), axes, meaning)
    bands = bands_of(chosen, axes[2], variables, root, remarks)
    place = place_of(chosen, axes, variables)
    if place.crs is None and (remark := unread_system(chosen, variables)):
        remarks.append(remark)
    return Cube(
        data_of(image, file),
        bands.wavelengths,
        file,
        fwhm=bands.fwhm,
        good_bands=bands.good,
        crs=place.crs,
        transform=place.transform,
        acquired=acquired_of(chosen.attrs, root) or time_of(variables),
        metadata=metadata_of(root, chosen.attrs) | pixel_places(chosen, axes, variables),
        remarks=tuple(remarks),
    )
