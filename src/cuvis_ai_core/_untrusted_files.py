"""Reading files that somebody else may have written: plain ones only, and no more of them than they may have."""

import os
import re
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from cuvis_ai_core._printable_text import shown_size
from cuvis_ai_core.errors import YamlError

if TYPE_CHECKING:
    from cuvis_ai_core._yaml import YamlDocument

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
    except tomllib.TOMLDecodeError as error:
        from cuvis_ai_core._merge_conflicts import conflict_in

        if (conflict := conflict_in(text)) is None:
            raise
        # In the words of tomllib, which some readers of this look into.
        raise ValueError(f"{conflict[0]} (at line {conflict[1]}, column 1)") from error


def load_yaml(path: Path) -> "YamlDocument":
    """Read the YAML file at `path`.

    Raises:
        YamlError: The file cannot be read, or breaks a rule of YAML or of `_yaml`.
    """
    from cuvis_ai_core._yaml import MAX_BYTES, parse_yaml, too_large

    try:
        with open_file(path) as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise YamlError(_unreadable(path, error), path=path) from error
    if len(content) > MAX_BYTES:
        raise YamlError(too_large(), path=path)
    try:
        return parse_yaml(content.decode(), path)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise YamlError("not UTF-8 text; save the file as UTF-8", line=line, path=path) from error


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


def special(path: Path) -> str | None:
    """Return what is there instead of a file, as in `it is a pipe, no file`; None for files, folders and nothing."""
    try:
        refuse_special(path.stat().st_mode)
    except OSError:
        return None
    except ValueError as error:
        return str(error)
    return None


def _unreadable(path: Path, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        from cuvis_ai_core._nearest import nearest

        try:
            near = nearest(path.name, [entry.name for entry in path.parent.iterdir()])
        except OSError:
            return "there is no such file, and no such folder; give the path of a file"
        return f"there is no such file; {f'did you mean {near!r}?' if near else 'check the path'}"
    if isinstance(error, IsADirectoryError):
        return "this is a folder; give the path of a file"
    if isinstance(error, PermissionError):
        return "the file may not be read; change its permissions, or those of the folders above it"
    return f"the file cannot be read ({getattr(error, 'strerror', None) or error}); check the path"


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the mapping in a JSON file, or None where there is none that can be read."""
    try:
        content = read_file(path)
    except (OSError, ValueError):
        return None
    import json

    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None
