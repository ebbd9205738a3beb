"""Reading the archive: a stream of plain files, of which none is believed, into a temporary folder."""

import gzip
import json
import os
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, NamedTuple, Self, cast

from cuvis_ai_core._untrusted_files import refuse_special
from cuvis_ai_core.errors import BundleError
from cuvis_ai_core.plugins.bundle.member_names import FORMAT, HEADER, LOCK, MANIFEST, Names, refused
from cuvis_ai_core.plugins.bundle.size_limits import Limits, Meter
from cuvis_ai_core.plugins.dependencies.search_path import interpreter

_MAX_HEADER: Final = 2**16
"""Bytes that a header of the archive may have, and `bundle.json`."""

_BLOCK: Final = 2**20

_OBJECT: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class Header(NamedTuple):
    """What `bundle.json` says.

    Attributes:
        interpreter: Python version and platform that the bundle is for.
        tags: The object that the tag of each plugin from Git is: a commit, or an object with a message and a signature.
    """

    interpreter: str
    tags: Mapping[str, str]

    def to_json(self) -> bytes:
        """Return the file; the format stands at its beginning."""
        return json.dumps({"format": FORMAT, "interpreter": self.interpreter, "tags": dict(self.tags)}).encode()


class _PlainHeader(tarfile.TarInfo):
    """A header that does not have us read gigabytes of further headers into memory."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Read a header."""
        header = super().frombuf(buf, encoding, errors)
        # tarfile reads headers of names (GNU 'L', pax 'x') whole, whatever size they say; a size in base 256 may be
        # negative.
        if header.size < 0 or (header.type not in {tarfile.REGTYPE, tarfile.AREGTYPE} and header.size > _MAX_HEADER):
            raise refused(f"has a header of {header.size} bytes")
        return header


class _Stream:
    """The unpacked archive, counted as it comes."""

    def __init__(self, file: gzip.GzipFile, meter: Meter) -> None:
        self._file = file
        self._meter = meter

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._meter.grow(len(data))
        return data


def read_archive(archive: Path, folder: Path, limits: Limits) -> tuple[Header, Meter]:
    """Unpack an archive into an empty folder, and return what it says of itself, and how much it was.

    Raises:
        BundleError: It is no bundle, of another format, for another platform, damaged, or holds something that it
            must not.
    """
    with _readable(archive), archive.open("rb") as packed, gzip.open(packed) as unpacked:
        meter = Meter(f"The bundle {archive}", os.fstat(packed.fileno()).st_size, limits)
        stream, names = _Stream(unpacked, meter), Names()
        # As a stream: nothing is sought in it, so each byte is counted once, before anything is done with it.
        with tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r|", tarinfo=_PlainHeader) as tar:
            header = _header(archive, tar)
            _refuse_other_platform(header)
            # Not `extractall`, not even with a filter: this writes plain files only, under names that were looked at.
            while (member := tar.next()) is not None:
                _refuse_unplain(member)
                meter.count(member.name)
                names.add(member.name)
                _write(folder / member.name, _opened(tar, member), executable=bool(member.mode & 0o100))
        # The checksum stands at the very end.
        # gzip compares its checksum when the end is read, and tarfile stops before it.
        while stream.read(_BLOCK):
            pass
    missing = next((name for name in (MANIFEST, LOCK) if not (folder / name).is_file()), None)
    if missing is not None:
        raise refused(f"{archive} is not whole: it has no {missing}")
    return header, meter


def is_bundle(path: Path) -> bool:
    """Tell whether a file begins as a bundle does, whole or not, of whatever format."""
    try:
        refuse_special(path.stat().st_mode)
        with gzip.open(path) as unpacked:
            # The name of the first member stands at the very beginning of a tar file, closed by a zero.
            return unpacked.read(len(HEADER) + 1) == f"{HEADER}\0".encode()
    except (OSError, EOFError, ValueError, zlib.error):
        return False


def counted_members(archive: Path, meter: Meter) -> Iterator[str]:
    """Return the names of what is in a `.tar.gz`, all of which is counted as it comes, and none of it kept.

    Raises:
        BundleError: It is too much, or has a header that is.
        tarfile.TarError, EOFError, zlib.error, OSError: It cannot be read.
    """
    with archive.open("rb") as packed, gzip.open(packed) as unpacked:
        stream = cast("IO[bytes]", _Stream(unpacked, meter))
        with tarfile.open(fileobj=stream, mode="r|", tarinfo=_PlainHeader) as tar:
            for member in tar:
                tar.members = []  # type: ignore[attr-defined]  # it would remember them all
                yield member.name


@contextmanager
def _readable(archive: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise BundleError(f"There is no bundle {archive}.", hint="Give the path of a .tar.gz file.") from error
    except IsADirectoryError as error:
        raise BundleError(f"{archive} is a folder, no bundle.", hint="Give the path of a .tar.gz file.") from error
    except (tarfile.TarError, EOFError, zlib.error, UnicodeError, gzip.BadGzipFile) as error:
        raise refused(f"{archive} cannot be read: {error}") from error
    except PermissionError as error:
        raise BundleError(
            f"The bundle {archive} cannot be read: {error.strerror}.", hint="Look at the rights of the file."
        ) from error


def _refuse_unplain(member: tarfile.TarInfo) -> None:
    # A sparse file has a size of its own making.
    if member.type not in {tarfile.REGTYPE, tarfile.AREGTYPE} or member.issparse():
        raise refused(f"has something that is no plain file: {member.name!r}")


def _header(archive: Path, tar: tarfile.TarFile) -> Header:
    first = tar.next()
    if first is None or first.name != HEADER or not first.isreg() or first.issparse():
        raise refused(f"{archive} does not begin with {HEADER}")
    # Format first, by a pattern: the rest of another format need not be what this version can read.
    text = _opened(tar, first).read(_MAX_HEADER)
    written = re.match(rb'\{"format": ?(\d{1,9})\b', text)
    if written is None or int(written[1]) != FORMAT:
        number = written[1].decode() if written else "none"
        raise BundleError(
            f"The bundle {archive} has format {number}; this version of cuvis-ai-core reads {FORMAT}, in which the "
            "code of plugins is proved by their commits. Nothing was unpacked.",
            hint="Make a new one with this version, where there is a network: cuvis-ai plugins bundle MANIFEST -o FILE",
        )
    try:
        data: dict[str, Any] = json.loads(text)
        header = Header(data["interpreter"], data["tags"])
        sound = isinstance(data["interpreter"], str) and all(
            name.isidentifier() and _OBJECT.fullmatch(tag) for name, tag in header.tags.items()
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise refused(f"has a {HEADER} that cannot be read") from error
    if not sound or first.size > _MAX_HEADER:
        raise refused(f"has a {HEADER} that cannot be read")
    return header


def _refuse_other_platform(header: Header) -> None:
    if header.interpreter != interpreter():
        raise BundleError(
            f"The bundle is for {header.interpreter!r}, but this is {interpreter()}. Nothing was unpacked.",
            hint="Make one on a machine like this one: cuvis-ai plugins bundle",
        )


def _opened(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    file = tar.extractfile(member)
    assert file is not None
    return file


def _write(place: Path, source: IO[bytes], *, executable: bool) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(place):
        raise refused(f"has two files that are one on this disk: {place.name!r}")
    # 'x': on a disk where names are folded otherwise than here, a second file must not fall onto the first.
    with place.open("xb") as file:
        while data := source.read(_BLOCK):
            file.write(data)
    if executable:
        place.chmod(0o755)
