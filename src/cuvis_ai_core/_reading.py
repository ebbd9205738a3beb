"""Reading files that somebody else may have written: plain ones only, and no more of them than they may have."""

import os
import re
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Final

MOST_BYTES: Final = 64 * 1024**2
"""Of a file of text that is read whole."""

_MOST_TOML: Final = 4 * 1024**2
_LONG_KEY: Final = re.compile(r"""(?<![\w-])(?:(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){100}""")


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


def read_toml(path: Path) -> dict[str, Any]:
    """Return the tables of a TOML file.

    Raises:
        OSError: There is none, or it cannot be read.
        ValueError: It is no TOML, nested too deeply, no plain file, or larger than such files are.
    """
    import tomllib

    text = read_file(path, _MOST_TOML).decode()
    if _LONG_KEY.search(text):
        raise ValueError("it has a key of more than 100 parts")  # which take time by their square
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


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
