"""Cubes in TIFF files: which reader takes one, and stacks of pages as microscopes and laboratory cameras write them."""

import itertools
import os
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

import numpy as np

from cuvis_ai_core.data.cube import Cube
from cuvis_ai_core.data.decompression_bombs import refuse_bomb
from cuvis_ai_core.data.formats.band_wavelengths import WAVELENGTHS, Listed, attribute_lists
from cuvis_ai_core.data.formats.dlr_metadata import is_product
from cuvis_ai_core.data.formats.geotiff import described, read_raster
from cuvis_ai_core.data.formats.optional_libraries import library, readable
from cuvis_ai_core.data.formats.refused_companions import beside
from cuvis_ai_core.data.formats.stored_image import Joined, Meaning, RawArray, Stored, check_size, data_of
from cuvis_ai_core.data.wavelength_texts import lengths_in
from cuvis_ai_core.data.wavelength_units import in_nanometres
from cuvis_ai_core.errors import CubeError

_GEO_TAGS: Final = (33550, 33922, 34264, 34735, 42112, 42113, 50844)
"""Scale, tie points, transform and keys of GeoTIFF; metadata and "no data" of GDAL; a camera's polynomials."""

_OF_GDAL: Final = 42112
_NO_DATA: Final = 42113
"""Tags of GDAL: XML with what it knows of a page, and a number."""

_ROWS: Final = "Y"
_COLUMNS: Final = "X"
_UNNAMED: Final = "Q"
"""How tifffile names an axis of which it knows nothing."""

_PAGE_NAME: Final = 285
_DESCRIPTION: Final = 270
_MOST_PAGES: Final = 4096
_RANK: Final = 3
_NONE: Final = Listed(np.empty(0), "")


def read_tiff(path: Path, array: str | None = None) -> Cube:
    """Read a TIFF file: by rasterio where it has tags of GeoTIFF or GDAL, or is of EnMAP or DESIS, else as a stack.

    Pages of one size with tags of GeoTIFF are a stack too, in the place of the first one. In a stack the one axis that
    is neither rows nor columns is the channel: pages, samples (planar or together), the channels of ImageJ or OME.
    Wavelengths are those of OME (`EmissionWavelength`), a list in a description in JSON, or lengths in the names of
    pages, of channels of OME, and in the labels of ImageJ.

    Args:
        path: The file; classic TIFF or BigTIFF.
        array: The number of a series of images in the file, from 0, where there are several.

    Raises:
        CubeError: The file is damaged, or its axes are no image with channels.
        MissingExtraError: The package `tifffile`, or `rasterio` for GeoTIFF, is not installed.
    """
    tifffile = library("tifffile", "tiff", path)
    # NDTiff has a list of files beside it that may lie anywhere: of such a file its own pages are read.
    with readable(path, "a TIFF file"), tifffile.TiffFile(path, is_ndtiff=False) as file:
        placed = any(tag in file.pages.first.tags for tag in _GEO_TAGS) and not (file.is_imagej or file.is_ome)
        # Of level 1 an image of a satellite has no place, and its metadata beside it all the same.
        by_raster = placed or is_product(path)
        pages = _images(file) if by_raster else []  # to count them, each is looked up
        # GDAL reads the first page of a stack, and takes the others for files of their own. One of another type is no
        # further band: it says something of the first.
        is_stack = (
            placed
            and len(pages) > 1
            and {(each.samplesperpixel, each.dtype) for each in pages} == {(1, file.pages.first.dtype)}
        )
        if by_raster and not is_stack:
            return _noted(read_raster(path, array), len(pages))
        place = read_raster(path) if is_stack else None
        _refuse_elsewhere(path, file)
        remarks: list[str] = []
        chosen = _chosen(path, file, array, remarks)
        about = described(file.pages.first.description)
        stated = next(attribute_lists(about, WAVELENGTHS), _NONE)
        axes = (1, 2, 0) if len(chosen) > 1 else _axes(path, chosen[0], len(stated.values), remarks)
        check_size(path, (len(chosen), *chosen[0].shape), np.dtype(chosen[0].dtype))
        meanings = [_meaning(series, pages, _missing(file)) if is_stack else Meaning() for series in chosen]
        if any(each.gain is not None or each.offset is not None for each in meanings):
            remarks.append("Scale and offset of the bands were applied, as the file has them.")
        parts = [_image(path, series, axes, each) for series, each in zip(chosen, meanings, strict=True)]
        image = parts[0] if len(parts) == 1 else Joined(parts)
        if len(stated.values) != image.shape[2]:
            stated = _labelled(file, image.shape[2])
        wavelengths, _ = in_nanometres(stated.values if stated.values.size else None, stated.unit, None, remarks)
        metadata = _metadata(file) | about
        return Cube(
            data_of(image, path),
            wavelengths,
            path,
            crs=None if place is None else place.crs,
            transform=None if place is None else place.transform,
            acquired=None if place is None else place.acquired,
            metadata=metadata,
            remarks=tuple(remarks),
        )


