"""Which kind of file one is, by how it begins."""

import os
import re
from pathlib import Path
from typing import Final

from cuvis_ai_core.errors import CubeError

PACKED_BY_GZIP: Final = "packed by gzip"

_BEGINS: Final = {
    b"\x89PNG\r\n\x1a\n": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"II*\x00": "a TIFF picture",
    b"MM\x00*": "a TIFF picture",
    b"%PDF-": "a PDF document",
    b"\x1f\x8b\x08": PACKED_BY_GZIP,
    b"PK\x03\x04": "a zip archive",
    b"BZh": "packed by bzip2",
    b"\xfd7zXZ\x00": "packed by xz",
    b"\x93NUMPY": "an array of NumPy",
    b"\x89HDF\r\n\x1a\n": "an HDF5 file",
}
_SUFFIXES: Final = (
    (b"\x89HDF\r\n\x1a\n", ".h5"),
    # Classic NetCDF in three versions; NetCDF 4 begins as HDF5.
    (b"CDF\x01", ".nc"),
    (b"CDF\x02", ".nc"),
    (b"CDF\x05", ".nc"),
    (b"II*\x00", ".tif"),
    (b"MM\x00*", ".tif"),
    # BigTIFF: 43, which is a `+`, where others have 42.
    (b"II+\x00", ".tif"),
    (b"MM\x00+", ".tif"),
    (b"\x93NUMPY", ".npy"),
    (b"MATLAB ", ".mat"),
    (b"\x00\x00\x00\x0cjP  ", ".jp2"),
    (b"EHFA_HEADER_TAG", ".jp2"),  # of ERDAS, with the other rasters of GDAL
)
"""How files of cubes begin, and the suffix of the reader that takes them."""

_STAND_INS: Final = (
    (b"version https://git-lfs.github.com/spec/", "a pointer of Git LFS", "Fetch its content: git lfs pull"),
    (b"/annex/objects/", "a pointer of git-annex", "Fetch its content: git annex get"),
    *(
        (start, "a page of HTML", "Download it again: a server answered with a page, which may ask for a login.")
        for start in (b"<!doctype html", b"<html")
    ),
)
"""How they begin, in small letters, what they are, and what to do."""

_STORE: Final = ("zarr.json", ".zarray", ".zgroup", ".zmetadata")

_LOOKED_AT: Final = 4096
_TEXT: Final = re.compile(r"[^\x00-\x08\x0b\x0e-\x1f\x7f]*\n[^\x00-\x08\x0b\x0e-\x1f\x7f]*")


def suffix_by_content(file: Path) -> str | None:
    """Return the suffix that a file of a cube would have by how it begins; None where that is not known."""
    with file.open("rb") as stream:
        begin = stream.read(16)
    return next((suffix for magic, suffix in _SUFFIXES if begin.startswith(magic)), None)


def refuse_stand_in(file: Path) -> None:
    """Refuse what lies in the place of a file of a cube.

    Raises:
        CubeError: It is a pointer of Git LFS or git-annex, or the page that a server answered.
    """
    if found := stand_in(file):
        what, hint = found
        raise CubeError(f"The file '{file}' is {what}, and has no values.", hint=hint, path=file)


def stand_in(file: Path) -> tuple[str, str] | None:
    """Return what lies in the place of a file, and how to get that; None where it is no such thing."""
    if not file.is_file():
        return None
    try:
        with file.open("rb") as stream:
            begin = stream.read(_LOOKED_AT).lstrip().lower()
    except OSError:  # of which its reader has said more
        return None
    return next(((what, hint) for start, what, hint in _STAND_INS if begin.startswith(start)), None)


def is_store(place: Path) -> bool:
    """Tell whether a folder is one cube or several: a Zarr store."""
    folder = os.fspath(place)  # as text: it may be a path that cannot be, and most are files
    return os.path.isdir(folder) and any(os.path.isfile(os.path.join(folder, name)) for name in _STORE)


def other_kind(file: Path) -> str | None:
    """Return what a file is that begins like no raw data: a picture, an archive, a text of lines; else None."""
    with file.open("rb") as stream:
        begin = stream.read(_LOOKED_AT)
    for magic, kind in _BEGINS.items():
        if begin.startswith(magic):
            return kind
    try:
        text = begin.decode()
    except UnicodeDecodeError as error:
        if error.start < _LOOKED_AT - 4:  # a sign may be cut at the end
            return None
        text = begin[: error.start].decode()
    return "a text" if _TEXT.fullmatch(text) else None
