"""What has no data in an image: NaN in the cube is the mask, and it travels inside the array."""

import logging

from array_api_compat import device

from cuvis_ai_core.builtin._input_checks import Array, Namespace
from cuvis_ai_core.node import ArrayNode

logger = logging.getLogger(__name__)


def data_in_bands(xp: Namespace, image: Array) -> tuple[bool, ...]:
    """Tell of each band of an image `[height, width, channel]` whether it has a finite value."""
    # one pixel with all its values is proof enough, and nearly always the first is one
    channels = int(image.shape[-1])
    if bool(xp.all(xp.isfinite(image[0, 0, :]))):
        return (True,) * channels
    found = xp.any(xp.isfinite(image), axis=(0, 1))
    return tuple(bool(found[band]) for band in range(channels))


def either(left: tuple[bool, ...], right: tuple[bool, ...]) -> tuple[bool, ...]:
    """Tell of each band whether it has a finite value in one of two parts of an image."""
    return tuple(bool(one or other) for one, other in zip(left, right, strict=True))


def bands_with_data(node: ArrayNode, found: tuple[bool, ...]) -> list[int]:
    """Return the bands of an image that have a finite value; those left out are said once.

    Args:
        node: The node that can do without the others.
        found: Whether each band has one.
    """
    bands = [band for band, has_data in enumerate(found) if has_data]
    if bands and (missing := [band for band, has_data in enumerate(found) if not has_data]):
        say_once(node, f"{listed(missing)} of {len(found)} (counted from 0) left out: without any finite value")
    return bands


def select(xp: Namespace, values: Array, bands: list[int]) -> Array:
    """Return some bands of an array `[..., channel]`: itself where these are all."""
    if len(bands) == values.shape[-1]:
        return values
    return xp.take(values, xp.asarray(bands, dtype=xp.int64, device=device(values)), axis=-1)


def answer_type(xp: Namespace, *arrays: Array) -> object:
    """Return the type of what is computed from arrays: theirs, but not below float32."""
    return xp.result_type(xp.float32, *arrays)


def say_once(node: ArrayNode, text: str) -> None:
    """Warn of something that a node met, when it does so for the first time."""
    said: set[str] = vars(node).setdefault("_said", set())
    if text not in said:
        said.add(text)
        logger.warning("Node '%s': %s.", node.name, text)


def listed(bands: list[int]) -> str:
    """Return numbers of bands for people: `bands 3 to 7, 12`."""
    runs: list[list[int]] = []
    for band in bands:
        if runs and band == runs[-1][-1] + 1:
            runs[-1].append(band)
        else:
            runs.append([band])
    shown = [f"{run[0]}" if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs]
    return ("band " if len(bands) == 1 else "bands ") + ", ".join(shown)
