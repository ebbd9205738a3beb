"""What attributes and variables of a file say of its cube, read from arrays in memory."""

import base64
import struct
from math import inf, nan
from typing import Any

import numpy as np
import pytest

from cuvis_ai_core.data.formats.cf_conventions import (
    acquired_of,
    meaning_of,
    metadata_of,
    moment,
    pixel_places,
    place_of,
    plain,
    time_of,
)
from cuvis_ai_core.data.formats.variable_choice import Variable

CUBE = np.zeros((2, 3, 4), dtype=np.int16)


def _variables(**arrays: Any) -> dict[str, Variable]:
    """Return variables by name: an array, or one with its attributes; `__` stands for a slash."""
    found = {}
    for key, given in arrays.items():
        values, attrs = given if isinstance(given, tuple) else (given, {})
        name, array = key.replace("__", "/"), np.asarray(values)
        found[name] = Variable(name, array, ("",) * array.ndim, attrs)
    return found


def _as_base64(number: float) -> str:
    return base64.b64encode(struct.pack("<d", number)).decode()


@pytest.mark.parametrize(
    ("attrs", "gain", "offset"),
    [
        ({}, None, None),
        ({"scale_factor": 1.0, "add_offset": 0.0}, None, None),
        ({"scale_factor": 2.0, "add_offset": 3.0}, 2.0, 3.0),
        ({"Scale_Factor": 4.0}, 0.25, None),
        ({"Scale_Factor": 4.0, "scale_factor": 2.0}, 2.0, None),
        ({"Scale_Factor": 0.0}, None, None),
        ({"Scale_Factor": 1.0}, None, None),
    ],
)
def test_scale_and_offset(attrs: dict[str, Any], gain: float | None, offset: float | None) -> None:
    """One number each, which is said where it changes something."""
    remarks: list[str] = []
    found = meaning_of(attrs, np.dtype("i2"), remarks)
    assert (found.gain, found.offset) == (gain, offset)
    assert len(remarks) == sum(each is not None for each in (gain, offset))


def test_scale_and_offset_of_each_band() -> None:
    """A list has one for each band; what fits nothing is left out, which is said."""
    remarks: list[str] = []
    found = meaning_of({"scale_factor": [2.0, 3.0], "add_offset": [0.0, 1.0]}, np.dtype("i2"), remarks, 2)
    assert (np.asarray(found.gain).tolist(), np.asarray(found.offset).tolist()) == ([2, 3], [0, 1])
    assert remarks == [
        "Values were multiplied by the scale_factor of each band of the file.",
        "The add_offset of each band of the file was added.",
    ]
    assert np.asarray(meaning_of({"Scale_Factor": [2.0, 4.0]}, np.dtype("i2"), [], 2).gain).tolist() == [0.5, 0.25]
    assert meaning_of({"scale_factor": [1.0, 1.0], "Scale_Factor": [0.0, 1.0]}, np.dtype("i2"), [], 2).gain is None


@pytest.mark.parametrize("value", [[2.0, 3.0], "none", nan, inf])
@pytest.mark.parametrize("name", ["scale_factor", "add_offset", "Scale_Factor"])
def test_scales_that_fit_nothing_are_said(name: str, value: Any) -> None:
    """They change no value."""
    remarks: list[str] = []
    found = meaning_of({name: value}, np.dtype("i2"), remarks, 3)
    assert (found.gain, found.offset) == (None, None)
    assert remarks == [f"The {name} of the file is neither a number nor one for each band; it was left out."]


