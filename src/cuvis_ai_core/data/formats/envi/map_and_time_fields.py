"""What an ENVI header says about where and when an image was taken."""

import re
from contextlib import suppress
from datetime import datetime
from math import cos, radians, sin
from typing import Final, NamedTuple

from cuvis_ai_core.data.formats.envi.header_fields import EnviHeader

_NUMBERS: Final = slice(1, 7)
"""Of `map info`: column and row of a point from 1, its easting and northing, width and height of a pixel."""

_ZONE: Final = 7
_ZONES: Final = 60
_DATE: Final = re.compile(r"\s*DATE\s*\(([^)]*)\)", re.IGNORECASE)
"""How the numbers of a date are ordered."""


class Place(NamedTuple):
    """As in `Cube`."""

    crs: str | None
    transform: tuple[float, ...] | None
    acquired: datetime | None


def read_place(header: EnviHeader) -> Place:
    """Return coordinate system, transform and time; what cannot be understood is left out with a remark."""
    crs = header.text("coordinate system string") or system_of(header.text("map info"))
    return Place(crs or None, _transform(header), _acquired(header))


def system_of(map_info: str) -> str:
    """Return the coordinate system that `map info` names: UTM or degrees on WGS-84; empty for all others."""
    parts = [part.strip().lower() for part in map_info.split(",")]
    if not {"wgs-84", "wgs84", "wgs 84"}.intersection(parts):
        return ""
    if parts[0].startswith("geographic"):
        return "EPSG:4326"
    zone = parts[_ZONE] if len(parts) > _ZONE else ""
    if parts[0] != "utm" or not zone.isdecimal() or not 1 <= int(zone) <= _ZONES:
        return ""
    # EPSG numbers the zones of WGS-84 so: 32601 to 32660 north, 32701 to 32760 south.
    return f"EPSG:{327 if parts[_ZONE + 1].startswith('s') else 326}{int(zone):02}"


def in_map_info(crs: str | None) -> tuple[str, str]:
    """Return how `map info` begins and ends for a system that `system_of` names; for others it is an arbitrary one."""
    if crs == "EPSG:4326":
        return "Geographic Lat/Lon", ", WGS-84, units=Degrees"
    if found := re.fullmatch(r"EPSG:32([67])(0[1-9]|[1-5]\d|60)", crs or ""):
        return "UTM", f", {int(found[2])}, {'North' if found[1] == '6' else 'South'}, WGS-84, units=Meters"
    return "Arbitrary", ""


def _transform(header: EnviHeader) -> tuple[float, ...] | None:
    text = header.text("map info")
    try:
        return transform_of(text) if text.strip() else None
    except ValueError:
        header.remarks.append("The map info of the header has no six numbers; it was left out.")
        return None


def transform_of(map_info: str) -> tuple[float, ...]:
    """Return the affine transform of `map info`, turned by its rotation (degrees, counter-clockwise) as GDAL does.

    Raises:
        ValueError: It has no six numbers.
    """
    parts = [part.strip() for part in map_info.split(",")]
    rotations = [part.partition("=")[2] for part in parts if part.lower().startswith("rotation")]
    # ENVI counts pixels from 1, and means their upper left corner.
    column, row, x, y, width, height = map(float, parts[_NUMBERS])
    angle = radians(float(rotations[0])) if rotations else 0.0
    return (
        *(cos(angle) * width, sin(angle) * width, x - (column - 1) * width),
        *(sin(angle) * height, -cos(angle) * height, y + (row - 1) * height),
    )


def _acquired(header: EnviHeader) -> datetime | None:
    """Return ENVI's `acquisition time`, or date and start as Specim's recorder writes them."""
    stated = header.text("acquisition time")
    for text in (stated, _specim(header)):
        with suppress(ValueError):
            return datetime.fromisoformat(text.replace("/", "-"))
    for name in ("acquisition time", "acquisition date"):
        if text := header.text(name):
            header.remarks.append(f"The {name} '{text}' of the header is no date and time; it was left out.")
    return None


def _specim(header: EnviHeader) -> str:
    """Return date and start of Specim's recorders: `DATE(dd-mm-yyyy): 21-07-2008`, `UTC TIME: 14:00:11`."""
    order, numbers = _DATE.match(date := header.text("acquisition date")), re.findall(r"\d+", date)
    parts = re.split(r"\W+", order[1].lower()) if order else ["yyyy", "mm", "dd"]
    if sorted(parts) != ["dd", "mm", "yyyy"] or len(numbers) < len(parts):
        return ""
    year, month, day = (numbers[parts.index(part)] for part in ("yyyy", "mm", "dd"))
    time = header.text("start time") or header.text("gps start time")
    start = re.search(r"(\d\d?):(\d\d):(\d\d(?:\.\d+)?)", time)
    if start is None:
        return f"{year:0>4}-{month:0>2}-{day:0>2}"
    zone = "Z" if "UTC" in time.upper() else ""
    return f"{year:0>4}-{month:0>2}-{day:0>2}T{start[1]:0>2}:{start[2]}:{start[3]}{zone}"
