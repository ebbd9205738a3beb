"""Products of the PRISMA satellite (ASI): HDF-EOS5 files with a cube of the near and one of the short-wave infrared."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from cuvis_ai_core.data.cube import Cube
from cuvis_ai_core.data.formats.cf_conventions import acquired_of, metadata_of, plain
from cuvis_ai_core.data.formats.hdf5_datasets import reopened
from cuvis_ai_core.data.formats.hdf5_external_links import inside, refuse_elsewhere
from cuvis_ai_core.data.formats.stored_image import Joined, Meaning, Stored, data_of
from cuvis_ai_core.data.wavelength_units import Numbers, in_nanometres
from cuvis_ai_core.errors import CubeError

_SWATHS: Final = "HDFEOS/SWATHS"
_DATA: Final = "Data Fields"
_AXES: Final = (0, 2, 1)
"""Lines, then bands, then samples: the band is in the middle."""

_PARTS: Final = ("VNIR", "SWIR")
_PIXEL: Final = 30.0
"""Metres."""

_FULL: Final = 65535.0


class _Part(NamedTuple):
    image: Stored
    wavelengths: Numbers
    fwhm: Numbers
    good: Numbers


def is_prisma(path: Path, file: Any, array: str | None) -> bool:
    """Tell whether a file is a product with hyperspectral cubes of PRISMA, of which none is asked for by its path."""
    return _swath(path, file) is not None and (array is None or array.upper() in _PARTS)


def read_prisma(path: Path, file: Any, array: str | None = None) -> Cube:
    """Read both cubes, their bands in the order of the file: VNIR, then SWIR.

    Level 1 is radiance, `value / scale factor - offset` (W m-2 sr-1 um-1); level 2 is scaled between the least and the
    greatest value that the file names (PRISMA Products Specification Document, ASI 2020). A band without a
    wavelength, or whose flag is 0, has no data. A pixel of level 2D that is 0 in all bands lies outside the scene.

    Args:
        path: The file.
        file: The same, opened.
        array: `VNIR` or `SWIR`, for one of them.

    Raises:
        CubeError: Something is missing or does not fit.
    """
    swath, attrs = _swath(path, file), {key: plain(value) for key, value in file.attrs.items()}
    place = f"{_SWATHS}/{swath}/{_DATA}"
    fields = inside(path, file, place)
    level = str(swath).split("_")[1]
    names = [name for name in _PARTS if f"{name}_Cube" in fields and (array is None or name == array.upper())]
    if not names:
        raise CubeError(f"The PRISMA product '{path}' has no cube '{array}_Cube' in {swath}.", path=path)
    remarks: list[str] = []
    parts = [_part(path, name, inside(path, file, f"{place}/{name}_Cube"), attrs, level) for name in names]
    stated, widths, good = (np.concatenate([part[index] for part in parts]) for index in (1, 2, 3))
    wavelengths, fwhm = in_nanometres(stated, "nm", widths, remarks)
    image = parts[0].image if len(parts) == 1 else Joined([part.image for part in parts])
    return Cube(
        data_of(image, path),
        wavelengths,
        path,
        fwhm=fwhm,
        good_bands=good > 0,
        crs=f"EPSG:{attrs['Epsg_Code']}" if level.endswith("D") and "Epsg_Code" in attrs else None,
        transform=_transform(attrs, image.shape) if level.endswith("D") else None,
        acquired=_acquired(attrs),
        metadata=metadata_of(attrs) | _places(path, file, str(swath), image.shape),
        remarks=tuple(remarks),
    )


def _at(path: Path, file: Any, name: str) -> Any:
    """Return an item of the file, None where there is none."""
    with suppress(KeyError):
        return inside(path, file, name)


def _swath(path: Path, file: Any) -> str | None:
    """Return the group of the coregistered cubes, else of the ones that are not."""
    groups = list(_at(path, file, _SWATHS) or ())
    found = [
        name for ending in ("_HCO", "_HRC") for name in groups if name.startswith("PRS_L") and name.endswith(ending)
    ]
    return next(
        (
            name
            for name in found
            if any(f"{part}_Cube" in (_at(path, file, f"{_SWATHS}/{name}/{_DATA}") or ()) for part in _PARTS)
        ),
        None,
    )


def _part(path: Path, name: str, dataset: Any, attrs: Mapping[str, Any], level: str) -> _Part:
    part = name.capitalize()
    image = Stored(dataset, reopened(path, dataset.name), _AXES, _meaning(path, part, attrs, level))
    lists = [_list(path, f"{key}_{part}", attrs, image.shape[2]) for key in ("List_Cw", "List_Fwhm")]
    flags = f"List_Cw_{part}_Flags"
    good = _list(path, flags, attrs, image.shape[2]) if flags in attrs else np.ones(image.shape[2])
    return _Part(image, lists[0], lists[1], good)


def _list(path: Path, key: str, attrs: Mapping[str, Any], bands: int) -> Numbers:
    values = np.atleast_1d(np.asarray(attrs.get(key, ()), dtype=np.float64))
    if len(values) != bands:
        raise CubeError(
            f"The PRISMA product '{path}' has {len(values)} values in its attribute '{key}' for {bands} bands.",
            hint="Get the product again; products of level 1 to 2D have one value a band.",
            path=path,
        )
    return values


def _meaning(path: Path, part: str, attrs: Mapping[str, Any], level: str) -> Meaning:
    outside = 0.0 if level.endswith("D") else None
    try:
        if level == "L1":
            factor, summand = 1 / float(attrs[f"ScaleFactor_{part}"]), -float(attrs[f"Offset_{part}"])
        else:
            summand = float(attrs[f"L2Scale{part}Min"])
            factor = (float(attrs[f"L2Scale{part}Max"]) - summand) / _FULL
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise CubeError(
            f"The PRISMA product '{path}' has no scale of its {part.upper()} values: {error}.",
            hint="Ask for the stored values by the path of the cube, as it is named in the file.",
            path=path,
        ) from error
    return Meaning(np.asarray(factor), np.asarray(summand), outside=outside)


def _transform(attrs: Mapping[str, Any], shape: tuple[int, int, int]) -> tuple[float, ...] | None:
    """Return the transform of level 2D; its corners are the middles of the outermost pixels, or their outer ends."""
    keys = ("ULcorner_easting", "ULcorner_northing", "LRcorner_easting", "LRcorner_northing")
    try:
        left, top, right, bottom = (float(attrs[f"Product_{key}"]) for key in keys)
    except (KeyError, TypeError, ValueError):
        return None
    height, width, _ = shape
    # Products differ in what they call a corner; a pixel of 30 m tells which it is.
    ends = abs((right - left) / width - _PIXEL) < abs((right - left) - _PIXEL * (width - 1)) / width
    if ends:
        return ((right - left) / width, 0.0, left, 0.0, (bottom - top) / height, top)
    return (_PIXEL, 0.0, left - _PIXEL / 2, 0.0, -_PIXEL, top + _PIXEL / 2)


def _acquired(attrs: Mapping[str, Any]) -> datetime | None:
    return acquired_of({"Product_StartTime": attrs.get("Product_StartTime", "")})


def _places(path: Path, file: Any, swath: str, shape: tuple[int, int, int]) -> dict[str, Any]:
    found = {}
    for name in ("Latitude", "Longitude"):
        ways = (f"{_SWATHS}/{swath}/Geolocation Fields/{each}" for each in (name, f"{name}_VNIR"))
        dataset = next((each for way in ways if (each := _at(path, file, way)) is not None), None)
        if dataset is not None and getattr(dataset, "shape", None) == shape[:2]:
            refuse_elsewhere(path, dataset)
            found[name.lower()] = dataset[...]
    return found
