"""What a page is drawn on: by numbers of a palette where its colours fit into one, else in all colours."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cuvis_ai_core.pages.colour_maps import Colour
from cuvis_ai_core.results.pictures.text_drawing import letters

_COLOURS: Final = 256
_GREYS: Final = np.rint(np.linspace(34, 255, 16)).astype(np.uint8)
"""From that of texts to white: so many make the edges of letters smooth."""

_WHITE: Final = 255
_AXES: Final = 2


class Canvas:
    """A white page. A file of numbers of a palette takes a fifth of the time of one in all colours, and half the bytes.

    Args:
        size: Width and height, in dots.
        palette: The colours beside greys, `[index, 3]`; none where what is pasted has colours of its own.
    """

    def __init__(self, size: tuple[int, int], palette: NDArray[np.uint8]) -> None:
        self._colours = palette
        self._numbered = 0 < len(palette) <= _COLOURS - len(_GREYS)
        if self._numbered:
            self._colours = np.concatenate([palette, np.repeat(_GREYS[:, None], 3, axis=1)])
            self._page = np.full(size[::-1], len(self._colours) - 1, dtype=np.uint8)
        else:
            self._page = np.full((*size[::-1], 3), _WHITE, dtype=np.uint8)

    def paste(self, pixels: NDArray[np.uint8], left: int, top: int) -> None:
        """Draw an image: `[height, width]`, numbers of the palette; or `[height, width, 3]`."""
        shown = pixels if self._numbered or pixels.ndim > _AXES else self._colours[pixels]
        self._page[top : top + pixels.shape[0], left : left + pixels.shape[1]] = shown

    def rectangle(self, box: tuple[int, int, int, int], colour: Colour) -> None:
        """Fill a rectangle, from left and top to right and bottom, which are in it no more."""
        left, top, right, bottom = box
        ink: int | Colour = colour
        if self._numbered:
            # Differences of uint8 would wrap around.
            ink = int(np.abs(self._colours.astype(int) - colour).sum(axis=1).argmin())
        self._page[top:bottom, left:right] = ink

    def text(self, left: int, top: int, text: str, grey: int, size: int) -> None:
        """Write a text in a grey, upon white."""
        cover, before = letters(text, size)
        left -= before
        ink = _WHITE - np.rint(np.arange(_COLOURS) * ((_WHITE - grey) / _WHITE)).astype(np.uint8)
        if self._numbered:
            first = len(self._colours) - len(_GREYS)
            ink = (first + np.abs(_GREYS.astype(int)[:, None] - ink).argmin(axis=0)).astype(np.uint8)
        # A place left of the page would be counted from its right end.
        place = self._page[top : top + cover.shape[0], max(0, left) : left + cover.shape[1]]
        cover = cover[: place.shape[0], max(0, -left) :][:, : place.shape[1]]
        there = cover > 0
        place[there] = ink[cover[there]] if self._numbered else ink[cover[there]][:, None]

    def image(self) -> Image.Image:
        """Return what was drawn."""
        image = Image.fromarray(self._page)
        if self._numbered:
            image.putpalette(self._colours.tobytes())
        return image
