"""Places of single pixels, which an image has that lies on no even grid."""

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from cuvis_ai_core.data.cube import Cube

CONTROL_POINTS: Final = "ground_control_points"
"""Key of a cube's metadata: rows of column, row, x, y, z, counted from the upper left corner of the image."""

POINTS_CRS: Final = "ground_control_points_crs"
_GEOGRAPHIC: Final = "EPSG:4326"
_GEO_POINTS: Final = "geo points"
_SIDE: Final = 11
"""Points a side that stand for the places of all pixels."""


@dataclass(frozen=True, slots=True)
class Points:
    """Places of some pixels.

    Attributes:
        rows: Column, row, x, y and z of each, column and row counted from the upper left corner of the image.
        crs: The coordinate system of x and y, empty where nobody knows.
    """

    rows: tuple[tuple[float, float, float, float, float], ...]
    crs: str


def points_of(cube: "Cube") -> Points | None:
    """Return the places that a cube without a transform has, None where it has none.

    They are its ground control points, those of an ENVI header, or some of the latitudes and longitudes of all pixels.
    """
    known = cube.metadata
    if cube.transform is not None:
        return None
    with suppress(ValueError, TypeError, IndexError):
        if CONTROL_POINTS in known:
            rows = np.asarray(known[CONTROL_POINTS], dtype=np.float64).reshape(-1, 5)
            return Points(_tuples(rows), str(known.get(POINTS_CRS, "")))
        if _GEO_POINTS in known:
            return Points(_tuples(_of_envi(known[_GEO_POINTS])), _GEOGRAPHIC)
        if "latitude" in known and "longitude" in known:
            rows = _sampled(np.asarray(known["longitude"]), np.asarray(known["latitude"]))
            return Points(_tuples(rows), _GEOGRAPHIC) if len(rows) > 2 else None  # noqa: PLR2004 - a plane needs three
    return None


def as_envi(points: Points) -> str | None:
    """Return points as ENVI's `geo points`: column and row from 1, latitude and longitude; None for another system."""
    if points.crs != _GEOGRAPHIC and not points.crs.startswith("GEOGC"):
        return None
    texts = (f"{column + 1:.10g}, {row + 1:.10g}, {y!r}, {x!r}" for column, row, x, y, _ in points.rows)
    return ", ".join(texts)


def _of_envi(stated: Any) -> Any:
    parts = stated if isinstance(stated, list | tuple) else str(stated).strip("{} \n").split(",")
    column, row, latitude, longitude = np.asarray([float(each) for each in parts]).reshape(-1, 4).T
    return np.stack([column - 1, row - 1, longitude, latitude, np.zeros_like(row)], axis=-1)


def _sampled(longitude: Any, latitude: Any) -> Any:
    """Return the centres of evenly chosen pixels whose place is known."""
    height, width = latitude.shape
    rows, columns = (np.unique(np.linspace(0, size - 1, _SIDE).astype(int)) for size in (height, width))
    found = [
        (column + 0.5, row + 0.5, float(longitude[row, column]), float(latitude[row, column]), 0.0)
        for row in rows.tolist()
        for column in columns.tolist()
    ]
    return np.asarray([each for each in found if abs(each[2]) <= 360 and abs(each[3]) <= 90])  # noqa: PLR2004 - degrees


def _tuples(rows: Any) -> tuple[tuple[float, float, float, float, float], ...]:
    return tuple((float(a), float(b), float(c), float(d), float(e)) for a, b, c, d, e in rows)