@pytest.mark.parametrize(
    ("attrs", "dtype", "missing"),
    [
        ({"_FillValue": -9999, "missing_value": -9999.0}, "i2", (-9999,)),
        ({"missing_value": [1, 2], "nodata": "3"}, "i2", (1, 2, 3)),
        ({"_FillValue": nan, "NoData": inf, "no_data": "none"}, "f4", ()),
        ({"_FillValue": _as_base64(-9999.0)}, "f4", (-9999,)),
        ({"_FillValue": _as_base64(nan)}, "f4", ()),
        ({"_FillValue": -1, "_Unsigned": "true"}, "i1", (255,)),
        ({"_FillValue": 255, "_Unsigned": "False"}, "u1", (-1,)),
        ({"_FillValue": -1, "_Unsigned": "false"}, "i1", (-1,)),
        ({"_FillValue": -1.0, "_Unsigned": "true"}, "f4", (-1,)),
        ({"_FillValue": [200, -1], "_Unsigned": "true"}, "i1", (200, 255)),
        ({"_FillValue": 1e30, "_Unsigned": "true"}, "i1", (1e30,)),
    ],
)
def test_what_stands_for_no_data(attrs: dict[str, Any], dtype: str, missing: tuple[float, ...]) -> None:
    """Under the names of several programs, each value once, in the type that is meant."""
    found = meaning_of(attrs, np.dtype(dtype), [])
    assert found.missing == missing
    other = {("i1", "true"): np.dtype("u1"), ("u1", "False"): np.dtype("i1")}
    assert found.signed == other.get((dtype, attrs.get("_Unsigned", "")))


@pytest.mark.parametrize(
    ("attrs", "dtype", "valid"),
    [
        ({"valid_range": [1, 5]}, "i2", (1, 5)),
        ({"valid_range": [1, 5], "valid_min": 2}, "i2", (1, 5)),
        ({"valid_range": 1, "valid_min": 2}, "i2", (2, inf)),
        ({"valid_range": "1, 5"}, "i2", (1, 5)),
        ({"valid_range": "[1 5]", "valid_min": 2}, "i2", (1, 5)),
        ({"valid_range": "good", "valid_max": "5"}, "i2", (-inf, 5)),
        ({"valid_range": "1s, 5s"}, "i2", None),
        ({"valid_max": 5}, "i2", (-inf, 5)),
        ({"valid_range": [3, -3], "_Unsigned": "true"}, "i1", (3, 253)),
        ({"valid_max": -3, "_Unsigned": "true"}, "i1", (-inf, 253)),
        ({"valid_max": inf, "valid_min": nan}, "i2", None),
        ({"valid_range": [nan, 5]}, "i2", (-inf, 5)),
        ({"valid_range": [0, 1.5], "scale_factor": 0.1}, "i2", None),
        ({"valid_range": [0, 15], "scale_factor": 0.1}, "i2", (0, 15)),
        ({"valid_range": [0, 1.5], "scale_factor": 0.1}, "f4", (0, 1.5)),
        ({"valid_range": [0, 1.5]}, "i2", (0, 1.5)),
    ],
)
def test_what_is_valid(attrs: dict[str, Any], dtype: str, valid: tuple[float, float] | None) -> None:
    """Limits count as they are stored; one of two may be none."""
    remarks: list[str] = []
    assert meaning_of(attrs, np.dtype(dtype), remarks).valid == valid
    assert any("count as no data" in remark for remark in remarks) == (valid is not None)
    unread = attrs.get("valid_range") in [1, "good", "1s, 5s"]
    assert any("is no pair of numbers" in remark for remark in remarks) == unread


@pytest.mark.parametrize(
    ("attrs", "dtype", "valid", "left_out"),
    [
        ({"valid_range": [-1, 70000]}, "u2", None, ["-1", "70000"]),
        ({"valid_range": [0, -1]}, "u2", (0, inf), ["-1"]),
        ({"valid_max": -1}, "u2", None, ["-1"]),
        ({"valid_min": 70000, "valid_max": 7}, "u2", (-inf, 7), ["70000"]),
        ({"valid_range": [-1, 70000]}, "f4", (-1, 70000), []),
        ({"valid_range": [0, -1], "_Unsigned": "true"}, "i8", (0, 2.0**64), []),
        ({"valid_range": [3, 200], "_Unsigned": "true"}, "i1", (3, 200), []),
        ({"valid_range": [3, 300], "_Unsigned": "true"}, "i1", (3, inf), ["300"]),
        ({"valid_max": 1e30, "_Unsigned": "true"}, "i1", None, ["1e+30"]),
    ],
)
def test_limits_that_no_value_can_have(
    attrs: dict[str, Any], dtype: str, valid: tuple[float, float] | None, left_out: list[str]
) -> None:
    """One that the type of the values cannot hold would exclude none of them, or all: it is left out, which is said."""
    remarks: list[str] = []
    assert meaning_of(attrs, np.dtype(dtype), remarks).valid == valid
    for each in left_out:
        assert any(f"The limit {each} of valid values" in remark for remark in remarks)
    assert sum("was left out" in remark for remark in remarks) == len(left_out)


