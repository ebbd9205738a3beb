"""Cubes in GeoTIFF, and in what else GDAL opens with pixels in one file, by rasterio; of EnMAP with its metadata."""

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cuvis_ai_core.data.bands import in_nanometres
from cuvis_ai_core.data.cube import Cube
from cuvis_ai_core.data.formats.conventions import acquired_of
from cuvis_ai_core.data.formats.enmap import Product, read_product
from cuvis_ai_core.data.formats.libraries import library, readable
from cuvis_ai_core.data.formats.stored import Meaning, Opening, Stored, data_of
from cuvis_ai_core.data.units import Numbers
from cuvis_ai_core.errors import CubeError
from cuvis_ai_core.node.ports import floating_for

_DRIVERS: Final = {
    b"\x00\x00\x00\x0cjP  ": "JP2OpenJPEG",
    b"\xff\x4f\xff\x51": "JP2OpenJPEG",
    b"EHFA_HEADER_TAG": "HFA",
    **dict.fromkeys((b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"), "GTiff"),
}
"""By the begin of a file, formats whose pixels lie in it: a virtual one would open any other file, or an address."""

_IN_TEXT: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(nm|nanomet\w+|um|\u00b5m|micromet\w+|microns?)\b", re.IGNORECASE)
_IMAGERY: Final = "IMAGERY"
"""Where GDAL keeps what it knows of a sensor."""

_GOOD: Final = ("bbl", "bad_band_multiplier", "good")


class _Windows:
    """The pixels of an open raster, `[channel, height, width]`: read by windows, NaN where it has no data."""

    def __init__(self, raster: Any, module: Any) -> None:
        self.raster = raster
        self._window = module.windows.Window
        self._masked = any(flags != [module.enums.MaskFlags.all_valid] for flags in raster.mask_flag_enums)
        raw = np.result_type(*raster.dtypes)
        self.shape = (raster.count, raster.height, raster.width)
        self.dtype = np.dtype(floating_for(raw)) if self._masked else raw
        self.chunks = (raster.count, *raster.block_shapes[0])

    def __getitem__(self, key: tuple[slice, slice, slice]) -> NDArray[Any]:
        bands, rows, columns = key
        window = self._window(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
        values = self.raster.read(list(range(bands.start + 1, bands.stop + 1)), window=window, masked=self._masked)
        return np.asarray(values.astype(self.dtype).filled(np.nan) if self._masked else values)


def _opening(path: Path) -> Opening:
    """Return what opens a raster, by the driver of what it begins with and no other."""
    rasterio = library("rasterio", "geotiff", path)
    for part in ("windows", "enums"):
        library(f"rasterio.{part}", "geotiff", path)

    driver = _driver(path)

    @contextmanager
    def opened() -> Iterator[Any]:
        with readable(path, "a raster file"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a raster without a place is one, too
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

    No data, masks, scale and offset are those of the file. Wavelengths and widths are those of ENVI or of GDAL's domain
    IMAGERY in its metadata, or lengths in the descriptions of its bands; of an EnMAP product those of its XML file,
    with its gains and offsets.

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
        product = read_product(path, raster.count)
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
            transform=None if raster.transform.is_identity else tuple(raster.transform)[:6],
            acquired=_acquired(tags, product),
            metadata={**tags, **(product.metadata if product else {})},
            remarks=tuple(remarks),
        )


def _meaning(raster: Any, product: Product | None, remarks: list[str]) -> Meaning:
    gain, offset = np.asarray(raster.scales, np.float64), np.asarray(raster.offsets, np.float64)
    if (gain == 1).all() and (offset == 0).all() and product is not None:
        gain, offset = product.gain, product.offset
    changed = [not (gain == 1).all(), not (offset == 0).all()]
    if any(changed):
        remarks.append("Scale and offset of the bands were applied, as the file has them.")
    return Meaning(gain if changed[0] else None, offset if changed[1] else None)


def _tags(raster: Any) -> dict[str, Any]:
    """Return the metadata of the file, those of ENVI and of the sensor under their own names."""
    return {**raster.tags(), **raster.tags(ns=_IMAGERY), **raster.tags(ns="ENVI")}


def _bands(raster: Any, tags: Mapping[str, Any], product: Product | None) -> tuple[Numbers | None, str, Numbers | None]:
    """Return wavelengths, their unit, and widths in it."""
    if product is not None:
        return product.wavelengths, "nm", product.fwhm
    low = {key.lower(): value for key, value in tags.items()}
    unit = str(low.get("wavelength_units", ""))
    whole = _list(low.get("wavelength", low.get("wavelengths")), raster.count)
    if whole is not None:
        return whole, unit, _list(low.get("fwhm"), raster.count)
    each = [{key.lower(): value for key, value in raster.tags(band).items()} for band in raster.indexes]
    sensor = [raster.tags(band, ns=_IMAGERY) for band in raster.indexes]
    for source, keys, known in (
        (sensor, ("CENTRAL_WAVELENGTH_UM", "FWHM_UM"), "um"),
        (each, ("wavelength", "fwhm"), str(each[0].get("wavelength_units", unit))),
    ):
        stated = _of_each(source, keys[0])
        if stated is not None:
            return stated, known, _of_each(source, keys[1])
    return *_described(raster.descriptions), None


def _of_each(source: list[Any], key: str) -> Numbers | None:
    try:
        return np.array([float(tags[key]) for tags in source])
    except (KeyError, ValueError):
        return None


def _described(descriptions: tuple[str | None, ...]) -> tuple[Numbers | None, str]:
    found = [_IN_TEXT.search(text or "") for text in descriptions]
    lengths = [each for each in found if each]
    if len(lengths) < len(found) or len({each[2] for each in lengths}) != 1:
        return None, ""
    return np.array([float(each[1]) for each in lengths]), lengths[0][2]


def _list(text: Any, count: int) -> Numbers | None:
    try:
        values = [float(each) for each in str(text or "").strip("{} []()\n").split(",")]
    except ValueError:
        return None
    return np.array(values) if len(values) == count else None


def _good(raster: Any, tags: Mapping[str, Any]) -> NDArray[np.bool_] | None:
    low = {key.lower(): value for key, value in tags.items()}
    for key in _GOOD:
        values = _list(low.get(key), raster.count)
        if values is None:
            values = _of_each(
                [{name.lower(): each for name, each in raster.tags(band).items()} for band in raster.indexes], key
            )
        if values is not None:
            return values > 0
    return None


def _acquired(tags: Mapping[str, Any], product: Product | None) -> datetime | None:
    if product is not None:
        return product.acquired
    return acquired_of({"acquired": tags.get("ACQUISITIONDATETIME", tags.get("acquisition time", ""))}, tags)
