"""Putting weights into a folder of them, and taking them out: each file at once, and only what is meant."""

import errno
import os
import re
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from cuvis_ai_core._atomic_writes import write_atomic
from cuvis_ai_core._folder_removal import remove_tree
from cuvis_ai_core._printable_text import shown_in_line
from cuvis_ai_core.data.downloads.repository_files import size_of
from cuvis_ai_core.data.downloads.weight_entries import RegisteredWeight
from cuvis_ai_core.data.downloads.weights_status import STAGING, place_of, staging_of
from cuvis_ai_core.errors import ModelDownloadError

_FOLDER: Final = re.compile(r"models--[A-Za-z0-9][A-Za-z0-9_.-]*")


def put(weight: RegisteredWeight, staged: Path, cache: Path) -> None:
    """Move the files of weights, which were compared with their hashes, to where they belong; their own comes last."""
    for file in weight.files:
        place = place_of(weight, cache, file.path)
        place.parent.mkdir(parents=True, exist_ok=True)
        _move(staged / file.path, place)
    note_default(cache / weight.cache_dir_name, weight.entry.revision)


def note_default(repository: Path, revision: str) -> None:
    """Have loaders that ask for no revision find this one without a connection."""
    (repository / "refs").mkdir(parents=True, exist_ok=True)
    write_atomic(repository / "refs" / "main", revision)


def take_out(weight: RegisteredWeight, cache: Path, others: Iterable[RegisteredWeight]) -> int:
    """Remove the files of weights, and return how many bytes that were; what others need as well stays."""
    repository = cache / weight.cache_dir_name
    pinned = (weight.entry.repo_id, weight.entry.revision)
    shared = {
        file.path
        for row in others
        if (row.entry.repo_id, row.entry.revision) == pinned and os.path.lexists(place_of(row, cache))
        for file in row.files
    }
    freed = 0
    for file in reversed(weight.files):  # without its own they count as absent
        if file.path not in shared:
            freed += _unlink(place_of(weight, cache, file.path), repository)
    staging = staging_of(weight, cache)
    freed += size_of(staging)
    forget_staged(staging)
    _prune(repository)
    return freed


def take_out_folder(name: str, cache: Path) -> int:
    """Remove the folder of a repository, and return how many bytes that were.

    Raises:
        ModelDownloadError: It is no such folder.
    """
    if not _FOLDER.fullmatch(name):
        raise ModelDownloadError(
            f"'{shown_in_line(name)}' is not removed: only folders 'models--*' in the folder of weights are."
        )
    folder = cache / name
    if folder.is_symlink():
        raise ModelDownloadError(f"{folder} is not removed: it is a link.", hint="Remove it by hand.")
    if not folder.is_dir():
        raise ModelDownloadError(f"{folder} is not there.")
    freed = size_of(folder)
    remove_tree(folder)
    return freed


def forget_staged(staging: Path) -> None:
    """Remove what was fetched into a folder of its own, and the folders above it that are empty then."""
    remove_tree(staging)
    with suppress(OSError):
        for folder in staging.parents[:2]:
            if STAGING in folder.parts:
                folder.rmdir()


def _move(staged: Path, place: Path) -> None:
    """Move a file at once, also where the folder of its repository is on another disk."""
    try:
        os.replace(staged, place)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        # Aside: a copy takes its time, and may be cut off.
        part = place.with_name(f".{place.name}.part")
        shutil.copyfile(staged, part)
        os.replace(part, place)


def _unlink(path: Path, repository: Path) -> int:
    """Remove a file, and what it is a link to if that lies in its repository and nothing else leads there."""
    if not os.path.lexists(path):
        return 0
    blob = path.resolve() if path.is_symlink() else None
    freed = 0 if blob else path.lstat().st_size
    path.unlink()
    if blob is None or blob.parent != (repository / "blobs").resolve() or not blob.is_file():
        return freed
    if any(each.is_symlink() and each.resolve() == blob for each in (repository / "snapshots").rglob("*")):
        return freed
    size = blob.lstat().st_size
    blob.unlink()
    return freed + size


def _prune(repository: Path) -> None:
    """Remove folders of a repository that are empty, and all of it where no file of a revision is left."""
    if repository.is_symlink() or not repository.is_dir():
        return
    snapshots = repository / "snapshots"
    # The innermost first: a folder can be removed when it is empty.
    for folder in sorted(snapshots.rglob("*"), reverse=True):
        if folder.is_dir() and not folder.is_symlink():
            with suppress(OSError):
                folder.rmdir()
    if not any(snapshots.glob("*/*")):
        remove_tree(repository)
