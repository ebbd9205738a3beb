"""What attributes mean by convention: no data and scale (CF), where (CF grid mappings, coordinates), when (ACDD)."""

import base64
import re
import struct
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from math import inf, isfinite
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cuvis_ai_core._printable_text import shown_in_line
from cuvis_ai_core.data.formats.envi.map_and_time_fields import transform_of
from cuvis_ai_core.data.formats.stored_image import Meaning
from cuvis_ai_core.data.formats.variable_choice import Variable, Variables
from cuvis_ai_core.data.wavelength_texts import numbers_in

_MISSING: Final = (
    "_FillValue",
    "missing_value",
    "nodata",
    "no_data",
    "NoData",
    "data_ignore_value",
    "Data_Ignore_Value",
)
UNWRITTEN: Final = 9.969209968386869e36
"""What NetCDF fills floats with that nobody wrote."""

_FACTOR: Final = "scale_factor"
_DIVISOR: Final = "Scale_Factor"
"""As ENVI and NEON mean it: values are divided by it."""

_SUMMAND: Final = "add_offset"
_WKT: Final = ("crs_wkt", "spatial_ref")
_MAP_INFO: Final = "map_info"
_SYSTEM: Final = "coordinate_system_string"
_TRANSFORM: Final = 6
_LIMITS: Final = 2
_WHEN: Final = (
    *("timecoveragestart", "acquisitiondatetime", "acquisitiontime", "acquisitiondate", "starttime"),
    *("productstarttime", "acquired", "datetime", "sensingstart", "sensingtime", "startdatetime", "time"),
)
"""Names in small letters, without what separates their words."""

_SINCE: Final = re.compile(r"(nano|micro|milli)?(seconds?|minutes?|hours?|days?)\s+since\s+(.+)", re.IGNORECASE)
_SECONDS: Final = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0}
_PREFIXES: Final = {None: 1.0, "milli": 1e-3, "micro": 1e-6, "nano": 1e-9}
_CALENDARS: Final = ("", "standard", "gregorian", "proleptic_gregorian")
_SAID: Final = 80
"""Signs of a text that a remark names."""

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


def meaning_of(attrs: Mapping[str, Any], dtype: np.dtype[Any], remarks: list[str], channels: int = 1) -> Meaning:
    """Return what the values of an array stand for (CF 2.5.1, 8.1; NUG, Attribute Conventions).

    Args:
        attrs: The attributes of the array.
        dtype: The type of its values.
        remarks: What somebody may want to know is added here.
        channels: How many bands it has: scale and offset may be a list of one for each.
    """
    signed = _signs(attrs, dtype)
    missing = [number for key in _MISSING for number in _numbers(attrs.get(key)) if isfinite(number)]
    missing = [_meant(number, dtype, signed) for number in missing]
    factor, summand, divisor = (_stated(attrs, name, channels, remarks) for name in (_FACTOR, _SUMMAND, _DIVISOR))
    if factor is None and divisor is not None and divisor.all():
        factor = 1 / divisor
    gain = None if factor is None or (factor == 1).all() else factor
    offset = None if summand is None or not summand.any() else summand
    if gain is not None:
        remarks.append(f"Values were multiplied by the {_FACTOR}{_shown(gain)} of the file.")
    if offset is not None:
        remarks.append(f"The {_SUMMAND}{_shown(offset)} of the file was added.")
    return Meaning(
        gain=gain,
        offset=offset,
        missing=tuple(dict.fromkeys(missing)),
        valid=_valid(attrs, dtype, signed, remarks),
        signed=signed,
    )


def _stated(attrs: Mapping[str, Any], name: str, channels: int, remarks: list[str]) -> NDArray[np.float64] | None:
    """Return the one number of an attribute, or its numbers for each band."""
    numbers = _numbers(attrs.get(name))
    if len(numbers) in {1, channels} and all(map(isfinite, numbers)):
        return np.asarray(numbers[0] if len(numbers) == 1 else numbers, dtype=np.float64)
    if name in attrs:
        remarks.append(f"The {name} of the file is neither a number nor one for each band; it was left out.")
    return None


def _shown(numbers: NDArray[np.float64]) -> str:
    return f" {numbers:g}" if numbers.ndim == 0 else " of each band"


