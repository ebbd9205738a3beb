"""Which kind of picture an output is: scores, classes, or colours already."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cuvis_ai_core.pages.colour_maps import NO_DATA, viridis
from cuvis_ai_core.results.pictures.class_maps import count_classes, draw_classes, grey_values
from cuvis_ai_core.results.pictures.picture_types import Drawn, LegendEntry, Meaning, no_data_entry
from cuvis_ai_core.results.pictures.tick_labels import labels, number
from cuvis_ai_core.results.pictures.value_scaling import STRETCH, levels, limits, stretched

_WHITE: Final = 255
_LEVELS: Final = 239
"""Colours of a scale of scores; the next number of the palette is that of a pixel without data, the rest are greys."""

_CHANNELS: Final = {"red": (213, 60, 60), "green": (60, 160, 60), "blue": (60, 90, 213)}
_STRETCHED: Final = f"stretched from the {STRETCH[0]}nd to the {STRETCH[1]}th percentile"

Draw = Callable[[NDArray[Any], Meaning], Drawn]


def draw_images(array: NDArray[Any], image: tuple[int, ...], meaning: Meaning) -> Iterator[Drawn]:
    """Return one drawing per image of an output, nothing where it does not look like images.

    Images are `[batch, height, width]` of the cube's size, `[batch, height, width, 1]` and
    `[batch, height, width, 3]`. Truth values, and whole numbers of up to 255 values, are classes; other single values
    are scores.

    Args:
        array: The value of an output port.
        image: Height and width of the cube.
        meaning: What else is known of it.
    """
    if is_picture(array, image):
        # Of the batch as a whole: else one of its images could be classes, and the next one scores.
        draw = _kind(array)
        # The cube is one image: of several, nobody knows which it is.
        known = meaning if len(array) == 1 else replace(meaning, no_data=None)
        for values in array:
            yield draw(values if draw is draw_colours else values.reshape(values.shape[:2]), known)


def is_picture(array: Any, image: tuple[int, ...]) -> bool:
    """Tell whether an output looks like images; `draw_images` says which do."""
    if array.dtype.kind not in "biuf" or 0 in array.shape:
        return False
    match array.shape:
        case (_, height, width):
            return (height, width) == image
        case (_, height, width, 1 | 3):
            return (height, width) == image or min(height, width) > 1
    return False


def _kind(array: NDArray[Any]) -> Draw:
    if array.shape[3:] == (len(_CHANNELS),):
        return draw_colours
    return draw_scores if array.dtype.kind == "f" or count_classes(array) is None else draw_classes


def draw_scores(values: NDArray[Any], meaning: Meaning) -> Drawn:
    """Draw a quantity in the colours of viridis, what is not finite as without data."""
    palette = np.concatenate([viridis(_LEVELS), [NO_DATA]]).astype(np.uint8)
    ends = stretched(values)
    if ends is None:
        nowhere = np.full(values.shape, _LEVELS, dtype=np.uint8)
        legend = no_data_entry(values.size, values.size)
        return Drawn(nowhere, palette, legend=legend, record={"kind": "scores", "no_data": values.size})
    (low, high), by_percentiles = ends
    pixels = levels(values, low, high, _LEVELS, _LEVELS)
    if values.dtype.kind in "iu" and meaning.no_data is not None and meaning.no_data.shape == values.shape:
        pixels[meaning.no_data & (values == 0)] = _LEVELS
    missing = int(np.count_nonzero(pixels == _LEVELS))
    percentiles = list(STRETCH) if by_percentiles else None
    return Drawn(
        pixels,
        palette,
        exact=grey_values(values),
        scale=(low, high) if low < high else None,
        legend=no_data_entry(missing, values.size),
        notes=(_stretch_note(values, low, high, by_percentiles=by_percentiles),),
        record={"kind": "scores", "low": low, "high": high, "percentiles": percentiles, "no_data": missing},
    )


def _stretch_note(values: NDArray[Any], low: float, high: float, *, by_percentiles: bool) -> str:
    if low == high:
        return f"every value is {number(low)}"
    if by_percentiles:
        ends = limits(values) or (low, high)
        least, greatest = map(number, ends) if number(ends[0]) != number(ends[1]) else labels(list(ends))
        return f"{_STRETCHED}; values from {least} to {greatest}"
    return "from the least to the greatest value: too few differ for percentiles"


def draw_colours(values: NDArray[Any], meaning: Meaning) -> Drawn:
    """Draw three channels as red, green and blue.

    Each is stretched between percentiles, except uint8 and what reaches exactly from 0 to 1: these were made to be
    looked at, by a colour map for example, and keep their colours.
    """
    ends, percentiles = _ends(values)
    pixels = np.stack([levels(values[..., at], *end, _WHITE + 1, 0) for at, end in enumerate(ends)], axis=-1)
    missing = ~np.isfinite(values).all(axis=-1) if values.dtype.kind == "f" else np.zeros(values.shape[:2], bool)
    pixels[missing] = NO_DATA
    low, high = zip(*ends, strict=True)
    known = meaning.wavelengths or ()
    scale = {"low": list(low), "high": list(high), "percentiles": percentiles}
    return Drawn(
        pixels,
        np.empty((0, 3), dtype=np.uint8),
        exact=pixels,
        legend=(
            *(LegendEntry(c, f"{n} {number(nm)} nm") for (n, c), nm in zip(_CHANNELS.items(), known, strict=False)),
            *no_data_entry(int(missing.sum()), missing.size),
        ),
        notes=(f"each colour {_STRETCHED}" if percentiles else "colours as they are",)
        + ("of which wavelengths, its node does not say",) * (not known and percentiles is not None),
        record={
            "kind": "colours",
            **scale,
            "wavelengths": list(known) or None,
            "no_data": int(missing.sum()),
        },
    )


def _ends(image: NDArray[Any]) -> tuple[list[tuple[float, float]], list[int] | None]:
    """Return for each channel the values that become black and full, and the percentiles that these are."""
    count = image.shape[-1]
    whole = limits(image) or (0, 1)
    if image.dtype == np.uint8:
        return [(0, _WHITE)] * count, None
    if image.dtype.kind == "b" or whole == (0, 1):
        return [(0, 1)] * count, None
    found = (stretched(image[..., channel]) for channel in range(count))
    return [each[0] if each else (0, 1) for each in found], list(STRETCH)
