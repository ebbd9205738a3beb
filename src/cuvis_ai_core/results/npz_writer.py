"""A `.npz` archive whose arrays are written in any order and part by part, without a copy of them elsewhere.

`numpy.savez` and `zipfile` write one member after the other, each whole. Here each array gets its place when its shape
is known; checksums and directory follow in the end. Members are stored as they are, in the format of ZIP with 64-bit
sizes (APPNOTE 6.3, PKWARE).
"""

import io
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from cuvis_ai_core.results.array_storage import RawPlace

_LOCAL: Final = struct.Struct("<4sHHHHHLLLHH")
_CENTRAL: Final = struct.Struct("<4sHHHHHHLLLHHHHHLL")
_VERSION: Final = 45
_UTF8: Final = 0x800
# The first day that ZIP knows: with the time of writing, the same outputs would be other bytes each time.
_NEW_YEAR_1980: Final = 0x21
_LARGE: Final = 0xFFFFFFFF
_MANY: Final = 0xFFFF
_CRC_AT: Final = 14
_BLOCK: Final = 2**22


@dataclass(frozen=True, slots=True)
class _Member:
    name: bytes
    at: int
    content: int
    size: int


class Archive:
    """An archive that is being written.

    Args:
        file: It is made anew.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._members: list[_Member] = []
        self._end = 0
        file.write_bytes(b"")

    def place(self, name: str, shape: tuple[int, ...], dtype: "np.dtype[Any]") -> RawPlace:
        """Add an array, and return where it is to be written."""
        header = io.BytesIO()
        about: Any = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_2_0(header, about)
        encoded, size = f"{name}.npy".encode(), int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        # 20 bytes are the extra field that has both sizes in 64 bits (APPNOTE 4.5.3).
        member = _Member(encoded, self._end, self._end + _LOCAL.size + len(encoded) + 20, len(header.getvalue()) + size)
        with self._file.open("r+b") as stream:
            stream.seek(member.at)
            stream.write(
                _LOCAL.pack(
                    *(b"PK\x03\x04", _VERSION, _UTF8, 0, 0, _NEW_YEAR_1980, 0),
                    *(_LARGE, _LARGE, len(encoded), 20),
                )
                + encoded
                + struct.pack("<HHQQ", 1, 16, member.size, member.size)
                + header.getvalue()
            )
            self._end = member.content + member.size
            stream.truncate(self._end)
        self._members.append(member)
        return RawPlace(self._file, member.content + len(header.getvalue()), shape, dtype)

    def close(self) -> None:
        """Write checksums and directory; before, the file is no archive."""
        with self._file.open("r+b") as stream:
            # Not while tiles are written: they come in any order, and a CRC goes from the first byte to the last.
            checksums = [_checksum(stream, member) for member in self._members]
            for member, checksum in zip(self._members, checksums, strict=True):
                stream.seek(member.at + _CRC_AT)
                stream.write(struct.pack("<L", checksum))
            stream.seek(self._end)
            directory = b"".join(map(_entry, self._members, checksums))
            stream.write(directory + self._tail(len(directory)))

    def _tail(self, size: int) -> bytes:
        count = len(self._members)
        if not count:  # `numpy.load` knows an empty archive by its first bytes
            return struct.pack("<4sHHHHLLH", b"PK\x05\x06", 0, 0, 0, 0, 0, 0, 0)
        about = struct.pack("<QQQQ", count, count, size, self._end)
        return (
            struct.pack("<4sQHHLL", b"PK\x06\x06", 44, _VERSION, _VERSION, 0, 0)
            + about
            + struct.pack("<4sLQL", b"PK\x06\x07", 0, self._end + size, 1)
            # What does not fit here is all ones, and stands in the record for 64 bits above (APPNOTE 4.4.1.4).
            + struct.pack("<4sHHHHLLH", b"PK\x05\x06", 0, 0, *[min(count, _MANY)] * 2, size, _LARGE, 0)
        )


def _checksum(stream: Any, member: _Member) -> int:
    stream.seek(member.content)
    checksum, left = 0, member.size
    while left:
        block = stream.read(min(left, _BLOCK))
        checksum, left = zlib.crc32(block, checksum), left - len(block)
    return checksum


def _entry(member: _Member, checksum: int) -> bytes:
    return (
        _CENTRAL.pack(
            *(b"PK\x01\x02", _VERSION, _VERSION, _UTF8, 0, 0, _NEW_YEAR_1980, checksum),
            *(_LARGE, _LARGE, len(member.name), 28, 0, 0, 0, 0, _LARGE),
        )
        + member.name
        + struct.pack("<HHQQQ", 1, 24, member.size, member.size, member.at)
    )
