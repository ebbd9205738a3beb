"""Cubes in GeoTIFF, and in what else GDAL opens with pixels in one file; of EnMAP and DESIS with their metadata."""

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cuvis_ai_core.data.cube import Cube
from cuvis_ai_core.data.decompression_bombs import refuse_bomb
from cuvis_ai_core.data.formats.band_wavelengths import FWHM, GOOD, WAVELENGTHS, Listed, attribute_lists
from cuvis_ai_core.data.formats.cf_conventions import acquired_of
from cuvis_ai_core.data.formats.dlr_metadata import Product, read_product
from cuvis_ai_core.data.formats.ground_control_points import CONTROL_POINTS, POINTS_CRS
from cuvis_ai_core.data.formats.optional_libraries import library, readable
from cuvis_ai_core.data.formats.refused_companions import refuse_companions
from cuvis_ai_core.data.formats.stored_image import Meaning, Opening, Stored, data_of
from cuvis_ai_core.data.wavelength_texts import lengths_in
from cuvis_ai_core.data.wavelength_units import Numbers, in_nanometres
from cuvis_ai_core.errors import CubeError
from cuvis_ai_core.node.dtypes import floating_for

_DRIVERS: Final = {
    b"\x00\x00\x00\x0cjP  ": "JP2OpenJPEG",
    b"\xff\x4f\xff\x51": "JP2OpenJPEG",
    b"EHFA_HEADER_TAG": "HFA",
    **dict.fromkeys((b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"), "GTiff"),
}
"""By the begin of a file, formats whose pixels lie in it: a virtual one would open any other file, or an address."""

_IMAGERY: Final = "IMAGERY"
"""Where GDAL keeps what it knows of a sensor."""

_DESCRIPTION: Final = "TIFFTAG_IMAGEDESCRIPTION"
_OF_TIFFFILE: Final = ("shape", "axes", "truncated")
_WAVE_UNITS: Final = ("wavelength_units", "wavelength_unit")


class _Windows:
    """The pixels of an open raster, `[channel, height, width]`: read by windows, NaN where it has no data."""

    def __init__(self, raster: Any, module: Any) -> None:
        self.raster = raster
        self._window = module.windows.Window
        self._channels = _channels(raster)
        self._alpha = next((band for band in raster.indexes if band not in self._channels), None)
        self._masked = self._alpha is not None or any(
            flags != [module.enums.MaskFlags.all_valid] for flags in raster.mask_flag_enums
        )
        # Bands may have types of their own; an image has one.
        raw = np.result_type(*(raster.dtypes[band - 1] for band in self._channels))
        self.shape = (len(self._channels), raster.height, raster.width)
        self.dtype = np.dtype(floating_for(raw)) if self._masked else raw
        self.chunks = (len(self._channels), *raster.block_shapes[0])

    def __getitem__(self, key: tuple[slice, slice, slice]) -> NDArray[Any]:
        bands, rows, columns = key
        window = self._window(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
        # masked only where there is a mask: it costs an array of the image's size.
        values = self.raster.read(self._channels[bands], window=window, masked=self._masked)
        if not self._masked:
            return np.asarray(values)
        real = np.asarray(values.astype(self.dtype).filled(np.nan))
        if self._alpha is not None:  # which GDAL itself heeds in files of 2 or 4 bands alone
            real[:, self.raster.read(self._alpha, window=window) == 0] = np.nan
        return real


def _channels(raster: Any) -> list[int]:
    """Return the numbers of its bands, from 1, without one of transparency: that is a mask."""
    channels = [band for band, colour in zip(raster.indexes, raster.colorinterp, strict=True) if colour.name != "alpha"]
    return channels or list(raster.indexes)


def _opening(path: Path) -> Opening:
    """Return what opens a raster, by the driver of what it begins with and no other."""
    rasterio = library("rasterio", "geotiff", path)
    for part in ("windows", "enums"):
        library(f"rasterio.{part}", "geotiff", path)

    driver = _driver(path)
    refuse_companions(path, _DRIVERS)

    @contextmanager
    def opened() -> Iterator[Any]:
        with readable(path, "a raster file"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a raster without a place is one, too
            # The driver is named: else GDAL tries all, a VRT among them, which opens any file or address.
            with rasterio.open(path, driver=driver) as raster:
                yield _Windows(raster, rasterio)

    return opened


def _driver(path: Path) -> str:
    with path.open("rb") as stream:
        begin = stream.read(16)
    found = next((driver for magic, driver in _DRIVERS.items() if begin.startswith(magic)), None)
    if found is None:
        raise CubeError(
            f"The cube '{path}' is not a raster file that can be read: it begins like none.",
            hint="TIFF, JPEG 2000 and ERDAS Imagine are read. Convert it, for example with gdal_translate.",
            path=path,
        )
    return found


def read_raster(path: Path, array: str | None = None) -> Cube:
    """Read a raster file: its bands are the channels.

    No data, masks (a band of transparency is one), scale and offset are those of the file. Wavelengths and widths are
    those of ENVI or of GDAL's domain IMAGERY in its metadata, or lengths in the descriptions of its bands; of a product
    of EnMAP or DESIS those of its XML file, with its gains and offsets.

    Args:
        path: The file.
        array: None: a raster file has one image.

    Raises:
        CubeError: The file is damaged, or of a format that leads elsewhere.
        MissingExtraError: The package `rasterio` is not installed.
    """
    opening = _opening(path)
    if array is not None:
        raise CubeError(
            f"The file '{path}' has no array '{array}': a raster has one image.",
            hint=f"Leave '::{array}' away.",
            path=path,
        )
    with opening() as windows:
        raster, remarks = windows.raster, list[str]()
        # GDAL unpacks a whole block for a pixel of it: a sparse file of 400 bytes took five minutes.
        refuse_bomb(path, _block(raster))
        product = read_product(path, windows.shape[0])
        meaning = _meaning(raster, product, remarks)
        image = Stored(windows, opening, (1, 2, 0), meaning)
        tags = _tags(raster)
        wavelengths, fwhm = in_nanometres(*_bands(raster, tags, product), remarks)
        return Cube(
            data_of(image, path),
            wavelengths,
            path,
            fwhm=fwhm,
            good_bands=_good(raster, tags),
            crs=raster.crs.to_wkt() if raster.crs else None,
            # The identity is what rasterio gives where a file has none.
            transform=None if raster.transform.is_identity else tuple(raster.transform)[:6],
            acquired=_acquired(tags, product),
            metadata={**tags, **(product.metadata if product else {}), **_points(raster, remarks)},
            remarks=tuple(remarks),
        )


def _block(raster: Any) -> int:
    """Return the bytes of what GDAL unpacks at once, whatever part of it is wanted."""
    together = int(raster.count) if raster.profile.get("interleave") == "pixel" else 1
    sizes = zip(raster.block_shapes, raster.dtypes, strict=True)
    return together * max(prod(map(int, block)) * int(np.dtype(dtype).itemsize) for block, dtype in sizes)


def _points(raster: Any, remarks: list[str]) -> dict[str, Any]:
    """Return what places an image that has no transform: ground control points, the polynomials of its camera."""
    found: dict[str, Any] = {}
    points, crs = raster.gcps
    if points:
        found[CONTROL_POINTS] = [[each.col, each.row, each.x, each.y, each.z or 0.0] for each in points]
        found[POINTS_CRS] = crs.to_wkt() if crs else ""
        remarks.append(
            f"It has {len(points)} ground control points and no transform: results as GeoTIFF have them too, those as "
            "ENVI where they are latitudes and longitudes, others not."
        )
    if raster.rpcs is not None:
        found["RPC"] = raster.rpcs.to_gdal()
        remarks.append("It has rational polynomial coefficients (RPC): results as GeoTIFF have them too, others not.")
    return found


def _meaning(raster: Any, product: Product | None, remarks: list[str]) -> Meaning:
    at = np.array(_channels(raster)) - 1
    gain, offset = np.asarray(raster.scales, np.float64)[at], np.asarray(raster.offsets, np.float64)[at]
    if (gain == 1).all() and (offset == 0).all() and product is not None:
        gain, offset = product.gain, product.offset
    changed = [not (gain == 1).all(), not (offset == 0).all()]
    if any(changed):
        remarks.append("Scale and offset of the bands were applied, as the file has them.")
    # Where the file names a value itself, GDAL masks it.
    missing = product.missing if product is not None and raster.nodata is None else ()
    # A band may well measure 0; outside the scene all bands are.
    outside = 0.0 if missing == (0.0,) else None
    missing = missing if outside is None else ()
    return Meaning(gain if changed[0] else None, offset if changed[1] else None, missing, outside=outside)


def described(text: object) -> dict[str, Any]:
    """Return what the description of a TIFF file says in JSON, as programs of Python write it; empty for another."""
    with suppress(ValueError, TypeError, RecursionError):
        found = json.loads(str(text))
        if isinstance(found, dict):
            return {key: value for key, value in found.items() if key not in _OF_TIFFFILE}
    return {}


def _tags(raster: Any) -> dict[str, Any]:
    """Return the metadata of the file, those of ENVI and of the sensor under their own names."""
    tags = raster.tags()
    return {**described(tags.get(_DESCRIPTION)), **tags, **raster.tags(ns=_IMAGERY), **raster.tags(ns="ENVI")}


def _bands(raster: Any, tags: Mapping[str, Any], product: Product | None) -> tuple[Numbers | None, str, Numbers | None]:
    """Return wavelengths, their unit, and widths in it."""
    if product is not None:
        return product.wavelengths, "nm", product.fwhm
    channels = _channels(raster)
    if (whole := _whole(tags, WAVELENGTHS, len(channels))) is not None:
        width = _whole(tags, FWHM, len(channels))
        return whole.values, whole.unit, None if width is None else width.values
    sensor = [raster.tags(band, ns=_IMAGERY) for band in channels]
    each = [{**_only(tags, _WAVE_UNITS), **raster.tags(band)} for band in channels]
    for source, names in ((sensor, (("central_wavelength",), FWHM)), (each, (WAVELENGTHS, FWHM))):
        stated, width = (_of_each(source, kind) for kind in names)
        if stated is not None:
            return stated.values, stated.unit, None if width is None else width.values
    for labels in (
        [raster.descriptions[band - 1] for band in channels],
        [tags.get(f"Band_{band}") for band in channels],
    ):
        if found := lengths_in(labels):
            return *found, None
    return None, "", None


def _whole(tags: Mapping[str, Any], names: Sequence[str], count: int) -> Listed | None:
    return next((each for each in attribute_lists(tags, names) if len(each.values) == count), None)


def _of_each(source: list[Any], names: Sequence[str]) -> Listed | None:
    """Return the number that the tags of each band name, if they all do, in one unit."""
    found = [next(attribute_lists(tags, names), None) for tags in source]
    values = [each for each in found if each is not None and len(each.values) == 1]
    if len(values) < len(found) or len({each.unit for each in values}) != 1:
        return None
    return Listed(np.array([each.values[0] for each in values]), values[0].unit)


def _only(tags: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {key: value for key, value in tags.items() if key.lower() in names}


def _good(raster: Any, tags: Mapping[str, Any]) -> NDArray[np.bool_] | None:
    channels = _channels(raster)
    found = _whole(tags, GOOD, len(channels)) or _of_each([raster.tags(band) for band in channels], GOOD)
    return None if found is None else found.values > 0


def _acquired(tags: Mapping[str, Any], product: Product | None) -> datetime | None:
    if product is not None:
        return product.acquired
    return acquired_of({"acquired": tags.get("ACQUISITIONDATETIME", tags.get("acquisition time", ""))}, tags)
