"""Which kind of file one is that is no raw data, by how it begins."""

import re
from pathlib import Path
from typing import Final

_BEGINS: Final = {
    b"\x89PNG\r\n\x1a\n": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"II*\x00": "a TIFF picture",
    b"MM\x00*": "a TIFF picture",
    b"%PDF-": "a PDF document",
    b"\x1f\x8b\x08": "packed by gzip",
    b"PK\x03\x04": "a zip archive",
    b"BZh": "packed by bzip2",
    b"\xfd7zXZ\x00": "packed by xz",
    b"\x93NUMPY": "an array of NumPy",
    b"\x89HDF\r\n\x1a\n": "an HDF5 file",
}
_LOOKED_AT: Final = 4096
_TEXT: Final = re.compile(r"[^\x00-\x08\x0b\x0e-\x1f\x7f]*\n[^\x00-\x08\x0b\x0e-\x1f\x7f]*")


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
