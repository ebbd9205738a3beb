"""A project is copied before it is built: back-ends write into the tree that they build."""

import os
import shutil
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

from cuvis_ai_core._untrusted_files import refuse_special
from cuvis_ai_core.errors import ProjectFileError

_DEEPEST: Final = 100
"""Folders in each other: who copies or removes them calls itself for each."""


def copy_project(folder: Path, copy: Path, ignored: Sequence[str]) -> None:
    """Copy a project, links as links.

    Args:
        folder: The project.
        copy: Folder to make.
        ignored: Patterns of names that are left out.

    Raises:
        ProjectFileError: There is something in it that nobody can read to its end.
    """
    refuse_unreadable(folder, ignored)
    # Links as links: followed, one to `/` would have the whole disk copied; `refuse_unreadable` has looked behind them.
    shutil.copytree(folder, copy, symlinks=True, ignore=shutil.ignore_patterns(*ignored))


def refuse_unreadable(folder: Path, ignored: Sequence[str]) -> None:
    """Refuse a project with pipes and devices, also behind links, or folders so deep that they are hard to remove.

    Args:
        folder: The project.
        ignored: Patterns of names that do not count.

    Raises:
        ProjectFileError: It has one.
    """
    for path, depth in _below(folder, ignored):
        try:
            # `stat` follows a link: one to /dev/zero had a build read without end, a pipe had it wait.
            refuse_special(os.stat(path).st_mode)
        except ValueError as error:
            link = f", a link to {os.path.realpath(path)}," if os.path.islink(path) else ""
            raise _refused(path, f"{path}{link} is no part of a project: {error}") from None
        except OSError:
            continue  # a link to nothing, or gone in this moment: whoever needs it says so
        if depth > _DEEPEST:
            raise _refused(path, f"{path[:200]}… lies more than {_DEEPEST} folders deep")


def _below(folder: Path, ignored: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Yield all that is in a folder, with the number of folders above it; links are not followed."""
    # A list in place of calls: a folder 1,500 deep went over Python's limit of calls within each other.
    waiting = [(os.fspath(folder), 0)]
    while waiting:
        place, depth = waiting.pop()
        with os.scandir(place) as entries:
            for each in entries:
                if any(fnmatch(each.name, pattern) for pattern in ignored):
                    continue
                yield each.path, depth
                if each.is_dir(follow_symlinks=False):
                    waiting.append((each.path, depth + 1))


def _refused(path: str, what: str) -> ProjectFileError:
    return ProjectFileError(f"{what}.", hint="Take it out of the project's folder.", path=Path(path))
