"""What has no data in an image: NaN in the cube is the mask, and it travels inside the array."""

import logging

from array_api_compat import device

from cuvis_ai_core.builtin._checks import Array, Namespace
from cuvis_ai_core.node import ArrayNode

logger = logging.getLogger(__name__)


def bands_with_data(node: ArrayNode, xp: Namespace, image: Array) -> list[int]:
    """Return the bands of an image that have a finite value; those left out are said once.

    Args:
        node: The node that can do without the others.
        xp: The array namespace of the image.
        image: `[height, width, channel]`.
    """
    channels = image.shape[-1]
    # one pixel with all its values is proof enough, and nearly always the first is one
    if bool(xp.all(xp.isfinite(image[0, 0, :]))):
        return list(range(channels))
    found = xp.any(xp.isfinite(image), axis=(0, 1))
    bands = [band for band in range(channels) if bool(found[band])]
    if bands and (missing := sorted(set(range(channels)) - set(bands))):
        say_once(node, f"{listed(missing)} of {channels} (counted from 0) left out: without any finite value")
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
