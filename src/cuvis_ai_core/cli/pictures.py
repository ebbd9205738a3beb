"""Arrays as pictures: masks in black and white, scores in greys, three channels in colours."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_WHITE: Final = 255
_STRETCH: Final = (2, 98)
"""Percentiles of a colour channel that become black and full."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One image of an output.

    Attributes:
        pixels: uint8, `[height, width]` or `[height, width, 3]`.
        black: The values that are shown as 0, one per colour channel.
        white: The values that are shown as 255.
        index: Which image of the batch it is; None where there is but one.
    """

    pixels: NDArray[np.uint8]
    black: tuple[float, ...]
    white: tuple[float, ...]
    index: int | None = None

    def save(self, path: Path) -> None:
        """Write a PNG file.

        Raises:
            OSError: It cannot be written.
        """
        from PIL import Image

        Image.fromarray(self.pixels).save(path, format="PNG")

    def record(self) -> dict[str, Any]:
        """Return what run.json says about the picture beside the values."""
        place = {} if self.index is None else {"image": self.index}
        return {**place, "black": list(self.black), "white": list(self.white)}


def draw(array: NDArray[Any], image: tuple[int, ...]) -> Iterator[Picture]:
    """Return one picture per image of an output, nothing where it does not look like images.

    Images are `[batch, height, width]` of the cube's size, `[batch, height, width, 1]` and
    `[batch, height, width, 3]`. Truth values, and integers that are all 0 or 1, are masks: 0 and 255. Other
    single values are stretched from the least to the greatest, colours per channel from the 2nd to the 98th
    percentile, except uint8 and what reaches exactly from 0 to 1: these were made to be looked at, by a colour
    map for example, and keep their colours. Values that are not finite are black.

    Args:
        array: The value of an output port.
        image: Height and width of the cube.
    """
    if not _is_picture(array, image):
        return
    several = array.shape[0] > 1
    for index, values in enumerate(array):
        channels = values[..., None] if values.ndim == 2 else values  # noqa: PLR2004
        ends = _ends(channels)
        scaled = [_scale(channels[..., channel], *end) for channel, end in enumerate(ends)]
        pixels = scaled[0] if len(scaled) == 1 else np.stack(scaled, axis=-1)
        black, white = zip(*ends, strict=True)
        yield Picture(pixels, black, white, index if several else None)


def _is_picture(array: NDArray[Any], image: tuple[int, ...]) -> bool:
    if array.dtype.kind not in "biuf" or 0 in array.shape:
        return False
    match array.shape:
        case (_, height, width):
            return (height, width) == image
        case (_, height, width, 1 | 3):
            return (height, width) == image or min(height, width) > 1
    return False


def _ends(image: NDArray[Any]) -> list[tuple[float, float]]:
    """Return for each channel the values that become black and white."""
    count = image.shape[-1]
    low, high = _range(image)
    if image.dtype.kind == "b" or (image.dtype.kind in "iu" and low >= 0 and high <= 1):
        return [(0, 1)] * count
    if count == 1:
        return [(low, high)]
    if image.dtype == np.uint8:
        return [(0, _WHITE)] * count
    if (low, high) == (0, 1):
        return [(0, 1)] * count
    return [_stretched(image[..., channel]) for channel in range(count)]


def _range(values: NDArray[Any]) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0, 1)


def _stretched(values: NDArray[Any]) -> tuple[float, float]:
    finite = values[np.isfinite(values)].astype(np.float64)
    if finite.size == 0:
        return 0, 1
    low, high = np.percentile(finite, _STRETCH).tolist()
    return (low, high) if low < high else _range(values)


def _scale(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    numbers = values.astype(np.float64)
    finite = np.isfinite(numbers)
    # Half of each, because the difference of two large numbers may be none.
    span = high / 2 - low / 2
    share = (np.where(finite, numbers, low) / 2 - low / 2) / span if span > 0 else np.zeros_like(numbers)
    return np.where(finite, np.rint(np.clip(share, 0, 1) * _WHITE), 0).astype(np.uint8)
