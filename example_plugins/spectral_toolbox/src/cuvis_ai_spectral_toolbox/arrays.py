"""What the nodes share: their ports, pixels without data, and the type of their answers."""

from typing import Any, Final, TypeAlias

import numpy as np
from array_api_compat import array_namespace, device

from cuvis_ai_core.node import PortSpec

Array: TypeAlias = Any
"""An array of any library that follows the array API standard."""

Namespace: TypeAlias = Any
"""The functions of that library."""

CUBE: Final = PortSpec(np.floating, (-1, -1, -1, -1), "images, [batch, height, width, channel]")
WAVELENGTHS: Final = PortSpec(np.floating, (-1,), "centres of the bands in nm, [channel]")
SCORES: Final = PortSpec(np.floating, (-1, -1, -1, 1), "one number a pixel, [batch, height, width, 1]")
CLASSES: Final = PortSpec(np.int32, (-1, -1, -1), "classes from 1, 0 is no data, [batch, height, width]")


def to_float64(cube: Array) -> tuple[Namespace, Array]:
    """Return the namespace of a cube, and its values in float64: statistics of float32 lose digits."""
    xp = array_namespace(cube)
    return xp, xp.astype(cube, xp.float64)


def as_in(cube: Array, values: Array) -> Array:
    """Return values in the type of a cube, but not below float32."""
    xp = array_namespace(cube)
    return xp.astype(values, xp.result_type(cube, xp.float32))


def like(cube: Array, values: Any) -> Array:
    """Return numbers as a float64 array of the library and on the device of a cube."""
    xp = array_namespace(cube)
    return xp.asarray(np.asarray(values, dtype=np.float64).tolist(), dtype=xp.float64, device=device(cube))


def numbers_of(values: Array) -> "np.ndarray[Any, np.dtype[np.float64]]":
    """Return a short array of any library as one of NumPy in float64."""
    return np.asarray([float(values[index]) for index in range(values.shape[0])], dtype=np.float64)


def take_bands(cube: Array, bands: list[int]) -> Array:
    """Return some bands of an array `[..., channel]`: itself where these are all."""
    if bands == list(range(cube.shape[-1])):
        return cube
    xp = array_namespace(cube)
    return xp.take(cube, xp.asarray(bands, dtype=xp.int64, device=device(cube)), axis=-1)


def bands_with_data(image: Array) -> list[int]:
    """Return the bands of an image `[..., channel]` that have a finite value."""
    xp = array_namespace(image)
    found = xp.any(xp.reshape(xp.isfinite(image), (-1, image.shape[-1])), axis=0)
    return [band for band in range(image.shape[-1]) if bool(found[band])]


def whole_pixels(image: Array) -> Array:
    """Return which spectra of an array `[..., channel]` have only finite values, `[..., 1]`."""
    xp = array_namespace(image)
    return xp.all(xp.isfinite(image), axis=-1, keepdims=True)