def _signs(attrs: Mapping[str, Any], dtype: np.dtype[Any]) -> np.dtype[Any] | None:
    """Return the type that integers are meant to have: NetCDF's older formats have only those with a sign."""
    kind = {("i", "true"): "u", ("u", "false"): "i"}.get((dtype.kind, str(attrs.get("_Unsigned", "")).lower()))
    return np.dtype(f"{kind}{dtype.itemsize}") if kind else None


def _valid(
    attrs: Mapping[str, Any], dtype: np.dtype[Any], signed: np.dtype[Any] | None, remarks: list[str]
) -> tuple[float, float] | None:
    """Return the least and the greatest value that are none of "no data", as they are stored."""
    limits: Any = _numbers(attrs.get("valid_range"))
    if len(limits) != _LIMITS:
        if "valid_range" in attrs:
            said = shown_in_line(str(attrs["valid_range"]))[:_SAID]
            remarks.append(f"The valid_range '{said}' of the file is no pair of numbers; it was left out.")
        limits = attrs.get("valid_min"), attrs.get("valid_max")
    low, high = map(_one, limits)
    packed = [number for name in (_FACTOR, _SUMMAND) for number in _numbers(attrs.get(name))]
    stated = [each for each in (low, high) if each is not None]
    # CF has limits in stored values; files of the field have them in physical ones, too.
    if not stated or (packed and dtype.kind in "iu" and not all(each.is_integer() for each in stated)):
        return None  # none, or of unpacked values, which CF does not have
    low, high = (_held(each, dtype, signed, remarks) for each in (low, high))
    if low is None and high is None:
        return None
    words = [f"{word} {each:g}" for word, each in (("below", low), ("above", high)) if each is not None]
    remarks.append(f"Values {' and '.join(words)} count as no data: the file says that they are not valid.")
    return -inf if low is None else low, inf if high is None else high


def _held(limit: float | None, dtype: np.dtype[Any], signed: np.dtype[Any] | None, remarks: list[str]) -> float | None:
    """Return a limit that a type can hold; any other excludes no value, or all: -1 is written for the greatest, too."""
    kind = signed or dtype
    if limit is None or kind.kind not in "iu":
        return limit
    meant = _meant(limit, dtype, signed)
    if float(np.iinfo(kind).min) <= meant <= float(np.iinfo(kind).max):
        return meant
    remarks.append(f"The limit {limit:g} of valid values in the file is none that {kind} can hold; it was left out.")
    return None


def _meant(number: float, dtype: np.dtype[Any], signed: np.dtype[Any] | None) -> float:
    """Return what is written in the stored type: -1 of bytes that are meant without a sign is 255."""
    if signed is None or not np.iinfo(dtype).min <= number <= np.iinfo(dtype).max:
        return number
    return float(np.asarray(int(number)).astype(signed))


def place_of(cube: Variable, axes: tuple[int, int, int], variables: Variables) -> Place:
    """Return the coordinate system and the transform of an image on a grid."""
    grid, is_named = _grid(cube, variables)
    crs = _wkt(grid) or _of_gdal(cube)
    numbers = _numbers(str(grid.get("GeoTransform", "")).split())
    across, down = (_coordinate(cube.dims[axis], cube, variables) for axis in (axes[1], axes[0]))
    # What the image does not name may be of an image that it was cut from, or made coarser than.
    if len(numbers) == _TRANSFORM and (is_named or across is None or down is None):  # GDAL's order
        x, width, turn, y, turn_y, height = numbers
        return Place(crs, (width, turn, x, turn_y, height, y))
    if across is None or down is None:
        return _envi_place(variables, crs)
    # CF's coordinates are of the middles of pixels; a transform is of the corner.
    (x, width), (y, height) = across, down
    return Place(crs, (width, 0.0, x - width / 2, 0.0, height, y - height / 2))


def unread_system(cube: Variable, variables: Variables) -> str | None:
    """Return a remark where a coordinate system is described by CF's attributes and not by WKT."""
    name = plain(_grid(cube, variables)[0].get("grid_mapping_name"))
    if not name:
        return None
    return f"Its coordinate system ({name}) is described by attributes and not by crs_wkt: results have none."


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
        # `time_coverage_start`, `timeCoverageStart` and `Time Coverage Start` are one.
        by_name = {re.sub(r"[\W_]+", "", key.lower()): value for key, value in attrs.items()}
        for key in _WHEN:
            with suppress(ValueError):
                return moment(str(by_name.get(key, "")))
    return None


