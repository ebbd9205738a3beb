"""A drawing set in a page: title, image, colour bar, legend, and what was done to the values."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cuvis_ai_core.results.pictures.canvas import Canvas
from cuvis_ai_core.results.pictures.picture_types import Drawn, LegendEntry, Meaning
from cuvis_ai_core.results.pictures.text_drawing import lines, width_of
from cuvis_ai_core.results.pictures.tick_labels import labels, ticks
from cuvis_ai_core.results.pictures.value_scaling import position

_LEAST_SIDE: Final = 512
"""The longer side of a small image is enlarged to at least so many dots."""

_SHORT_SIDE: Final = 1 / 12
"""The shorter side to such a part of it: one row of pixels would be no more than a line."""

_LONGEST_SIDE: Final = 8192
"""Of a longer image every second, third, ... pixel is shown."""

_LINES_OF_SIDE: Final = 42
"""The text of a large picture grows with it: it is looked at from farther away."""

_LEAST_TEXT: Final = 14
_WIDTH_IN_TEXT: Final = 30
_MOST_TICKS: Final = 6
_BLACK: Final = 34
_GREY: Final = 102
_SMALL: Final = 0.85
_LARGE: Final = 1.3
_LEADING: Final = 1.35

Step = Callable[[Canvas, int], None]


def set_page(drawn: Drawn, title: str, meaning: Meaning) -> Image.Image:
    """Return a picture for people.

    Args:
        drawn: The image in colours.
        title: Its name.
        meaning: What gave it, and what it measures.
    """
    pixels, notes = _sized(drawn)
    page = _Page(pixels, drawn.palette)
    page.text(title, _LARGE)
    page.text(meaning.origin, _SMALL, _GREY)
    page.image()
    if drawn.scale is not None:
        page.bar(len(drawn.palette) - 1, *drawn.scale)
    page.text(meaning.measures)
    page.legend(drawn.legend)
    page.text("; ".join((*drawn.notes, *notes)), _SMALL, _GREY)
    return page.render()


def _sized(drawn: Drawn) -> tuple[NDArray[np.uint8], list[str]]:
    """Return the image in the size in which it is shown, and what a reader must know of that."""
    step = -(-max(drawn.pixels.shape[:2]) // _LONGEST_SIDE)
    pixels = np.ascontiguousarray(drawn.pixels[::step, ::step])
    height, width = pixels.shape[:2]
    times = -(-_LEAST_SIDE // max(height, width))
    short = int(max(height, width) * times * _SHORT_SIDE)
    tall, wide = (max(times, -(-short // side)) for side in (height, width))
    notes = [f"only one row and column of {step} is shown"] * (step > 1)
    notes += [f"pixels are drawn {wide} wide and {tall} high"] * (tall != wide)
    if wide == tall == 1:  # a large picture is not copied twice
        return pixels, notes
    return pixels.repeat(wide, axis=1).repeat(tall, axis=0), notes


class _Page:
    """A page that grows downwards, and is drawn when its length is known.

    Args:
        pixels: The image on it.
        palette: Its colours, if it has numbers of them.
    """

    def __init__(self, pixels: NDArray[np.uint8], palette: NDArray[np.uint8]) -> None:
        self._pixels, self._palette = pixels, palette
        self._unit: int = max(_LEAST_TEXT, max(pixels.shape[:2]) // _LINES_OF_SIDE)
        self._width = max(pixels.shape[1], _WIDTH_IN_TEXT * self._unit)
        self._bottom = self._unit
        self._steps: list[tuple[int, Step]] = []

    def render(self) -> Image.Image:
        """Draw it."""
        canvas = Canvas((self._width + 2 * self._unit, self._bottom + self._unit), self._palette)
        for top, step in self._steps:
            step(canvas, top)
        return canvas.image()

    def text(self, text: str, size: float = 1.0, grey: int = _BLACK) -> None:
        """Add a text, in as many lines as it needs."""
        for line in lines(text, self._size(size), self._width):
            self._add(_LEADING * size, self._written(line, 0, size, grey))

    def image(self) -> None:
        """Add the image, in a thin frame: its margin may be as white as the page."""
        left, frame = self._unit, max(1, self._unit // 16)
        height, width = self._pixels.shape[:2]

        def paste(canvas: Canvas, top: int) -> None:
            right, bottom = left + width, top + height
            canvas.rectangle((left - frame, top - frame, right + frame, bottom + frame), (_GREY,) * 3)
            canvas.paste(self._pixels, left, top)

        self._bottom += self._unit // 3
        self._add(height / self._unit + 0.5, paste)

    def bar(self, levels: int, low: float, high: float) -> None:
        """Add a colour bar of the first colours of the palette, with numbers."""
        left, unit, length = self._unit, self._unit, max(self._pixels.shape[1], 20 * self._unit)
        row = (np.arange(length) * levels // length).astype(np.uint8)
        values, texts = _fitting_ticks(low, high, length - unit, self._size(_SMALL))

        def paste(canvas: Canvas, top: int) -> None:
            canvas.paste(np.tile(row, (unit, 1)), left, top)
            thick = max(1, unit // 14)
            for value, text in zip(values, texts, strict=True):
                # By `position`: the ends may differ by more than a float holds.
                at = left + round(position(value, low, high) * (length - thick))
                canvas.rectangle((at, top + unit, at + thick, top + unit + unit // 3), (_BLACK,) * 3)
                width = width_of(text, self._size(_SMALL))
                begin = min(max(at - width // 2, left), left + length - width)
                self._written(text, begin - left, _SMALL, _BLACK)(canvas, top + unit + unit // 3)

        self._add(1 + 1 / 3 + _LEADING * _SMALL, paste)

    def legend(self, entries: Sequence[LegendEntry]) -> None:
        """Add a legend, in as many columns as there is room for."""
        if not entries:
            return
        texts = [lines(entry.text, self._size(1), self._width - 2 * self._unit)[0] for entry in entries]
        cell = 3 * self._unit + max(width_of(text, self._size(1)) for text in texts)
        columns = max(1, min(len(entries), (self._width + self._unit) // cell))
        rows = -(-len(entries) // columns)
        self._bottom += self._unit // 5
        for row in range(rows):
            # The order runs down the columns, as a legend is read.
            shown = list(zip(entries, texts, strict=True))[row::rows]
            self._add(_LEADING, self._legend_row(shown, cell))
        self._bottom += self._unit // 5

    def _legend_row(self, shown: Sequence[tuple[LegendEntry, str]], cell: int) -> Step:
        def step(canvas: Canvas, top: int) -> None:
            for column, (entry, text) in enumerate(shown):
                left = self._unit + column * cell
                above = top + self._unit // 8
                right, below = left + self._unit, above + self._unit
                canvas.rectangle((left, above, right + 1, below + 1), (_GREY,) * 3)
                canvas.rectangle((left + 1, above + 1, right, below), entry.colour)
                self._written(text, column * cell + self._unit * 3 // 2, 1, _BLACK)(canvas, top)

        return step

    def _written(self, text: str, left: int, size: float, grey: int) -> Step:
        def step(canvas: Canvas, top: int) -> None:
            canvas.text(self._unit + left, top, text, grey, self._size(size))

        return step

    def _size(self, size: float) -> int:
        return round(size * self._unit)

    def _add(self, height: float, step: Step) -> None:
        self._steps.append((self._bottom, step))
        self._bottom += round(height * self._unit)


def _fitting_ticks(low: float, high: float, length: int, size: int) -> tuple[list[float], list[str]]:
    """Return as many ticks as can be read beside each other, and their numbers."""
    for count in range(_MOST_TICKS, 1, -1):
        values = ticks(low, high, count)
        texts = labels(values)
        if sum(width_of(text, size) for text in texts) + (len(texts) - 1) * size < length:
            return values, texts
    return [low, high], labels([low, high])
