"""How large the variables of a MATLAB file are once unpacked: known from the first bytes of each."""

import struct
import zlib
from pathlib import Path
from typing import Final

_HEADER: Final = 128
"""Bytes before the first variable; the last two tell the byte order."""

_TAG: Final = 8
"""Bytes of type and size before each variable."""

_PACKED: Final = 15
_PEEK: Final = 1024
"""Packed bytes that hold the first 8: tables of the packing come before them."""


def unpacked_size(path: Path) -> int:
    """Return the bytes of all variables of a MATLAB file of version 5 to 7, unpacked.

    Raises:
        ValueError: It is damaged.
    """
    total = 0
    with path.open("rb") as file:
        order = "<" if file.read(_HEADER)[-2:] == b"IM" else ">"
        while len(tag := file.read(_TAG)) == _TAG:
            kind, size = struct.unpack(f"{order}II", tag)
            begin = file.tell()
            if kind == _PACKED:
                try:
                    inner = zlib.decompressobj().decompress(file.read(min(size, _PEEK)), _TAG)
                    total += struct.unpack(f"{order}II", inner)[1]
                except (zlib.error, struct.error) as error:
                    raise ValueError(f"a packed variable at byte {begin} is damaged: {error}") from error
            else:
                total += size
            file.seek(begin + size)
    return total
