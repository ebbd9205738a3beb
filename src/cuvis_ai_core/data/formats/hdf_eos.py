"""The place of a grid in an HDF-EOS5 file, which says it in a text: products of Tanager, and of NASA."""

import re
from pathlib import Path
from typing import Any, Final

from cuvis_ai_core.data.formats.cf_conventions import Place, plain
from cuvis_ai_core.data.formats.hdf5_external_links import inside, refuse_elsewhere

_GRID: Final = re.compile(r"/?(HDFEOS/GRIDS/([^/]+))/Data Fields/.+")
_TEXT: Final = "HDFEOS INFORMATION/StructMetadata.0"
_LARGEST: Final = 1 << 20
_NUMBER: Final = r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,2})?)\s*"
_POINT: Final = re.compile(rf"\({_NUMBER},{_NUMBER}\)")
_DEGREES: Final = "HE5_GCTP_GEO"
"""A projection whose corners are packed degrees, minutes and seconds."""

_UTM: Final = "HE5_GCTP_UTM"
_WGS84: Final = "12"
_UPPER_LEFT: Final = ("", "HE5_HDFE_GD_UL")


def place_of_grid(path: Path, file: Any, name: str, height: int, width: int) -> Place:
    """Return coordinate system and transform of an array in a grid of metres; of all others none.

    Args:
        path: The file.
        file: The same, open.
        name: The path of the array in it.
        height: Rows of the array.
        width: Columns of it.

    Raises:
        CubeError: What says it lies in another file.
    """
    found = _GRID.fullmatch(name)
    if found is None:
        return Place()
    try:
        text = inside(path, file, _TEXT)
        group = inside(path, file, found[1])
    except KeyError:
        return Place()
    refuse_elsewhere(path, text)
    if getattr(text, "shape", None) != () or text.dtype.itemsize > _LARGEST:
        return Place()
    said = _said(str(plain(text[()])), found[2])
    corners = [_POINT.fullmatch(said.get(key, "")) for key in ("UpperLeftPointMtrs", "LowerRightMtrs")]
    if corners[0] is None or corners[1] is None or said.get("Projection") == _DEGREES:
        return Place()
    if said.get("GridOrigin", "") not in _UPPER_LEFT:
        return Place()
    left, top, right, bottom = (float(each) for corner in corners if corner for each in corner.groups())
    code = plain(group.attrs.get("epsg_code")) or _zone(said)
    return Place(
        f"EPSG:{code}" if code else None, ((right - left) / width, 0.0, left, 0.0, (bottom - top) / height, top)
    )


def _said(text: str, grid: str) -> dict[str, str]:
    """Return the fields of a grid: lines `key=value` behind its name."""
    _, _, rest = text.partition(f'GridName="{grid}"')
    lines = (line.strip().partition("=") for line in rest.partition("END_GROUP=GRID_")[0].splitlines())
    return {key: value.strip('"') for key, _, value in lines}


def _zone(said: dict[str, str]) -> str:
    """Return the number of EPSG for a zone of UTM on WGS-84, which is negative in the south."""
    number = said.get("ZoneCode", "")
    if said.get("Projection") != _UTM or said.get("SphereCode") != _WGS84 or not re.fullmatch(r"-?\d{1,2}", number):
        return ""
    return f"{327 if number.startswith('-') else 326}{abs(int(number)):02}"
