"""The files of a local plugin that a bundle carries."""

import os
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

from cuvis_ai_core.errors import BundleError
from cuvis_ai_core.plugins.disk.altered_files import NO_SOURCE

NOT_BUNDLED: Final = (".git", ".hg", "*.egg-info", *NO_SOURCE)
"""Files and folders of a local plugin that nobody needs elsewhere."""


def files_below(folder: Path, ignored: tuple[str, ...] = NOT_BUNDLED) -> Iterator[str]:
    """Return all files below a folder, relative to it, with `/`; those that links in it lead to are files of theirs.

    Raises:
        BundleError: A link leads out of the folder, or to nothing; something is no file.
    """
    yield from _below(folder, "", ignored, folder.resolve(), frozenset())


def _below(folder: Path, prefix: str, ignored: tuple[str, ...], top: Path, above: frozenset[str]) -> Iterator[str]:
    real = os.path.realpath(folder)
    # A link to a folder above it is a circle; each place is walked through once on one way.
    if real in above or not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if any(fnmatch(path.name, each) for each in ignored):
            continue
        if path.is_symlink() and not (path.exists() and path.resolve().is_relative_to(top)):
            raise BundleError(
                f"{path} is a link that leads to {os.readlink(path)}, which is not in the plugin's folder {top}.",
                hint="Put the file itself there: a bundle carries no links.",
            )
        if not path.is_dir() and not path.is_file():
            raise BundleError(
                f"{path} is a pipe, a socket or a device, no file.", hint="Remove it: a bundle carries files alone."
            )
        if path.is_dir():
            yield from _below(path, f"{prefix}{path.name}/", ignored, top, above | {real})
        else:
            yield f"{prefix}{path.name}"
