"""What a picture is made of, before it is set in a page."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cuvis_ai_core.pages.colour_maps import NO_DATA, Colour
from cuvis_ai_core.results.pictures.tick_labels import share


@dataclass(frozen=True, slots=True)
class Meaning:
    """What is known of an output beside its values.

    Attributes:
        measures: What the values are, with their unit.
        origin: What gave them.
        names: Names of classes.
        wavelengths: Of the channels of an image in colours, in nm.
        no_data: Pixels of the cube without data, bool `[height, width]`, where there are any.
    """

    measures: str = ""
    origin: str = ""
    names: Mapping[int, str] = field(default_factory=dict)
    wavelengths: tuple[float, ...] | None = None
    no_data: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class LegendEntry:
    """A line of a legend."""

    colour: Colour
    text: str


@dataclass(frozen=True, slots=True)
class Drawn:
    """One image in colours.

    Attributes:
        pixels: uint8 `[height, width]`, numbers of the palette; or `[height, width, 3]`, colours.
        palette: Colours, `[index, 3]`; empty where the pixels are colours.
        exact: What is also written pixel by pixel: grey values that are classes, or colours.
        scale: Values at the ends of the colour bar, for scores that differ.
        legend: Its lines.
        notes: What else a reader must know.
        record: What run.json says about it.
    """

    pixels: NDArray[np.uint8]
    palette: NDArray[np.uint8]
    exact: NDArray[Any] | None = None
    scale: tuple[float, float] | None = None
    legend: tuple[LegendEntry, ...] = ()
    notes: tuple[str, ...] = ()
    record: Mapping[str, Any] = field(default_factory=dict)


def no_data_entry(count: int, total: int) -> tuple[LegendEntry, ...]:
    """Return the line about pixels without data, none where there are none."""
    return (LegendEntry(NO_DATA, f"no data · {share(count, total)}"),) if count else ()
