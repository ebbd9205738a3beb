"""Which files clients may have the server read and write: regular ones below the roots, whatever links say."""

import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from cuvis_ai_core.errors import ServiceError

_LONGEST_NAME: Final = 200
"""Bytes: file systems take 255, and names for the time of writing, and of files beside, are longer."""

_LONGEST_PATH: Final = 3500


class Roots:
    """The folders that clients may name files in.

    Args:
        read: Folders below which files are read.
        write: Folders below which files are written.
    """

    def __init__(self, read: Sequence[Path], write: Sequence[Path]) -> None:
        self.read = list(read)
        self.write = list(write)

    def folder(self, text: str) -> Path:
        """Return a folder that files may be read from.

        Raises:
            ServiceError: It is not there, or not below a root.
        """
        found = self._first([Path()] if _is_absolute(text) else self.read, text)
        if found is None:
            self._refuse_outside([Path()] if _is_absolute(text) else self.read, text)
        if found is None or not found.is_dir():
            raise ServiceError(f"There is no folder '{text}'.", code="NOT_FOUND")
        return self._below(found, self.read, text)

    def file(self, text: str, folders: Iterable[Path] = (), suffixes: Sequence[str] = ("",)) -> Path:
        """Return a regular file that may be read, its links followed.

        Args:
            text: What the client wrote: absolute, or relative to one of the folders, or to a root.
            folders: Where it is looked for first.
            suffixes: What may be missing at its end.

        Raises:
            ServiceError: It is not there, no regular file, or not below a root.
        """
        if not text.strip() or "\0" in text:
            raise ServiceError("The path is empty, or no path.", code="INVALID_ARGUMENT")
        places = [Path()] if _is_absolute(text) else [*folders, *self.read]
        found = next(filter(None, (self._first(places, f"{text}{suffix}") for suffix in suffixes)), None)
        if found is None:
            # Asked before "not found" is said: whether a file is there is nobody's business outside.
            self._refuse_outside(places, text)
            raise ServiceError(f"There is no file '{text}'.", code="NOT_FOUND")
        path = self._below(found, self.read, text)
        # Reading a pipe or a device may never end.
        if not stat.S_ISREG(path.stat().st_mode):
            raise ServiceError(f"'{text}' is no regular file.", code="PERMISSION_DENIED")
        return path

    def readable(self, text: str, folders: Iterable[Path] = ()) -> Path:
        """Return a file or folder that may be read, its links followed.

        Raises:
            ServiceError: It is not there, is neither, or is not below a root.
        """
        places = [Path()] if _is_absolute(text) else [*folders, *self.read]
        found = self._first(places, text)
        if found is not None and found.is_dir():
            return self._below(found, self.read, text)
        return self.file(text, folders)

    def target(self, text: str, folder: Path | None = None) -> Path:
        """Return where a file may be written; its folder need not be there yet.

        Args:
            text: What the client wrote: absolute, or relative to the folder, or to the first root.
            folder: Where a relative path begins.

        Raises:
            ServiceError: Nothing may be written there.
        """
        if not text.strip() or "\0" in text:
            raise ServiceError("The path is empty, or no path.", code="INVALID_ARGUMENT")
        if not self.write:
            raise ServiceError("This server writes no files for its clients.", code="PERMISSION_DENIED")
        path = Path(text) if _is_absolute(text) else (folder or self.write[0]) / text
        if len(os.fsencode(path)) > _LONGEST_PATH or any(len(os.fsencode(each)) > _LONGEST_NAME for each in path.parts):
            raise ServiceError(
                f"'{text[:_LONGEST_NAME]}…' is too long for a path: a name has up to {_LONGEST_NAME} bytes here.",
                code="INVALID_ARGUMENT",
            )
        found = self._below(path, self.write, text)
        if found.exists() and not found.is_file() and not found.is_dir():
            raise ServiceError(f"'{text}' is no regular file.", code="PERMISSION_DENIED")
        return found

    def refuse_outside(self, path: Path) -> None:
        """Refuse a link that leads out; what is named is the link alone.

        Raises:
            ServiceError: It does.
        """
        self._below(path, self.read, path.name)

    @staticmethod
    def _first(places: Iterable[Path], text: str) -> Path | None:
        """Return the first place where there is something of that name."""
        for place in places:
            path = place / text
            # `exists` follows links, and so tells what there is outside of the roots.
            if os.path.lexists(path):
                return path
        return None

    def _refuse_outside(self, places: Iterable[Path], text: str) -> None:
        """Refuse a path that leads out wherever it begins: a client is not told what there is elsewhere.

        Raises:
            ServiceError: It does.
        """
        outside: ServiceError | None = None
        for place in places:
            try:
                self._below(place / text, self.read, text)
            except ServiceError as error:
                outside = error
            else:
                return
        if outside is not None:
            raise outside

    @staticmethod
    def _below(path: Path, roots: Sequence[Path], text: str) -> Path:
        """Return a path without links if it lies below a root.

        Raises:
            ServiceError: It does not.
        """
        try:
            # With all links followed, also in a part that does not exist yet.
            real = path.resolve()
        except (OSError, RuntimeError) as error:  # a circle of links
            raise ServiceError(f"'{text}' leads nowhere.", code="INVALID_ARGUMENT") from error
        if not any(real.is_relative_to(root) for root in roots):
            raise ServiceError(
                f"'{text}' is not below a folder that this server's clients may use.",
                hint="Whoever runs the server allows folders with --root and --write-root.",
                code="PERMISSION_DENIED",
            )
        return real


def _is_absolute(text: str) -> bool:
    return Path(text).is_absolute()