def _images(file: Any) -> list[Any]:
    """Return the pages that are as large as the first one, without previews and masks."""
    pages = itertools.islice(file.pages, _MOST_PAGES)
    size = file.pages.first.shape
    return [page for page in pages if page.shape == size and not page.is_reduced and not page.is_mask]


def _noted(cube: Cube, pages: int) -> Cube:
    """Say that a raster has further images, which are not read."""
    if pages <= 1:
        return cube
    remark = f"The file has {pages - 1} further images of the same size, which were not read."
    return replace(cube, remarks=(*cube.remarks, remark))


def _missing(file: Any) -> tuple[float, ...]:
    """Return the value of GDAL for "no data", if there is one."""
    tag = file.pages.first.tags.get(_NO_DATA)
    with suppress(ValueError):
        return () if tag is None else (float(str(tag.value)),)
    return ()


def _meaning(series: Any, pages: list[Any], missing: tuple[float, ...]) -> Meaning:
    """Return what the values of a series stand for: GDAL has scale and offset of each page in its metadata."""
    known = {page.index: page for page in pages}  # the library has no tags of what it reads of a series
    gain, offset = np.array([_scaled(known.get(page.index)) for page in series.pages]).T
    return Meaning(gain if (gain != 1).any() else None, offset if offset.any() else None, missing)


def _scaled(page: Any) -> tuple[float, float]:
    tag = None if page is None else page.tags.get(_OF_GDAL)
    found = {"scale": 1.0, "offset": 0.0}
    with suppress(ET.ParseError, ValueError):
        # The standard parser: its expat has had a limit on what entities come to since 2.4.1.
        root = ET.fromstring(str(tag.value)) if tag else ()  # noqa: S314 - expat limits entities
        found |= {each.get("role", ""): float(each.text or "") for each in root if each.get("role") in found}
    return found["scale"], found["offset"]


def _refuse_elsewhere(path: Path, file: Any) -> None:
    """Refuse an image of OME with parts in other folders, or in what is no file: the library opens whatever it names.

    Raises:
        CubeError: It has such parts.
    """
    for named in _elements(file.ome_metadata, "UUID") if file.is_ome else ():
        name = named.get("FileName", path.name)
        other = beside(path, name)
        if other is None or (os.path.lexists(other) and not other.is_file()):
            raise CubeError(
                f"The TIFF file '{path}' keeps a part of its image in another file, '{name}', which is not read.",
                hint="If you trust it, put all its files into one folder, and name them without folders.",
                path=path,
            )


def _chosen(path: Path, file: Any, array: str | None, remarks: list[str]) -> list[Any]:
    """Return the series of images that is the cube, or those of one page each that are its bands.

    A small series beside a large one is a preview.
    """
    series = list(file.series)
    if array is not None and array.isdecimal():
        with suppress(ValueError, IndexError):
            return [series[int(array)]]
    # Levels of a pyramid, or a thumbnail: all of other sizes.
    if array is None and len({each.shape[-2:] for each in series}) == len(series):
        largest = max(series, key=lambda each: each.size)
        left = [at for at, each in enumerate(series) if each is not largest and not each.keyframe.is_reduced]
        if left:
            remarks.append(
                f"The largest of {len(series)} series of images was read; another one is '{path}::{left[0]}'."
            )
        return [largest]
    pages = {(each.axes, each.shape, each.dtype) for each in series}
    if array is None and (len(series) == 1 or (len(pages) == 1 and series[0].axes == _ROWS + _COLUMNS)):
        return series
    raise CubeError(
        f"The file '{path}' has {len(series)} series of images"
        + (f", and none of the number '{array}'." if array is not None else " of the same size."),
        hint=f"Ask for one by its number, from 0 to {len(series) - 1}: {path}::0",
        path=path,
    )