@pytest.mark.parametrize(
    ("variables", "attrs", "crs", "transform"),
    [
        ({"spatial_ref": (0, {"crs_wkt": "W", "GeoTransform": "1 2 3 4 5 6"})}, {}, "W", (2, 3, 1, 5, 6, 4)),
        ({"spatial_ref": (0, {"spatial_ref": "W", "GeoTransform": "1 2 3"})}, {}, "W", None),
        ({"g__grid": (0, {"crs_wkt": "W"})}, {"grid_mapping": "grid: y x"}, "W", None),
        ({"grid": (0, {"crs_wkt": "W"}), "g__grid": (0, {"crs_wkt": "own"})}, {"grid_mapping": "grid"}, "own", None),
        ({"crs": (0, {"crs_wkt": "W"})}, {}, "W", None),
        ({"grid": (0, {"crs_wkt": "W"})}, {"grid_mapping": "/grid"}, "W", None),
        ({"utm": (0, {"spatial_ref": "W", "GeoTransform": "1 2 3 4 5 6"})}, {}, "W", (2, 3, 1, 5, 6, 4)),
        (
            {"utm": (0, {"spatial_ref": "W", "GeoTransform": "1 2 3 4 5 6"}), "x": [0, 2, 4], "y": [9, 6]},
            {},
            "W",
            (2, 0, -1, 0, -3, 10.5),
        ),
        ({"utm": (0, {"crs_wkt": "PROJCS[]"}), "x": ([0, 2, 4], {"units": "degrees_east"})}, {}, None, None),
        ({"utm": (0, {"crs_wkt": "GEOGCS[]"}), "x": ([0, 2, 4], {"units": "degrees_east"})}, {}, "GEOGCS[]", None),
        ({"utm": (0, {"spatial_ref": "W"}), "other": (0, {"crs_wkt": "V"})}, {}, None, None),
        ({}, {"_CRS": {"wkt": "W"}}, "W", None),
        ({}, {"_CRS": {"url": "W"}}, None, None),
        ({"g__x": [0, 2, 4], "g__y": [9.0, 6.0]}, {}, None, (2, 0, -1, 0, -3, 10.5)),
        ({"x": [0.0, 2.0], "y": [9.0, 6.0, 3.0]}, {}, None, (2, 0, -1, 0, -3, 10.5)),
        ({"x": [0, 2, 5], "y": [9, 6]}, {}, None, None),
        ({"x": [2, 2, 2], "y": [9, 6]}, {}, None, None),
        ({"x": [0], "y": [9, 6]}, {}, None, None),
        ({"x": [[0, 2, 4]], "y": [9, 6]}, {}, None, None),
        ({"x": ["a", "b", "c"], "y": [9, 6]}, {}, None, None),
        ({"x": [0, 2, 4]}, {}, None, None),
        (
            {"n__Map_Info": "UTM, 1, 1, 7, 9, 2, 3, 11, North", "n__Coordinate_System_String": "W"},
            {},
            "W",
            (2, 0, 7, 0, -3, 9),
        ),
        ({"map_info": "UTM, 1", "crs": (0, {"crs_wkt": "W"})}, {}, "W", None),
    ],
)
def test_where_an_image_lies(
    variables: dict[str, Any], attrs: dict[str, Any], crs: str | None, transform: tuple[float, ...] | None
) -> None:
    """By the transform of GDAL, the middles of pixels on an even grid, or what NEON writes; in its group first.

    An image that names no system, as after a computation with xarray, has the one that is in the file, unless its
    coordinates are of another; its own coordinates come before the transform that stands there.
    """
    cube = Variable("g/cube", CUBE, ("y", "x", "band"), attrs)
    assert place_of(cube, (0, 1, 2), _variables(**variables)) == (crs, transform)


