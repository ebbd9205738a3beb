"""Reading files that somebody else may have written: plain ones only, and no more of them than they may have."""

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

MOST_BYTES: Final = 64 * 1024**2
"""Of a file of text that is read whole."""


def read_file(path: Path, most: int = MOST_BYTES) -> bytes:
    """Return the content of a plain file; a device or a pipe, which may have no end, is not opened for reading.

    Args:
        path: The file, or a link to one.
        most: Bytes that it may have.

    Raises:
        OSError: There is none, or it cannot be read.
        ValueError: It is no plain file, or larger.
    """
    with open_file(path) as file:
        content = file.read(min(most, os.fstat(file.fileno()).st_size) + 1)
    if len(content) > most:
        raise ValueError(f"it has more than {shown_size(most)}, the limit for such files")
    return content


def open_file(path: Path) -> BinaryIO:
    """Return a plain file opened for reading.

    Raises:
        OSError: There is none, or it cannot be read.
        ValueError: It is no plain file.
    """
    with suppress(OSError):  # opening says it better
        refuse_special(path.stat().st_mode)
    return path.open("rb")


def refuse_special(mode: int) -> None:
    """Raise unless a file is a plain one, or a folder, of which opening says so.

    Raises:
        ValueError: It is a device, a pipe or a socket.
    """
    kinds = ((stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"), (stat.S_ISFIFO, "a pipe"))
    for is_kind, name in (*kinds, (stat.S_ISSOCK, "a socket")):
        if is_kind(mode):
            raise ValueError(f"it is {name}, no file")


def shown_size(size: int) -> str:
    """Return a number of bytes for people: `1.5 GiB`."""
    for unit, name in ((1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB")):
        if size >= unit:
            return f"{size / unit:.3g} {name}"
    return f"{size} bytes"