def _axes(path: Path, series: Any, bands: int, remarks: list[str]) -> tuple[int, int, int]:
    """Return which axes are height, width and channel.

    Args:
        path: The file.
        series: What has the axes.
        bands: How long the list of wavelengths is that the file has, or 0.
        remarks: What was assumed is added here.
    """
    names, shape = str(series.axes), tuple(series.shape)
    if _UNNAMED in names and len(shape) == _RANK:
        if shape[2] == bands != shape[0]:  # an array of [height, width, channel], written as it was
            return 0, 1, 2
        remarks.append(f"The {shape[0]} pages of {shape[1]} x {shape[2]} pixels were taken for bands.")
    others = [at for at, name in enumerate(names) if name not in {_ROWS, _COLUMNS}]
    wide = [at for at in others if shape[at] > 1]
    if _ROWS not in names or _COLUMNS not in names or len(wide) > 1 or not others:
        sizes = ", ".join(f"{name} {size}" for name, size in zip(names, shape, strict=True))
        raise CubeError(
            f"The file '{path}' is no image with channels: its axes are {sizes}; "
            "besides Y and X one may be longer than 1.",
            hint="Save one time and one depth, with the bands as channels or pages."
            if others
            else "A cube has bands: save them as pages or samples of one file.",
            path=path,
        )
    return names.index(_ROWS), names.index(_COLUMNS), (wide or others)[0]


def _image(path: Path, series: Any, axes: tuple[int, int, int], meaning: Meaning) -> Stored:
    """Return an image whose values are read where they lie in the file as they are, else unpacked once."""
    shape = (1, *series.shape) if len(series.shape) == _RANK - 1 else tuple(map(int, series.shape))
    # tifffile names an offset where the values lie in one piece, as they are.
    if series.dataoffset is None:
        refuse_bomb(path, int(series.nbytes))
        unpacked = series.asarray().reshape(shape)
        return Stored(unpacked, lambda: nullcontext(unpacked), axes, meaning)
    # tifffile's dtype is native, whatever the file's order is.
    dtype = np.dtype(series.dtype).newbyteorder(series.parent.byteorder)
    raw = RawArray(path, dtype, int(series.dataoffset), shape)
    return Stored(raw, lambda: nullcontext(raw), axes, meaning)


def _labelled(file: Any, channels: int) -> Listed:
    """Return the wavelengths that OME names, or lengths in the labels of channels or pages, or none."""
    stated = _of_ome(file.ome_metadata) if file.is_ome else None
    if stated is not None and len(stated.values) == channels:
        return stated
    for labels in _labels(file):
        if len(labels) == channels and (found := lengths_in(labels)):
            return Listed(*found)
    return _NONE


def _labels(file: Any) -> Iterator[list[str]]:
    if file.is_ome:
        yield [each.get("Name", "") for each in _elements(file.ome_metadata, "Channel")]
    if file.is_imagej:
        yield [str(each) for each in (file.imagej_metadata or {}).get("Labels") or []]
    # Each page's tags are read for that: of a long film it takes longer than its values.
    pages = [page.aspage() for page in file.pages] if len(file.pages) <= _MOST_PAGES else []
    for tag in _PAGE_NAME, _DESCRIPTION:
        yield [str(page.tags[tag].value) if tag in page.tags else "" for page in pages]


def _of_ome(text: str | None) -> Listed | None:
    """Return the wavelengths that OME names (nm, if no unit is said)."""
    channels = _elements(text, "Channel")
    stated = [each.get("EmissionWavelength") or each.get("ExcitationWavelength") for each in channels]
    if not channels or None in stated:
        return None
    unit = channels[0].get("EmissionWavelengthUnit") or channels[0].get("ExcitationWavelengthUnit") or "nm"
    return Listed(np.array([float(each or 0) for each in stated]), unit)


def _elements(text: str | None, tag: str) -> list[ET.Element]:
    try:
        return [each for each in ET.fromstring(text or "<none/>").iter() if each.tag.endswith(tag)]  # noqa: S314 - expat limits entities
    except ET.ParseError:
        return []


def _metadata(file: Any) -> dict[str, Any]:
    page = file.pages.first
    tags = {name: page.tags.get(name) for name in ("DateTime", "Software", "Artist", "Make", "Model")}
    return {name: str(tag.value) for name, tag in tags.items() if tag is not None}
