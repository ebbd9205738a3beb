"""What attributes mean by convention: no data and scale (CF), where (CF grid mappings, coordinates), when (ACDD)."""

import base64
import struct
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from math import isclose, isfinite
from typing import Any, Final, NamedTuple

import numpy as np

from cuvis_ai_core.data.envi_place import transform_of
from cuvis_ai_core.data.formats.named import Variable, Variables
from cuvis_ai_core.data.formats.stored import Meaning

_MISSING: Final = (
    "_FillValue",
    "missing_value",
    "nodata",
    "no_data",
    "NoData",
    "data_ignore_value",
    "Data_Ignore_Value",
)
_FACTOR: Final = "scale_factor"
_DIVISOR: Final = "Scale_Factor"
"""As ENVI and NEON mean it: values are divided by it."""

_SUMMAND: Final = "add_offset"
_WKT: Final = ("crs_wkt", "spatial_ref")
_MAP_INFO: Final = "map_info"
_SYSTEM: Final = "coordinate_system_string"
_TRANSFORM: Final = 6
_WHEN: Final = (
    *("time_coverage_start", "acquisition_time", "acquisition_date", "start_time", "startTime", "Product_StartTime"),
    *("acquired", "datetime", "sensing_start", "start_datetime"),
)
_LONGEST: Final = 64
"""Attributes with more values are no metadata for people."""


class Place(NamedTuple):
    """As in `Cube`."""

    crs: str | None = None
    transform: tuple[float, ...] | None = None


def plain(value: Any) -> Any:
    """Return an attribute as text, a number, or a list of them."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").rstrip("\0")
    if isinstance(value, np.ndarray):
        values = [plain(each) for each in value.ravel().tolist()]
        return values[0] if len(values) == 1 else values
    return value.item() if isinstance(value, np.generic) else value


def metadata_of(*attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the attributes say, without long lists; a later one counts more."""
    return {
        key: value
        for attrs in attributes
        for key, value in attrs.items()
        if not (isinstance(value, list) and len(value) > _LONGEST)
    }


def meaning_of(attrs: Mapping[str, Any], remarks: list[str]) -> Meaning:
    """Return what the values of an array stand for (CF 2.5.1, 8.1)."""
    missing = [number for key in _MISSING for number in _numbers(attrs.get(key)) if isfinite(number)]
    factor, summand = _one(attrs.get(_FACTOR)), _one(attrs.get(_SUMMAND))
    divisor = _one(attrs.get(_DIVISOR))
    if factor is None and divisor:
        factor = 1 / divisor
    if factor not in {None, 1.0}:
        remarks.append(f"Values were multiplied by the {_FACTOR} {factor:g} of the file.")
    if summand not in {None, 0.0}:
        remarks.append(f"The {_SUMMAND} {summand:g} of the file was added.")
    return Meaning(
        gain=None if factor in {None, 1.0} else np.asarray(factor),
        offset=None if summand in {None, 0.0} else np.asarray(summand),
        missing=tuple(dict.fromkeys(missing)),
    )


def place_of(cube: Variable, axes: tuple[int, int, int], variables: Variables) -> Place:
    """Return the coordinate system and the transform of an image on a grid."""
    grid = _grid(cube, variables)
    crs = next((str(grid[key]) for key in _WKT if grid.get(key)), None)
    numbers = _numbers(str(grid.get("GeoTransform", "")).split())
    if len(numbers) == _TRANSFORM:  # GDAL's order
        x, width, turn, y, turn_y, height = numbers
        return Place(crs, (width, turn, x, turn_y, height, y))
    across, down = (_coordinate(cube.dims[axis], cube, variables) for axis in (axes[1], axes[0]))
    if across is None or down is None:
        return _envi_place(variables, crs)
    (x, width), (y, height) = across, down
    return Place(crs, (width, 0.0, x - width / 2, 0.0, height, y - height / 2))


def pixel_places(cube: Variable, axes: tuple[int, int, int], variables: Variables) -> dict[str, Any]:
    """Return `latitude` and `longitude` `[height, width]` of an image that is no grid, where the file has them."""
    found: dict[str, Any] = {}
    sizes = tuple(cube.shape[axis] for axis in axes[:2])
    for variable in variables.values():
        name = variable.name.rpartition("/")[2].lower()
        for whole in ("latitude", "longitude"):
            if name in {whole, whole[:3]} and variable.shape == sizes:
                found.setdefault(whole, np.asarray(variable.array[...]))
    return found if len(found) == 2 else {}  # noqa: PLR2004 - both or none


def acquired_of(*attributes: Mapping[str, Any]) -> datetime | None:
    """Return when an image was taken, if an attribute says it."""
    for attrs in attributes:
        for key in _WHEN:
            with suppress(ValueError):
                return moment(str(attrs.get(key, "")))
    return None


def moment(text: str) -> datetime:
    """Return a time of ISO 8601, also with a slash in its date or an offset without a colon.

    Raises:
        ValueError: It is something else.
    """
    return datetime.fromisoformat(text.strip().replace("/", "-"))


def _grid(cube: Variable, variables: Variables) -> Mapping[str, Any]:
    name = str(cube.attrs.get("grid_mapping", "spatial_ref")).partition(":")[0].strip()
    for path in (f"{cube.folder}/{name}".strip("/"), name, "crs"):
        if path in variables:
            return variables[path].attrs
    return {}


def _envi_place(variables: Variables, crs: str | None) -> Place:
    """Return the place that NEON writes as ENVI does: texts of its own in the file."""
    texts = {
        variable.name.rpartition("/")[2].lower(): str(plain(variable.array[()]))
        for variable in variables.values()
        if variable.shape == () and np.dtype(variable.array.dtype).kind in "OSU"
    }
    with suppress(ValueError):
        return Place(texts.get(_SYSTEM, crs), transform_of(texts.get(_MAP_INFO, "")))
    return Place(crs)


def _coordinate(dim: str, cube: Variable, variables: Variables) -> tuple[float, float] | None:
    """Return the first value of a coordinate and its step, if that is the same everywhere."""
    for path in (f"{cube.folder}/{dim}".strip("/"), dim):
        variable = variables.get(path) if dim else None
        if variable is None or len(variable.shape) != 1 or variable.shape[0] < 2:  # noqa: PLR2004 - a step needs two
            continue
        if np.dtype(variable.array.dtype).kind not in "iuf":
            continue
        values = np.asarray(variable.array[...], dtype=np.float64)
        step = float(values[-1] - values[0]) / (len(values) - 1)
        if step and np.allclose(np.diff(values), step, rtol=1e-3, atol=0):
            return float(values[0]), step
    return None


def _numbers(value: Any) -> list[float]:
    several = value if isinstance(value, Iterable) and not isinstance(value, str | bytes) else [value]
    found = []
    for each in several:
        with suppress(TypeError, ValueError, struct.error):
            # xarray writes the fill value of floats into Zarr 3 as base64
            text = isinstance(each, str) and each.endswith("=")
            found.append(struct.unpack("<d", base64.b64decode(each))[0] if text else float(each))
    return found


def _one(value: Any) -> float | None:
    numbers = _numbers(value)
    return numbers[0] if len(numbers) == 1 and not isclose(numbers[0], float("nan")) else None
