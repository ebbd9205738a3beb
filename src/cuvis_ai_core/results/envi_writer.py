"""An output as an ENVI image: raw values, and a header in text."""

from collections.abc import Mapping
from math import atan2, degrees, hypot
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cuvis_ai_core.data.formats.envi.map_and_time_fields import in_map_info, system_of, transform_of
from cuvis_ai_core.data.formats.ground_control_points import as_envi, points_of
from cuvis_ai_core.pages.colour_maps import class_colours
from cuvis_ai_core.results.array_storage import RawPlace
from cuvis_ai_core.results.output_bands import Bands

if TYPE_CHECKING:
    from cuvis_ai_core.data import Cube

_CODES: Final[Mapping[str, int]] = {
    "uint8": 1,
    "int16": 2,
    "int32": 3,
    "float32": 4,
    "float64": 5,
    "uint16": 12,
    "uint32": 13,
    "int64": 14,
    "uint64": 15,
}
_WIDER: Final[Mapping[str, str]] = {"bool": "uint8", "int8": "int16", "float16": "float32"}
_KEPT: Final = ("map info", "coordinate system string", "projection info", "acquisition time", "geo points", "rpc info")
_EXACT: Final = 1e-9


class EnviFile:
    """An image in two files, `<stem>.hdr` and `<stem>.img`, interleaved by pixel.

    Args:
        folder: Where they are written.
        stem: Begin of their names.
        shape: `[1, height, width]` or `[1, height, width, channel]`.
        dtype: Its type; of those that ENVI has not, the next wider one is written.
        cube: The cube, whose place is handed on.
    """

    def __init__(self, folder: Path, stem: str, shape: tuple[int, ...], dtype: "np.dtype[Any]", cube: "Cube") -> None:
        self.file = f"{stem}.hdr"
        self._header = folder / self.file
        self._cube = cube
        self._shape = shape
        written = np.dtype(_WIDER.get(dtype.name, dtype.name)).newbyteorder("<")
        data = folder / f"{stem}.img"
        with data.open("wb") as stream:
            # A hole at first: the disk gives room when tiles come.
            stream.truncate(int(np.prod(shape, dtype=np.int64)) * written.itemsize)
        self.place = RawPlace(data, 0, shape, written)

    def close(self, bands: Bands) -> None:
        """Write the header."""
        lines = [f"{key} = {value}" for key, value in self._fields(bands).items()]
        self._header.write_text("\n".join(["ENVI", *lines, ""]), encoding="utf-8")

    def _fields(self, bands: Bands) -> dict[str, str]:
        _, height, width, *channels = self._shape
        kind = "ENVI Classification" if bands.classes else "ENVI Standard"
        fields = {
            "description": _braced(f"{bands.name}: {bands.description}"),
            "samples": str(width),
            "lines": str(height),
            "bands": str(channels[0] if channels else 1),
            "header offset": "0",
            "file type": kind,
            "data type": str(_CODES[self.place.dtype.newbyteorder("=").name]),
            "interleave": "bip",
            # SPy refuses a header without it, though ENVI has a default (decision 7).
            "byte order": "0",
            **({"data ignore value": "nan"} if self.place.dtype.kind == "f" else {}),
            **_place(self._cube),
            **_classes(bands.classes),
        }
        for name, values in (("wavelength", bands.wavelengths), ("fwhm", bands.fwhm)):
            if values is not None:
                fields |= {
                    # In the spelling of ENVI's own list of units.
                    "wavelength units": "Nanometers",
                    name: _braced(", ".join(f"{each:.10g}" for each in values)),
                }
        return fields


def _place(cube: "Cube") -> dict[str, str]:
    """Return where and when the cube was taken, as its header has it, or made of what its reader found."""
    fields = {name: _braced(_text(cube.metadata[name])) for name in _KEPT if name in cube.metadata}
    if "map info" not in fields and cube.transform is not None:
        fields |= _map_info(cube.transform, cube.crs)
    if "geo points" not in fields and (points := points_of(cube)) and (text := as_envi(points)):
        fields["geo points"] = _braced(text)
    known = system_of(_text(fields.get("map info", "")))  # which programs know by the map info
    if "coordinate system string" not in fields and cube.crs is not None and cube.crs != known:
        fields["coordinate system string"] = _braced(_wkt(cube.crs))
    if "acquisition time" not in fields and cube.acquired is not None:
        fields["acquisition time"] = cube.acquired.isoformat()
    return fields


def _map_info(transform: tuple[float, ...], crs: str | None) -> dict[str, str]:
    """Return a transform as `map info`, turned where it is; one that is neither stands there by itself."""
    a, b, x, d, e, y = transform[:6]
    begin, end = in_map_info(crs)
    if b == d == 0:
        # Pixel 1, 1 of ENVI is the outer corner of the first pixel, and the height of a pixel is positive downwards.
        return {"map info": _braced(f"{begin}, 1, 1, {x!r}, {y!r}, {a!r}, {-e!r}{end}")}
    turn, width, height = atan2(b, a), hypot(a, b), hypot(d, e)
    text = f"{begin}, 1, 1, {x!r}, {y!r}, {width!r}, {height!r}{end}, rotation={degrees(turn)!r}"
    if np.allclose(transform_of(text), transform[:6], rtol=0, atol=_EXACT * max(width, height)):
        return {"map info": _braced(text)}
    # no program of its own reads it, but it is not lost
    return {"affine transform": _braced(", ".join(map(repr, transform[:6])))}


def _wkt(crs: str) -> str:
    """Return a system as WKT, the only text for it that other programs know; a name as it is where nothing knows it."""
    if "[" in crs:
        return crs
    try:
        from rasterio.crs import CRS
        from rasterio.errors import CRSError
    except ImportError:
        return crs
    try:
        return str(CRS.from_user_input(crs).to_wkt())
    except CRSError:
        return crs


def _classes(names: Mapping[int, str]) -> dict[str, str]:
    """Return names and colours of classes, of all numbers up to the greatest."""
    if not names or min(names) < 0:
        return {}
    numbers = list(range(max(names) + 1))
    colours = [str(part) for colour in class_colours(numbers) for part in colour]
    shown = [names.get(number, "Unclassified" if number == 0 else f"class {number}") for number in numbers]
    return {
        "classes": str(len(numbers)),
        # A comma parts the names, and nothing in a header escapes it.
        "class names": _braced(", ".join(name.replace(",", " ") for name in shown)),
        "class lookup": _braced(", ".join(colours)),
    }


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value).strip().strip("{}").strip()


def _braced(text: str) -> str:
    # A brace ends a value, and nothing escapes it.
    plain = " ".join(text.replace("{", "(").replace("}", ")").split())
    return f"{{{plain}}}"