def time_of(variables: Variables) -> datetime | None:
    """Return when an image was taken, if a variable `time` of one value says it (CF 4.4)."""
    for variable in variables.values():
        kind = np.dtype(variable.array.dtype).kind
        if variable.name.rpartition("/")[2].lower() != "time" or np.prod(variable.shape) != 1:
            continue
        value = plain(np.asarray(variable.array[...]).ravel()[:1])
        since = _SINCE.fullmatch(str(variable.attrs.get("units", "")).strip())
        with suppress(ValueError, OverflowError, TypeError):
            if kind not in "iuf":
                return moment(str(value))
            if since and str(variable.attrs.get("calendar", "")).lower() in _CALENDARS:
                prefix, unit = (part and part.lower() for part in since.group(1, 2))
                seconds = float(value) * _PREFIXES[prefix] * _SECONDS[unit.rstrip("s")]
                return moment(since[3]) + timedelta(seconds=seconds)
    return None


def moment(text: str) -> datetime:
    """Return a time of ISO 8601, also with `/` or `:` in its date, or an offset without a colon.

    Raises:
        ValueError: It is something else.
    """
    found = re.sub(
        r"^(\d{4})[:/](\d\d?)[:/](\d\d?)", lambda date: f"{date[1]}-{date[2]:0>2}-{date[3]:0>2}", text.strip()
    )
    # Python reads most of ISO 8601 from 3.11 on; these two spellings it does not.
    return datetime.fromisoformat(re.sub(r"\s*\bUTC$", "Z", found))


def _grid(cube: Variable, variables: Variables) -> tuple[Mapping[str, Any], bool]:
    """Return what the file says of the grid of an image, and whether it is found by its name."""
    name = str(cube.attrs.get("grid_mapping", "spatial_ref")).partition(":")[0].strip()
    for path in (f"{cube.folder}/{name}".strip("/"), name.strip("/"), "crs"):  # it may be named from the root on
        if path in variables:
            return variables[path].attrs, True
    # What xarray has computed has lost the name; the system is still in the file.
    stated = [each.attrs for each in variables.values() if _wkt(each.attrs)]
    if len(stated) != 1 or (_is_in_degrees(cube, variables) and _wkt(stated[0]).startswith("PROJ")):
        return {}, False
    return stated[0], False


def _wkt(attrs: Mapping[str, Any]) -> str:
    return next((str(attrs[key]) for key in _WKT if attrs.get(key)), "")


def _is_in_degrees(cube: Variable, variables: Variables) -> bool:
    paths = (path for dim in cube.dims if dim for path in (f"{cube.folder}/{dim}".strip("/"), dim))
    units = [str(variables[path].attrs.get("units", "")) for path in paths if path in variables]
    return any(each.startswith("degree") for each in units)


def _of_gdal(cube: Variable) -> str | None:
    """Return the coordinate system that GDAL writes beside an array of Zarr."""
    stated = cube.attrs.get("_CRS")
    return str(stated["wkt"]) if isinstance(stated, Mapping) and stated.get("wkt") else None


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
        # Loosely: coordinates are often written as float32, whose steps differ in the last digits.
        if step and np.allclose(np.diff(values), step, rtol=1e-3, atol=0):
            return float(values[0]), step
    return None


def _numbers(value: Any) -> list[float]:
    # A pair is often written as a text.
    if isinstance(value, str) and (listed := numbers_in(value)) is not None:
        value = listed.tolist()
    several = value if isinstance(value, Iterable) and not isinstance(value, str | bytes) else [value]
    found = []
    for each in several:
        with suppress(TypeError, ValueError, struct.error):
            # xarray writes the fill value of floats into Zarr 3 as base64
            # Eight bytes in base64 end in one '='.
            text = isinstance(each, str) and each.endswith("=")
            found.append(struct.unpack("<d", base64.b64decode(each))[0] if text else float(each))
    return found


def _one(value: Any) -> float | None:
    numbers = _numbers(value)
    return numbers[0] if len(numbers) == 1 and isfinite(numbers[0]) else None
