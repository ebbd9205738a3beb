"""The metadata of a product of EnMAP or DESIS (DLR), in the XML file beside its image."""

import re
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

import numpy as np

from cuvis_ai_core.data.formats.cf_conventions import moment
from cuvis_ai_core.data.wavelength_units import Numbers
from cuvis_ai_core.errors import CubeError

_IMAGE: Final = re.compile(r"(?i)^((?:ENMAP|DESIS).*)-SPECTRAL_IMAGE(_VNIR|_SWIR)?(_COG)?\.\w+$")
_BANDS: Final = ("bandCharacterisation/bandID", "bandCharacterisation/band")
"""Of EnMAP, and of DESIS; the latter has a `band` elsewhere too."""

_LISTS: Final = (
    (("wavelengthCenterOfBand",), 0.0),
    (("FWHMOfBand", "wavelengthWidthOfBand"), 0.0),
    (("GainOfBand", "gainOfBand"), 1.0),
    (("OffsetOfBand", "offsetOfBand"), 0.0),
)
"""What is said of each band, by EnMAP and by DESIS, and what it is where nothing is said."""
_LARGEST: Final = 1 << 26
"""A metadata file has 1 to 5 MB."""


@dataclass(frozen=True, slots=True, eq=False)
class Product:
    """What the XML file of a product says.

    Attributes:
        wavelengths: In nm, one a band of the image, as are the next three.
        fwhm: In nm.
        gain: What values are multiplied by.
        offset: What is added then.
        missing: The value of pixels outside the scene, if it is said.
        acquired: When the image was taken.
        metadata: What else there is.
    """

    wavelengths: Numbers
    fwhm: Numbers
    gain: Numbers
    offset: Numbers
    missing: tuple[float, ...] = ()
    acquired: datetime | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


def read_product(image: Path, count: int) -> Product | None:
    """Read the metadata of an image of EnMAP or DESIS; None where it is no such image, or lies alone.

    Of level 1B there is an image for each detector; its bands are those that `expectedChannelsList` names.

    Args:
        image: The file of the image.
        count: How many bands it has.

    Raises:
        CubeError: The metadata cannot be read, or are those of another number of bands.
    """
    match = _IMAGE.match(image.name)
    file = _metadata_of(image)
    if match is None or file is None:
        return None
    satellite = "EnMAP" if match[1][0] in "eE" else "DESIS"
    if file.stat().st_size > _LARGEST:
        raise CubeError(
            f"The metadata '{file}' have more than {_LARGEST} bytes; those of {satellite} have less.", path=file
        )
    try:
        # The standard parser: its expat has had a limit on what entities come to since 2.4.1.
        root = ET.parse(file).getroot()  # noqa: S314 - expat limits entities
        listed = next((found for path in _BANDS if (found := root.findall(f".//{path}"))), [])
        bands = _of_detector(root, (match[2] or "").strip("_").lower(), listed)
        lists = [np.array([_number(band, names, default) for band in bands]) for names, default in _LISTS]
        background = root.findtext(".//backgroundValue")
        missing = (float(background),) if background else ()
        begin = root.findtext(".//temporalCoverage/startTime")
        acquired = moment(begin) if begin else None
    except (ET.ParseError, ValueError) as error:
        raise CubeError(
            f"The {satellite} metadata '{file}' cannot be read: {error}.",
            hint="Copy the file of the product again; without it the image is read with its own tags.",
            path=file,
        ) from error
    if len(bands) != count:
        raise CubeError(
            f"The {satellite} metadata '{file}' describe {len(bands)} bands, but '{image}' has {count}.",
            hint="Keep image and metadata of one product together, under their own names.",
            path=image,
        )
    wavelengths, fwhm, gain, offset = lists
    return Product(wavelengths, fwhm, gain, offset, missing, acquired, {"product": match[1]})


def is_product(image: Path) -> bool:
    """Tell whether an image is one of a product whose metadata lie beside it."""
    return _metadata_of(image) is not None


def _metadata_of(image: Path) -> Path | None:
    match = _IMAGE.match(image.name)
    names = [f"{match[1]}-METADATA.{suffix}" for suffix in ("XML", "xml")] if match else []
    return next((file for name in names if (file := image.with_name(name)).is_file()), None)


def _number(band: ET.Element, names: tuple[str, ...], default: float) -> float:
    return float(next((text for name in names if (text := band.findtext(name))), default))


def _of_detector(root: ET.Element, detector: str, bands: list[ET.Element]) -> list[ET.Element]:
    """Return the bands of one detector, or all."""
    listed = root.findtext(f".//{detector}ProductQuality/expectedChannelsList") if detector else None
    if not listed:
        return bands
    wanted = {int(each) for each in listed.split(",")}
    return [band for at, band in enumerate(bands, 1) if int(band.get("number", at)) in wanted]
