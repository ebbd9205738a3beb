"""Writing to disk so that a reader sees the old or the new, never a half."""

import contextlib
import os
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
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

    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
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


def remove_tree(path: Path) -> None:
    """Remove a folder with all that is in it, read-only files included; nothing there is fine.

    Raises:
        OSError: Something cannot be removed.
    """
    import shutil

    def make_writable(function: Callable[..., Any], name: str, _: object) -> None:
        if not os.path.lexists(name) or Path(name).is_symlink():  # its rights are those of what it leads to
            return
        os.chmod(name, stat.S_IRWXU)
        function(name)

    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        # Git's object files are read-only, which stops removal on Windows.
        try:
            if sys.version_info >= (3, 12):
                shutil.rmtree(path, onexc=make_writable)
            else:
                shutil.rmtree(path, onerror=make_writable)
        except RecursionError:  # what somebody else made may lie deeper than Python calls
            _remove_deep(path)


def _remove_deep(path: Path) -> None:
    """Remove a folder, however deep folders lie in each other in it."""
    waiting, found = [os.fspath(path)], []
    while waiting:
        folder = waiting.pop()
        found.append(folder)
        os.chmod(folder, stat.S_IRWXU)
        with os.scandir(folder) as entries:
            for each in entries:
                if each.is_dir(follow_symlinks=False):
                    waiting.append(each.path)
                else:
                    os.unlink(each)
    for folder in reversed(found):
        os.rmdir(folder)