@pytest.mark.parametrize(
    ("value", "attrs", "when"),
    [
        (["2024-05-06T07:08:09"], {}, "2024-05-06T07:08:09"),
        ([3], {"units": "MINUTES since 2024-05-06"}, "2024-05-06T00:03:00"),
        ([7], {"units": "micros since 2024-05-06"}, None),
        ([7], {"units": "microseconds since 2024-05-06", "calendar": "Standard"}, "2024-05-06T00:00:00.000007"),
        ([7000], {"units": "nanosecond since 2024-05-06"}, "2024-05-06T00:00:00.000007"),
        ([1], {"units": "days since 2024-05-06", "calendar": "julian"}, None),
        ([1e30], {"units": "days since 2024-05-06"}, None),
        ([1], {"units": "days since then"}, None),
        ([1], {}, None),
        ([1, 2], {"units": "days since 2024-05-06"}, None),
    ],
)
def test_a_variable_says_when(value: list[Any], attrs: dict[str, Any], when: str | None) -> None:
    """One value, as a text or counted from a moment; what nobody understands says nothing."""
    found = time_of(_variables(other=[5], scene__Time=(value, attrs)))
    assert (found and found.isoformat()) == when


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("2024/5/6 07:08:09", "2024-05-06T07:08:09"),
        ("2024:05:06 07:08:09", "2024-05-06T07:08:09"),
        (" 2024-05-06 07:08:09 UTC", "2024-05-06T07:08:09+00:00"),
        ("2024-05-06T07:08:09+0200", "2024-05-06T07:08:09+02:00"),
    ],
)
def test_a_moment(text: str, when: str) -> None:
    """ISO 8601, and spellings of it that instruments have."""
    assert moment(text).isoformat() == when


@pytest.mark.parametrize(
    ("attributes", "when"),
    [
        (({"Time Coverage Start": "2024-05-06"},), "2024-05-06T00:00:00"),
        (({"start_time": "soon", "time": "2024-05-06"},), "2024-05-06T00:00:00"),
        (({"time": "2023-01-01", "acquired": "2024-05-06"},), "2024-05-06T00:00:00"),
        (({"title": "2023-01-01"}, {"acquired": "2024-05-06"}), "2024-05-06T00:00:00"),
        (({"title": "2023-01-01"},), None),
    ],
)
def test_attributes_say_when(attributes: tuple[dict[str, Any], ...], when: str | None) -> None:
    """The first that names a moment, however its name is written."""
    found = acquired_of(*attributes)
    assert (found and found.isoformat()) == when


def test_metadata_are_short() -> None:
    """Lists of more than 64 are none for people; what is said last counts."""
    kept = {"a": 2, "list": [0] * 64}
    assert metadata_of({"a": 1, "b": 3, "long": [0] * 65}, kept) == {"b": 3, **kept}


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (b"nm\xff\0\0", "nm\ufffd"),
        (np.array([7]), 7),
        (np.array([[b"a", b"b"]]), ["a", "b"]),
        (np.float32(0.5), 0.5),
        ("text", "text"),
    ],
)
def test_attributes_are_plain(value: object, found: object) -> None:
    """Texts, numbers and lists of them; a list of one is what it holds."""
    assert plain(value) == found
    assert type(plain(value)) is type(found)


def test_places_of_pixels() -> None:
    """Both, of the size of the image, under a short name or a long one in any group; the first counts."""
    cube = Variable("cube", np.zeros((4, 2, 3)), ("",) * 3)
    there, other = np.ones((2, 3)), np.full((2, 3), 2.0)
    found = pixel_places(cube, (1, 2, 0), _variables(a__Lat=there, lon=there, latitude=other, longitude=np.ones(2)))
    assert set(found) == {"latitude", "longitude"}
    assert found["latitude"].tolist() == there.tolist()
    assert pixel_places(cube, (1, 2, 0), _variables(lat=there, lon=there.T)) == {}
