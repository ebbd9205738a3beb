"""Colours that people tell apart, also those who see fewer of them."""

from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Colour: TypeAlias = tuple[int, int, int]
"""Red, green and blue, 0 to 255."""

NO_DATA: Final[Colour] = (120, 45, 15)
"""A pixel without a value. Under normal sight and each of the three kinds of colour blindness (Machado et al. 2009) no
colour is farther from viridis, Okabe-Ito, black and white together."""

BACKGROUND: Final[Colour] = (0, 0, 0)
"""Class 0."""

_VIRIDIS: Final = (
    "44015446085c471063481769481d6f482475472a7a46307e453781433d844142873f48893d4e8a3a538b38598c355e8d33638d31688e"
    "2e6d8e2c718e2a768e297b8e27808e25848e23898e218e8d20928c1f978b1e9c891fa18821a58524aa8328ae802eb37c35b7793dbc74"
    "46c06f50c46a5ac86465cb5e70cf577cd25089d54895d840a2da37b0dd2fbddf26cae11fd8e219e5e419f1e51dfde725"
)
"""Every fifth colour of viridis (S. van der Walt and N. Smith, 2015; in the public domain)."""

_CLASSES: Final = (
    # Okabe and Ito, "Color universal design", 2008, black left out
    "e69f0056b4e9009e73f0e4420072b2d55e00cc79a7"
    # and always the one that is farthest from all before it, under each kind of sight
    "8700f0001e875a2d5ab4ffa59678fff0004bf0b4b4c3d2f02d003c96003c87c37869f0695a4bc34b2d784b0f00785a695a783c96b44b"
    "1e005a695a877896f0874bf05a0fc3b42d00"
)


def _table(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(bytes.fromhex(text), dtype=np.uint8).reshape(-1, 3)


CLASS_COLOURS: Final[tuple[Colour, ...]] = tuple((int(r), int(g), int(b)) for r, g, b in _table(_CLASSES))
"""Colours of the classes 1, 2, ...; whoever has more uses them again."""


def viridis(levels: int) -> NDArray[np.uint8]:
    """Return the colours of the map viridis from its low to its high end, `[level, 3]`."""
    known = _table(_VIRIDIS)
    at = np.linspace(0, len(known) - 1, levels)
    channels = [np.interp(at, np.arange(len(known)), known[:, channel]) for channel in range(3)]
    return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)


def class_colours(values: list[int]) -> list[Colour]:
    """Return a colour for each class: that of its number, so that a class looks the same in every picture.

    Where numbers are beyond the colours there are, or negative, the colours go by order.

    Args:
        values: The classes that occur, ascending.
    """
    by_number = all(0 <= value <= len(CLASS_COLOURS) for value in values)
    places = values if by_number else range(1, len(values) + 1)
    return [
        BACKGROUND if value == 0 else CLASS_COLOURS[(place - 1) % len(CLASS_COLOURS)]
        for value, place in zip(values, places, strict=True)
    ]
