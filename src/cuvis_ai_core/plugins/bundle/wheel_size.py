"""What a wheel unpacks to, found out before anybody unpacks it."""

import gzip
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import IO, Final

from cuvis_ai_core.errors import BundleError
from cuvis_ai_core.plugins.bundle.member_names import refused
from cuvis_ai_core.plugins.bundle.size_limits import Meter
from cuvis_ai_core.plugins.bundle.tar_reader import counted_members

_BLOCK: Final = 2**20
_ENTRY: Final = 46
"""Bytes that the directory of an archive has for each file, at least."""

_END: Final = 22
_MOST_COMMENT: Final = 2**16


def check_wheel(wheel: Path, meter: Meter) -> None:
    """Refuse a wheel that unpacks to more than the limits allow, or to something else than it says.

    Args:
        wheel: The wheel, or a source.
        meter: Counts what comes out of all of them.

    Raises:
        BundleError: It does.
    """
    own = Meter(f"The file {wheel.name} in the bundle", wheel.stat().st_size, meter.limits, meter)
    if wheel.name.endswith(".tar.gz"):
        _count_source(wheel, own)
        return
    # Before zipfile opens it: that reads the whole directory, an object for each of what may be millions of entries.
    own.count("", files=_files_said(wheel))
    try:
        with zipfile.ZipFile(wheel) as archive, wheel.open("rb") as file:
            found = archive.infolist()
            for info in found:
                own.count(info.filename, files=0)
                own.grow(info.file_size)
            for info in found:
                _refuse_lying(file, info)
    except BundleError:
        raise  # of the limits
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, OSError, ValueError) as error:
        raise refused(f"has a wheel that cannot be read: {wheel.name}") from error


def _count_source(source: Path, meter: Meter) -> None:
    try:
        for name in counted_members(source, meter):
            meter.count(name)
    except BundleError:
        raise  # of the limits
    except (tarfile.TarError, EOFError, zlib.error, ValueError, gzip.BadGzipFile) as error:
        raise refused(f"has a source that cannot be read: {source.name}") from error


def _files_said(wheel: Path) -> int:
    """Return how many files the directory has, without reading it."""
    with wheel.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _END - _MOST_COMMENT))
        tail = file.read()
    place = tail.rfind(b"PK\5\6")
    if place < 0 or len(tail) < place + _END:
        return 0
    length = int(struct.unpack("<I", tail[place + 12 : place + 16])[0])
    # With ZIP64 the length stands elsewhere; then the whole file is the bound.
    return (size if length == 2**32 - 1 else length) // _ENTRY


def _refuse_lying(file: IO[bytes], info: zipfile.ZipInfo) -> None:
    """Unpack one file into nothing, to see whether it has the size that the directory says."""
    file.seek(info.header_offset)
    header = file.read(30)
    # From the entry itself: its extra field may have another length than that in the directory.
    name, extra = struct.unpack("<HH", header[26:30])
    file.seek(info.header_offset + 30 + name + extra)
    left, found = info.compress_size, 0
    # -15: deflate without zlib's header, as zip has it.
    unpacking = zlib.decompressobj(-15) if info.compress_type == zipfile.ZIP_DEFLATED else None
    if unpacking is None and info.compress_type != zipfile.ZIP_STORED:
        raise refused(f"has a wheel that is packed in an unusual way: {info.filename!r}")
    while left > 0 and found <= info.file_size:
        data = file.read(min(_BLOCK, left))
        left -= len(data)
        if not data:
            raise EOFError
        if unpacking is None:
            found += len(data)
        while unpacking is not None and data and found <= info.file_size:
            found += len(unpacking.decompress(data, _BLOCK))
            data = unpacking.unconsumed_tail
    if found != info.file_size:
        raise refused(f"has a wheel that does not unpack to what it says: {info.filename!r}")
