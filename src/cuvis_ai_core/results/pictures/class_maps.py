"""Maps of classes: truth values, and whole numbers of few values."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cuvis_ai_core.pages.colour_maps import CLASS_COLOURS, NO_DATA, class_colours
from cuvis_ai_core.results.pictures.picture_types import Drawn, LegendEntry, Meaning, no_data_entry
from cuvis_ai_core.results.pictures.tick_labels import share

_MOST: Final = 255
"""Classes that a palette has room for, beside the pixels without data."""

_LARGEST_GREY: Final = 65535
_LINES: Final = 40
"""Lines of a legend at most."""

_WHITE: Final = (255, 255, 255)
_TRUTH: Final[Mapping[int, str]] = {0: "no", 1: "yes"}


def count_classes(values: NDArray[Any]) -> dict[int, int] | None:
    """Return how often each class occurs, ascending, or None where the numbers are no classes but amounts."""
    least, greatest = int(values.min()), int(values.max())
    if greatest - least > _LARGEST_GREY:
        return None
    # Not `np.unique`, which sorts all pixels.
    counts = np.bincount(_places(values, least).reshape(-1))
    found = np.flatnonzero(counts).tolist()
    return {least + place: int(counts[place]) for place in found} if len(found) <= _MOST else None


def grey_values(values: NDArray[Any]) -> NDArray[Any] | None:
    """Return whole numbers as grey values of 8 or 16 bits, None where they are none or do not fit."""
    if values.dtype.kind == "f" or values.min() < 0 or values.max() > _LARGEST_GREY:
        return None
    return values.astype(np.uint8 if values.max() <= _MOST else np.uint16)


def draw_classes(values: NDArray[Any], meaning: Meaning) -> Drawn:
    """Draw classes, each in its colour; where a pixel of class 0 is one without data, in the colour of those."""
    counts = count_classes(values)
    assert counts is not None
    numbers = list(counts)
    table = np.zeros(numbers[-1] - numbers[0] + 1, dtype=np.uint8)
    table[[value - numbers[0] for value in numbers]] = range(len(numbers))
    pixels = table[_places(values, numbers[0])]
    missing = 0
    if 0 in counts and meaning.no_data is not None and meaning.no_data.shape == values.shape:
        # Whole numbers have no NaN: nodes give 0 there, as class 0 is none.
        hidden = meaning.no_data & (values == 0)
        pixels[hidden] = len(numbers)
        missing = int(np.count_nonzero(hidden))
        counts[0] -= missing
    colours = dict(zip(numbers, class_colours(numbers), strict=True))
    names = _TRUTH if values.dtype.kind == "b" else meaning.names
    entries = {
        value: LegendEntry(
            colour, f"{value} {names.get(value, '')}".strip() + f" · {share(counts[value], values.size)}"
        )
        for value, colour in colours.items()
        if counts[value]
    }
    exact = grey_values(values)
    classes = [
        {
            "value": value,
            "name": names.get(value),
            "colour": f"#{bytes(colour).hex()}",
            "share": counts[value] / values.size,
        }
        for value, colour in colours.items()
    ]
    return Drawn(
        pixels,
        np.array([*colours.values(), NO_DATA], dtype=np.uint8),
        exact=exact,
        legend=(*_shortened(entries, counts, values.size), *no_data_entry(missing, values.size)),
        notes=("there are more classes than colours: some colours stand for several",)
        * (len(set(colours) - {0}) > len(CLASS_COLOURS))
        + (f"not written as grey values: a PNG holds 0 to {_LARGEST_GREY}",) * (exact is None),
        record={"kind": "classes", "classes": classes, "no_data": missing},
    )


def _places(values: NDArray[Any], least: int) -> NDArray[np.intp]:
    """Return how far above the least each value is; the difference is taken in a type that holds it."""
    if values.dtype.kind == "b":
        return values.astype(np.intp) - least
    moved: NDArray[Any] = (
        values - values.dtype.type(least) if values.dtype == np.uint64 else values.astype(np.int64) - least
    )
    return moved.astype(np.intp, copy=False)


def _shortened(entries: Mapping[int, LegendEntry], counts: Mapping[int, int], total: int) -> list[LegendEntry]:
    """Return the lines of the largest classes, and one for the others."""
    if len(entries) <= _LINES:
        return list(entries.values())
    largest = sorted(sorted(entries, key=lambda value: -counts[value])[: _LINES - 1])
    rest = sum(counts[value] for value in entries if value not in largest)
    more = LegendEntry(_WHITE, f"{len(entries) - len(largest)} more · {share(rest, total)}")
    return [*(entries[value] for value in largest), more]
