"""Files of a repository on this disk: which paths stay in their folder, and whether a file is what it has to be."""

import hashlib
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeGuard

from cuvis_ai_core._printable_text import shown_in_line
from cuvis_ai_core._untrusted_files import open_file

_PIECE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class RepositoryFile:
    """A file of a revision.

    Attributes:
        path: In the repository.
        size_bytes: Its size.
        sha256: Its hash; None of a small file, which git has itself.
        blob_id: Its name in git, which is a hash too.
    """

    path: str
    size_bytes: int
    sha256: str | None
    blob_id: str

    def is_at(self, place: Path) -> bool:
        """Tell whether it lies at a place: its size, then its hash."""
        if not has_size(place, self.size_bytes):
            return False
        return sha256_of(place) == self.sha256 if self.sha256 else _blob_id_of(place) == self.blob_id


def is_inside(name: object) -> TypeGuard[str]:
    """Tell whether a text is a path that leads to nothing above where it begins, on whichever system."""
    if not isinstance(name, str) or name == "" or shown_in_line(name) != name:
        return False
    return not re.match("[A-Za-z]:", name) and not {"..", ".", ""} & set(re.split(r"[/\\]", name))


def is_below(place: Path, folder: Path) -> bool:
    """Tell whether a place lies in a folder when links above it are followed; what it is itself does not matter."""
    try:
        return place.parent.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # links that lead to each other, before Python 3.13
        return False


def sha256_of(path: Path) -> str | None:
    """Return the hash of a plain file, or None where it cannot be read."""
    try:
        with open_file(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    except (OSError, ValueError):
        return None


def has_size(path: Path, size: int) -> bool:
    """Tell whether a plain file of that size is there."""
    try:
        return path.is_file() and path.stat().st_size == size
    except OSError:
        return False


def size_of(folder: Path) -> int:
    """Return how many bytes the plain files below a folder have; links are not followed."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                path = Path(parent, name)
                total += 0 if path.is_symlink() else path.lstat().st_size
    return total


def _blob_id_of(path: Path) -> str | None:
    try:
        with open_file(path) as file:
            # What git hashes of a file: its kind, its size, and its content (git-hash-object(1)). Not for security,
            # else Python refuses SHA-1 on machines that keep to FIPS.
            found = hashlib.sha1(b"blob %d\0" % os.fstat(file.fileno()).st_size, usedforsecurity=False)
            while piece := file.read(_PIECE):
                found.update(piece)
    except (OSError, ValueError):
        return None
    return found.hexdigest()
