"""What a cube looks like: some of its pixels, the bands that stand for colours, and what a notebook shows of it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from cuvis_ai_core.pages.html import Html, element, picture
from cuvis_ai_core.pages.image_encoding import encoded, levels

if TYPE_CHECKING:
    from cuvis_ai_core.data.cube import Cube

_LONGEST: Final = 384
"""Pixels of the longer side of pictures."""

_RGB_NM: Final = (650.0, 550.0, 450.0)
_FARTHEST_NM: Final = 40.0
"""A band farther from these is no colour that an eye would see there."""

_WIDE: Final = "width:min(100%,24rem);image-rendering:pixelated"


@dataclass(frozen=True, slots=True)
class Sample:
    """Some pixels of a cube, those in the middle of equal parts.

    Attributes:
        values: float32 `[height, width, channel]`.
        rows: Which rows they are from.
        columns: Which columns.
    """

    values: NDArray[np.float32]
    rows: NDArray[np.intp]
    columns: NDArray[np.intp]


def sampled(cube: "Cube") -> Sample:
    """Read a cube line by line, and keep some pixels of each: a large one takes bounded memory."""
    height, width, channels = cube.data.shape
    step = max(1, -(-max(height, width) // _LONGEST))
    rows, columns = (np.arange(step // 2, size, step) for size in (height, width))
    if not rows.size:
        rows = np.array([height // 2])
    if not columns.size:
        columns = np.array([width // 2])
    values = np.empty((len(rows), len(columns), channels), np.float32)
    for number, row in enumerate(rows):
        # A whole line and then some of it: files are stored by lines, and reading single pixels takes as long.
        values[number] = np.asarray(cube.data[int(row) : int(row) + 1])[0, columns]
    if cube.good_bands is not None:
        values[..., ~np.asarray(cube.good_bands, dtype=bool)] = np.nan
    return Sample(values, rows, columns)


def colour_bands(cube: "Cube") -> list[int]:
    """Return the bands of red, green and blue; where the cube has none of these, the last, middle and first one.

    Of those with data: a bad band would leave a colour away.
    """
    good = np.arange(cube.data.shape[2]) if cube.good_bands is None else np.flatnonzero(cube.good_bands)
    if cube.wavelengths is not None:
        taken = cube.wavelengths[good]
        nearest = [int(np.abs(taken - wanted).argmin()) for wanted in _RGB_NM]
        distances = [abs(taken[at] - wanted) for at, wanted in zip(nearest, _RGB_NM, strict=True)]
        if max(distances) <= _FARTHEST_NM:
            return [int(good[at]) for at in nearest]
    return [int(good[-1]), int(good[len(good) // 2]), int(good[0])]


def band_name(cube: "Cube", band: int) -> str:
    """Return the number of a band, with its wavelength."""
    if cube.wavelengths is None or cube.wavelengths[band] <= 0:
        return f"band {band}"
    return f"band {band}, {cube.wavelengths[band]:.1f} nm"


def false_colour(cube: "Cube") -> Html:
    """Return a figure of a cube: its false colour, size, type and wavelengths."""
    bands = colour_bands(cube)
    values = sampled(cube).values
    image = np.stack([levels(values[..., band]) for band in bands], axis=-1)
    colours = zip(("red", "green", "blue"), bands, strict=True)
    names = ", ".join(f"{colour} {band_name(cube, band)}" for colour, band in colours)
    about = element("strong", f"Cube {' x '.join(map(str, cube.data.shape))} {cube.data.dtype}")
    source = element("span", f" {cube.source.name}" if cube.source else "")
    return element("div", about, source, picture(encoded(image), "png", names, style=_WIDE))


def slider(cube: "Cube") -> Any:
    """Return a widget that shows band after band beside the false colour; None where there is no ipywidgets."""
    try:
        # Only where a notebook shows a cube; nothing of ours needs it.
        import ipywidgets
    except ImportError:
        return None
    values = sampled(cube).values

    def shown(band: int) -> bytes:
        return encoded(levels(values[..., band]))

    image = ipywidgets.Image(value=shown(0), format="png", layout={"width": "24rem"})
    chosen = ipywidgets.IntSlider(max=values.shape[-1] - 1, description="band", layout={"width": "24rem"})
    name = ipywidgets.Label(band_name(cube, 0))

    def show(change: Any) -> None:
        image.value = shown(change["new"])
        name.value = band_name(cube, change["new"])

    chosen.observe(show, names="value")
    return ipywidgets.HBox([ipywidgets.HTML(false_colour(cube)), ipywidgets.VBox([image, chosen, name])])
