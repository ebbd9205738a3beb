"""Removing a folder with all that is in it, whatever rights its files have and however deep they lie."""

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


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
