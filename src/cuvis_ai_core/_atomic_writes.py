"""Writing to disk so that a reader sees the old or the new, never a half."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO


def write_atomic(path: Path, data: str | bytes) -> None:
    """Write a file through a temporary sibling and `os.replace`.

    Raises:
        OSError: The folder cannot be written; the old file is as it was.
    """
    with replacing(path) as file:
        file.write(data.encode() if isinstance(data, str) else data)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Have a file to write that takes the place of the one at `path` in the end, if nothing was raised.

    Raises:
        OSError: The folder cannot be written; the old file is as it was.
    """
    import tempfile

    # A part of the name: it may be as long as the disk allows.
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name[:40]}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp makes files that their owner alone may read
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _umask() -> int:
    """Return which rights new files do not get; it can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write a JSON file atomically, for people and programs.

    Raises:
        OSError: The folder cannot be written.
    """
    import json

    text = json.dumps(data, indent=2, ensure_ascii=False) + "\n"
    write_atomic(path, text.encode(errors="surrogatepass"))  # names of files need not be UTF-8
