"""Cubes in TIFF files: which reader takes one, and stacks of pages as microscopes and laboratory cameras write them."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

import numpy as np

from cuvis_ai_core.data.bands import in_nanometres
from cuvis_ai_core.data.cube import Cube
from cuvis_ai_core.data.formats.geotiff import read_raster
from cuvis_ai_core.data.formats.libraries import library, readable
from cuvis_ai_core.data.formats.stored import Opening, Stored, check_size, data_of
from cuvis_ai_core.data.units import Numbers
from cuvis_ai_core.data.unpacking import refuse_bomb
from cuvis_ai_core.errors import CubeError

_GEO_TAGS: Final = (33550, 33922, 34264, 34735, 42112, 42113)
"""Scale, tie points, transform and keys of GeoTIFF; metadata and the "no data" value of GDAL."""

_ROWS: Final = "Y"
_COLUMNS: Final = "X"
_LENGTH: Final = re.compile(
    r"(\d+(?:[.,]\d+)?)\s*(nm|um|\u00b5m|\u03bcm|nanomet\w+|micromet\w+|microns?)\b", re.IGNORECASE
)


def read_tiff(path: Path, array: str | None = None) -> Cube:
    """Read a TIFF file: by rasterio where it has tags of GeoTIFF or GDAL, else as a stack of pages by tifffile.

    In a stack the one axis that is neither rows nor columns is the channel: pages, samples (planar or together), the
    channels of ImageJ or OME. Wavelengths are those of OME (`EmissionWavelength`), or lengths in the labels of ImageJ.

    Args:
        path: The file; classic TIFF or BigTIFF.
        array: The number of a series of images in the file, from 0, where there are several.

    Raises:
        CubeError: The file is damaged, or its axes are no image with channels.
        MissingExtraError: The package `tifffile`, or `rasterio` for GeoTIFF, is not installed.
    """
    tifffile = library("tifffile", "tiff", path)
    with readable(path, "a TIFF file"), tifffile.TiffFile(path) as file:
        if any(tag in file.pages.first.tags for tag in _GEO_TAGS) and not (file.is_imagej or file.is_ome):
            return read_raster(path, array)
        series = _series(path, file, array)
        axes = _axes(path, series)
        check_size(path, series.shape, np.dtype(series.dtype))
        pixels = _pixels(path, series)
        with pixels() as opened:
            image = Stored(opened, pixels, axes)
        remarks: list[str] = []
        wavelengths, _ = in_nanometres(*_wavelengths(file, image.shape[2]), None, remarks)
        return Cube(data_of(image, path), wavelengths, path, metadata=_metadata(file), remarks=tuple(remarks))


def _series(path: Path, file: Any, array: str | None) -> Any:
    """Return the series of images that is the cube; a small one beside a large one is a preview."""
    series = list(file.series)
    if array is not None:
        with suppress(ValueError, IndexError):
            return series[int(array)]
    if array is None and len({each.shape[-2:] for each in series}) == len(series):
        return max(series, key=lambda each: each.size)
    if array is None and len(series) == 1:
        return series[0]
    raise CubeError(
        f"The file '{path}' has {len(series)} series of images"
        + (f", and none of the number '{array}'." if array is not None else " of the same size."),
        hint=f"Ask for one by its number, from 0 to {len(series) - 1}: {path}::0",
        path=path,
    )


def _axes(path: Path, series: Any) -> tuple[int, int, int]:
    names, shape = str(series.axes), tuple(series.shape)
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


def _pixels(path: Path, series: Any) -> Opening:
    """Return what opens the values: mapped where they lie in the file as they are, else unpacked once."""
    if series.dataoffset is None:
        refuse_bomb(path, int(series.nbytes))
        unpacked = series.asarray()
        return lambda: nullcontext(unpacked)
    dtype = np.dtype(series.dtype).newbyteorder(series.parent.byteorder)
    offset, shape = int(series.dataoffset), tuple(map(int, series.shape))

    @contextmanager
    def mapped() -> Iterator[Any]:
        with readable(path, "a TIFF file"):
            yield np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=shape)

    return mapped


def _wavelengths(file: Any, channels: int) -> tuple[Numbers | None, str]:
    found = _of_ome(file.ome_metadata) if file.is_ome else _of_labels(file.imagej_metadata) if file.is_imagej else None
    if found is None or len(found[0]) != channels:
        return None, ""
    return found


def _of_ome(text: str | None) -> tuple[Numbers, str] | None:
    """Return the wavelengths that OME names (nm, if no unit is said)."""
    try:
        channels = [each for each in ET.fromstring(text or "<none/>").iter() if each.tag.endswith("}Channel")]  # noqa: S314 - expat limits entities
    except ET.ParseError:
        return None
    stated = [each.get("EmissionWavelength") or each.get("ExcitationWavelength") for each in channels]
    if not channels or None in stated:
        return None
    unit = channels[0].get("EmissionWavelengthUnit") or channels[0].get("ExcitationWavelengthUnit") or "nm"
    return np.array([float(each or 0) for each in stated]), unit


def _of_labels(metadata: Any) -> tuple[Numbers, str] | None:
    labels = (metadata or {}).get("Labels") or []
    found = [_LENGTH.search(str(label)) for label in labels]
    lengths = [each for each in found if each is not None]
    if not lengths or len(lengths) != len(found) or len({each[2] for each in lengths}) != 1:
        return None
    return np.array([float(each[1].replace(",", ".")) for each in lengths]), lengths[0][2]


def _metadata(file: Any) -> dict[str, Any]:
    page = file.pages.first
    tags = {name: page.tags.get(name) for name in ("DateTime", "Software", "Artist", "Make", "Model")}
    return {name: str(tag.value) for name, tag in tags.items() if tag is not None}
