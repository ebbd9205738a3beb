"""The metadata of a product of the EnMAP satellite (DLR), in the XML file beside its image."""

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

_IMAGE: Final = re.compile(r"(?i)^(ENMAP.*)-SPECTRAL_IMAGE(_VNIR|_SWIR)?(_COG)?\.\w+$")
_BANDS: Final = "bandCharacterisation/bandID"
_LARGEST: Final = 1 << 26
"""A metadata file has 1 to 5 MB."""


@dataclass(frozen=True, slots=True, eq=False)
class Product:
    """What the XML file of a product says: wavelengths and widths in nm, gain and offset, one a band of the image."""

    wavelengths: Numbers
    fwhm: Numbers
    gain: Numbers
    offset: Numbers
    acquired: datetime | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


def read_product(image: Path, count: int) -> Product | None:
    """Read the metadata of an EnMAP image; None where it is no such image, or lies alone.

    Of level 1B there is an image for each detector; its bands are those that `expectedChannelsList` names.

    Args:
        image: The file of the image.
        count: How many bands it has.

    Raises:
        CubeError: The metadata cannot be read, or are those of another number of bands.
    """
    match = _IMAGE.match(image.name)
    file = _beside(image, match[1]) if match else None
    if match is None or file is None:
        return None
    if file.stat().st_size > _LARGEST:
        raise CubeError(f"The metadata '{file}' have more than {_LARGEST} bytes; those of EnMAP have less.", path=file)
    try:
        # The standard parser: its expat has had a limit on what entities come to since 2.4.1.
        root = ET.parse(file).getroot()  # noqa: S314 - expat limits entities
        bands = _of_detector(root, (match[2] or "").strip("_").lower(), root.findall(f".//{_BANDS}"))
        lists = [
            np.array([float(band.findtext(key) or default) for band in bands])
            for key, default in (
                ("wavelengthCenterOfBand", "0"),
                ("FWHMOfBand", "0"),
                ("GainOfBand", "1"),
                ("OffsetOfBand", "0"),
            )
        ]
        begin = root.findtext(".//temporalCoverage/startTime")
        acquired = moment(begin) if begin else None
    except (ET.ParseError, ValueError) as error:
        raise CubeError(
            f"The EnMAP metadata '{file}' cannot be read: {error}.",
            hint="Copy the file of the product again; without it the image is read with its own tags.",
            path=file,
        ) from error
    if len(bands) != count:
        raise CubeError(
            f"The EnMAP metadata '{file}' describe {len(bands)} bands, but '{image}' has {count}.",
            hint="Keep image and metadata of one product together, under their own names.",
            path=image,
        )
    wavelengths, fwhm, gain, offset = lists
    return Product(wavelengths, fwhm, gain, offset, acquired, {"product": match[1]})


def _beside(image: Path, name: str) -> Path | None:
    return next(
        (file for suffix in ("XML", "xml") if (file := image.with_name(f"{name}-METADATA.{suffix}")).is_file()), None
    )


def _of_detector(root: ET.Element, detector: str, bands: list[ET.Element]) -> list[ET.Element]:
    """Return the bands of one detector, or all."""
    listed = root.findtext(f".//{detector}ProductQuality/expectedChannelsList") if detector else None
    if not listed:
        return bands
    wanted = {int(each) for each in listed.split(",")}
    return [band for at, band in enumerate(bands, 1) if int(band.get("number", at)) in wanted]
