"""How large the variables of a MATLAB file are once unpacked: each says so in its first bytes, which is checked."""

import struct
import zlib
from pathlib import Path
from typing import BinaryIO, Final

_HEADER: Final = 128
"""Bytes before the first variable; the last two tell the byte order."""

_TAG: Final = 8
"""Bytes of type and size before each variable."""

_PACKED: Final = 15
_PEEK: Final = 1024
"""Packed bytes that hold the first 8: tables of the packing come before them."""


_PIECE: Final = 1 << 20
_SPARE: Final = 64
"""Bytes that a variable may have beyond those that it says, for padding."""

_FULLEST: Final = 1 << 17
"""A packed variable of so many bytes is none that fills a memory, whatever it says: they become 1,032 times as many."""


def unpacked_size(path: Path) -> int:
    """Return the bytes of all variables of a MATLAB file of version 5 to 7, unpacked.

    Raises:
        ValueError: It is damaged, or a variable unpacks to more than it says; SciPy would read all of it.
    """
    total = 0
    with path.open("rb") as file:
        order = "<" if file.read(_HEADER)[-2:] == b"IM" else ">"
        while len(tag := file.read(_TAG)) == _TAG:
            kind, size = struct.unpack(f"{order}II", tag)
            begin = file.tell()
            if kind == _PACKED:
                try:
                    # With a bound of eight bytes: a peek, however much is behind them.
                    inner = zlib.decompressobj().decompress(file.read(min(size, _PEEK)), _TAG)
                    stated = struct.unpack(f"{order}II", inner)[1]
                    total += stated
                    file.seek(begin)
                    if size > _FULLEST and _is_larger(file, size, _TAG + stated + _SPARE):
                        raise ValueError(
                            f"the variable at byte {begin} unpacks to more than the {stated} bytes it says"
                        )
                except (zlib.error, struct.error) as error:
                    raise ValueError(f"a packed variable at byte {begin} is damaged: {error}") from error
            else:
                total += size
            # By the tag, not by what was unpacked: so does SciPy, and the next tag has to be the same for both.
            file.seek(begin + size)
    return total


def _is_larger(file: BinaryIO, size: int, most: int) -> bool:
    """Tell whether what is packed in the next bytes of a file unpacks to more than it may; nothing of it is kept."""
    unpacker, unpacked, left = zlib.decompressobj(), 0, size
    while left > 0 and unpacked <= most and (packed := file.read(min(left, _PIECE))):
        left -= len(packed)
        while packed and unpacked <= most:
            unpacked += len(unpacker.decompress(packed, _PIECE))
            packed = unpacker.unconsumed_tail
    return unpacked > most
