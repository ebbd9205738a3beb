"""Texts in pictures: their font, their width, their lines."""

from functools import lru_cache
from importlib.resources import files
from io import BytesIO
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

_FONT: Final = "DejaVuSans.ttf"
"""The letters of Latin, Greek and Cyrillic scripts: the font that Pillow brings along has no umlaut. Other signs are
left out of the file, which is a tenth of the published one."""

# Never a character (Unicode 23.7): it is drawn as what a font draws for all that it lacks. Pillow has no way to ask.
_MISSING: Final = "\uffff"


@lru_cache(maxsize=16)
def font(size: int) -> ImageFont.FreeTypeFont:
    """Return the font in a size, in dots."""
    return ImageFont.truetype(BytesIO(_file()), size)


@lru_cache(maxsize=1)
def _file() -> bytes:
    return files(__package__).joinpath(_FONT).read_bytes()


@lru_cache(maxsize=1024)
def width_of(text: str, size: int) -> int:
    """Return the width of a text in dots."""
    return int(font(size).getlength(text)) + 1


@lru_cache(maxsize=256)
def letters(text: str, size: int) -> tuple[NDArray[np.uint8], int]:
    """Return how far a text covers each dot, 0 to 255, and how many dots lie before its begin.

    Titles, origins and numbers come again from picture to picture: to draw them takes longer than all else of a page.
    """
    before = size // 2  # a letter may reach to the left of where it begins
    _, _, right, bottom = font(size).getbbox(text)
    image = Image.new("L", (before + max(1, int(right) + 1), max(1, int(bottom) + 1)))
    ImageDraw.Draw(image).text((before, 0), text, 255, font(size))
    return np.asarray(image), before


def lines(text: str, size: int, width: int) -> list[str]:
    """Return a text in lines that are no wider than so many dots, broken between words where that is possible."""
    found: list[str] = []
    for word in printable(text).split(" "):
        if found and width_of(f"{found[-1]} {word}", size) <= width:
            found[-1] += f" {word}"
        else:
            found += _pieces(word, size, width)
    return [line for line in found if line]


def _pieces(word: str, size: int, width: int) -> list[str]:
    pieces = [""]
    for sign in word:
        if pieces[-1] and width_of(pieces[-1] + sign, size) > width:
            pieces.append("")
        pieces[-1] += sign
    return pieces


def printable(text: str) -> str:
    """Return a text in one line, with escapes for signs that the font lacks."""
    joined = " ".join(text.split())
    return "".join(sign if _has(sign) else sign.encode("ascii", "backslashreplace").decode() for sign in joined)


@lru_cache(maxsize=1024)
def _has(sign: str) -> bool:
    drawn, missing = (bytes(font(20).getmask(each)) for each in (sign, _MISSING))
    return drawn != missing or sign == " "
