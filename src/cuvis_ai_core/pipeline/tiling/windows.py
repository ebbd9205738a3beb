"""Tiles of an image: where they lie, and how large they are."""

from dataclasses import dataclass
from typing import Any, Final

_COPIES: Final = 8
"""Arrays of float64 that a node may hold of a tile at once: converted, masked, centred, whitened, ..."""

_BYTES: Final = 8
_MOST: Final = 2**20
"""Values in a tile, at most: larger ones are not faster, they leave the caches of the processor."""

_HALOS: Final = 8
"""A tile is so many times as high as its halo, if there is room: what lies around it is computed twice."""


@dataclass(frozen=True, slots=True)
class Window:
    """A part of an image: rows `top` to below `bottom`, columns `left` to below `right`."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.bottom - self.top, self.right - self.left

    @property
    def slices(self) -> tuple[slice, slice]:
        """Its rows and columns, for an index."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def grown(self, margin: int, image: "Window") -> "Window":
        """Return it with a margin all around, as far as the image goes."""
        return Window(
            max(self.top - margin, image.top),
            min(self.bottom + margin, image.bottom),
            max(self.left - margin, image.left),
            min(self.right + margin, image.right),
        )

    def within(self, other: "Window") -> tuple[slice, slice]:
        """Return its rows and columns in another one that contains it."""
        return (
            slice(self.top - other.top, self.bottom - other.top),
            slice(self.left - other.left, self.right - other.left),
        )


def tile_size(image: tuple[int, ...], memory: int, *, threads: int = 1, halo: int = 0) -> int:
    """Return how many pixels a tile may have.

    Args:
        image: The shape of the largest image, `[batch, height, width, ...]`.
        memory: Bytes that may be used.
        threads: How many tiles are computed at once.
        halo: How far around a tile nodes look.
    """
    values = max(1, image[0] * _product(image[3:]))
    room = memory // (_BYTES * _COPIES * threads)
    wanted = max(_MOST, (_HALOS * halo) ** 2 * values)
    return max(1, min(room, wanted) // values)


def cut(height: int, width: int, pixels: int, chunk: tuple[int, int] = (1, 1)) -> list[Window]:
    """Return windows that cover an image, from the top to the bottom: whole lines, or parts of long ones.

    Args:
        height: Lines of the image.
        width: Pixels in a line.
        pixels: How many a window may have.
        chunk: Height and width of the pieces in which the image is stored; windows are made of whole ones, if possible.
    """
    # Whole lines where that is possible: files of images lie line by line.
    columns = width if pixels >= width else _whole(min(pixels // min(chunk[0], height) or pixels, width), chunk[1])
    rows = min(_whole(max(1, pixels // columns), chunk[0]), height)
    return [
        Window(top, min(top + rows, height), left, min(left + columns, width))
        for top in range(0, height, rows)
        for left in range(0, width, columns)
    ]


def image_size(value: Any) -> tuple[int, int, int] | None:
    """Return batch, height and width of what looks like images, `[batch, height, width, ...]`."""
    shape = getattr(value, "shape", ())
    found = tuple(map(int, shape[:3])) if len(shape) >= 3 else ()  # noqa: PLR2004 - batch, height and width
    return (found[0], found[1], found[2]) if found else None


def _whole(size: int, chunk: int) -> int:
    return size // chunk * chunk or size


def _product(sizes: tuple[int, ...]) -> int:
    # Not by NumPy, whose integers have 32 bits on Windows before version 2.
    answer = 1
    for size in sizes:
        answer *= size
    return answer
