"""What an ENVI header says about where and when an image was taken."""

import re
from contextlib import suppress
from datetime import datetime
from math import cos, radians, sin
from typing import Final, NamedTuple

from cuvis_ai_core.data.envi_header import EnviHeader

_NUMBERS: Final = slice(1, 7)
"""Of `map info`: column and row of a point from 1, its easting and northing, width and height of a pixel."""


class Place(NamedTuple):
    """As in `Cube`."""

    crs: str | None
    transform: tuple[float, ...] | None
    acquired: datetime | None


def read_place(header: EnviHeader) -> Place:
    """Return coordinate system, transform and time; what cannot be understood is left out with a remark."""
    return Place(header.text("coordinate system string") or None, _transform(header), _acquired(header))


def _transform(header: EnviHeader) -> tuple[float, ...] | None:
    """Return the affine transform of `map info`, turned by its rotation (degrees, counter-clockwise) as GDAL does."""
    parts = [part.strip() for part in header.text("map info").split(",")]
    if parts == [""]:
        return None
    rotations = [part.partition("=")[2] for part in parts if part.lower().startswith("rotation")]
    try:
        column, row, x, y, width, height = map(float, parts[_NUMBERS])
        angle = radians(float(rotations[0])) if rotations else 0.0
    except ValueError:
        header.remarks.append("The map info of the header has no six numbers; it was left out.")
        return None
    return (
        *(cos(angle) * width, sin(angle) * width, x - (column - 1) * width),
        *(sin(angle) * height, -cos(angle) * height, y + (row - 1) * height),
    )


def _acquired(header: EnviHeader) -> datetime | None:
    """Return ENVI's `acquisition time`, or date and start as Specim's recorder writes them."""
    date = re.search(r"\d{4}-\d\d-\d\d", header.text("acquisition date"))
    start = re.search(r"\d\d:\d\d:\d\d(?:\.\d+)?", header.text("start time"))
    zone = "Z" if "UTC" in header.text("start time").upper() else ""
    specim = f"{date[0]}T{start[0]}{zone}" if date and start else ""
    for text in (header.text("acquisition time"), specim):
        with suppress(ValueError):
            return datetime.fromisoformat(text.replace("/", "-"))
    if text := header.text("acquisition time"):
        header.remarks.append(f"The acquisition time '{text}' of the header is no date and time; it was left out.")
    return None
