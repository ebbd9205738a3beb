"""The folder of results: whole or not there, and careful with what is not its own.

What is its own is what lies there with the content that was written: its record has the hash of each file. Neither a
record that somebody else laid there nor a file that was changed since makes anybody's work ours to remove.
"""

import errno
import glob
import hashlib
import itertools
import json
import logging
import os
import re
import stat
import tempfile
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from filelock import FileLock, Timeout

from cuvis_ai_core._file_lock import LOCKLESS
from cuvis_ai_core._folder_removal import remove_tree
from cuvis_ai_core._untrusted_files import read_json
from cuvis_ai_core.errors import OutputError
from cuvis_ai_core.results.run_record import RECORD

logger = logging.getLogger(__name__)

_LONGEST_NAME: Final = 100
_CHOOSE: Final = "Choose another folder, with --output-dir or with output_dir in a trainrun"
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_LOCK: Final = "lock"
_NEW: Final = "new"
_OLD: Final = "old"

_WRITTEN: Final = "written"
"""Key of a record under which the hashes of the files stand that were written with it."""

_SIZES: Final = "sizes"
"""Key under which their bytes are counted: what was cut off is seen without reading."""

_ASIDE: Final = ".changed"
"""What follows the name of a file that was put aside."""

_PLACE: Final = "folder"
"""Key under which the number stands that the file system gave the folder: no archive and no repository knows it."""


def safe_name(name: str) -> str:
    """Return a name as part of a file name that every disk takes."""
    plain = re.sub(r"[^\w.-]+", "_", unicodedata.normalize("NFC", name)).strip(".")
    plain = plain.encode()[:_LONGEST_NAME].decode(errors="ignore")
    # Windows keeps these to itself, whatever follows the dot.
    reserved = re.match(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\.|$)", plain)
    return f"_{plain}" if reserved or not plain else plain


def _is_plain(name: str) -> bool:
    """Tell whether a record's name is that of a file of its own folder: a stranger's record may name others."""
    return name not in ("", ".", "..") and not {"/", os.sep, "\0"} & set(name) and Path(name).name == name


def _remove_if_left(folder: Path) -> None:
    """Remove the temporary folder of a run that was killed; one of a run that is under way holds its lock."""
    if folder.is_symlink() or not folder.is_dir():
        return
    inside = {each.name: each for each in folder.iterdir()}
    if _LOCK not in inside or not inside.keys() <= {_LOCK, _NEW, _OLD} or any(map(Path.is_symlink, inside.values())):
        return
    lock = FileLock(folder / _LOCK)
    try:
        lock.acquire(timeout=0)
    except (OSError, NotImplementedError):  # it is held, or there are no locks
        return
    is_settled = _take_back(folder, folder.parent)
    lock.release()
    if is_settled:
        logger.info("removing %s, left by a run that was killed", folder)
        remove_tree(folder)


def _take_back(temporary: Path, folder: Path) -> bool:
    """Undo an exchange of files that was cut off: its record comes last, and is still where it was written.

    Whatever cuts this off, it can be done again.

    Returns:
        Whether nothing in it counts any more: not so where the record is of another folder. It came in an archive,
        which may take no file away and lay none down, or was copied, with files that are nowhere else.
    """
    new, old = temporary / _NEW, temporary / _OLD
    record = read_json(new / RECORD)
    if record is None or not old.is_dir() or not isinstance(record.get(_WRITTEN), dict):
        return True
    if record.get(_PLACE) != folder.stat().st_ino:
        return False
    for name, content in record[_WRITTEN].items():
        arrived = _is_plain(name) and not os.path.lexists(new / name)
        if arrived and _hash_of(folder / name) == content:
            os.replace(folder / name, new / name)
    for file in sorted(old.iterdir(), key=lambda each: each.name == RECORD):
        if not os.path.lexists(folder / file.name):
            os.replace(file, folder / file.name)
    logger.info("the files of '%s' are again those from before that run", folder)
    return True


def _hash_of(file: Path) -> str | None:
    """Return the hash of a regular file, None where there is none."""
    try:
        if not stat.S_ISREG(file.lstat().st_mode):
            return None
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except (OSError, ValueError):
        return None


def not_as_written(folder: Path, record: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of files that are gone or changed, as far as size and time tell; of other folders', at once.

    So thousands of folders are looked through in a moment. A file whose time is later than that of the record, which
    was written last, is compared by its content.

    Args:
        folder: The folder of the results.
        record: What its `run.json` says.
    """
    hashes, sizes = record.get(_WRITTEN), record.get(_SIZES)
    counted = sizes if isinstance(sizes, dict) else {}
    sealed: int | None = None
    for name, content in (hashes if isinstance(hashes, dict) else {}).items():
        if not _is_plain(name):
            yield name
            continue
        file = f"{folder}{os.sep}{name}"  # a path object for each file of ten thousand cubes costs as much as asking
        try:
            about = os.stat(file)
            sealed = sealed or os.stat(f"{folder}{os.sep}{RECORD}").st_mtime_ns
        except (OSError, ValueError):
            yield name
            continue
        if about.st_size != counted.get(name, about.st_size) or (
            about.st_mtime_ns > sealed and _hash_of(Path(file)) != content
        ):
            yield name


def put_aside(folder: Path) -> list[str]:
    """Rename files of an earlier run that were changed since, so that they neither stand in the way nor are lost.

    Where the record cannot be read, nobody knows what was changed, and all files are.

    Args:
        folder: The folder of the results.

    Returns:
        Their new names.

    Raises:
        OSError: The folder cannot be written.
    """
    record = read_json(folder / RECORD)
    known = record is not None and isinstance(record.get(_WRITTEN), dict) and isinstance(record.get("files"), list)
    names = list(not_as_written(folder, record or {})) if known else _not_aside(folder)
    aside = []
    for file in (folder / name for name in sorted(filter(_is_plain, names), key=lambda name: name == RECORD)):  # last
        if file.is_file():
            new = next(each for each in _aside_names(file) if not os.path.lexists(each))
            file.rename(new)
            aside.append(new.name)
    return aside


def _not_aside(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir() if not re.search(rf"{re.escape(_ASIDE)}(-\d+)?$", file.name)]


def _aside_names(file: Path) -> Iterator[Path]:
    yield file.with_name(f"{file.name}{_ASIDE}")
    yield from (file.with_name(f"{file.name}{_ASIDE}-{number}") for number in itertools.count(2))


def _sync(file: Path) -> None:
    """Have a file on the disk: a machine that loses its power afterwards has it."""
    if file.is_file():
        with file.open("r+b") as content:
            os.fsync(content.fileno())


class OutputFolder:
    """A folder that gets all files of a run at once, and none of a run that failed.

    Files are written to `staging`, beside their place, and moved by `publish`. What an earlier run wrote and nobody
    changed, by the hashes in its `run.json`, is replaced; other files stay.

    Args:
        folder: The folder, made if it is not there.
        certain: Names of files that will be written: better refused before the work than after it.
    """

    def __init__(self, folder: Path, certain: Iterable[str] = (RECORD,)) -> None:
        self._folder = folder
        self._certain = frozenset(certain)
        self._hashes: dict[tuple[str, int, int], str | None] = {}
        self._published = False

    def __enter__(self) -> Self:
        with self._writable():
            # In the folder itself if it is there: its parent may be another disk, or not ours.
            absolute = self._folder.absolute()
            beside = next(place for place in (absolute, *absolute.parents) if os.path.lexists(place))
            prefix = f".{absolute.name or 'output'}."
            # The folder's name may have a `[` or a `*` of its own.
            for old in beside.glob(f"{glob.escape(prefix)}*"):
                _remove_if_left(old)
        self._refuse_foreign(self._certain.difference(self._own_files()))
        with self._writable():
            self._temporary = Path(tempfile.mkdtemp(prefix=prefix, dir=beside))
            self._lock = FileLock(self._temporary / _LOCK)
            self._hold()
            self.staging = self._temporary / _NEW
            self.staging.mkdir()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()
        remove_tree(self._temporary)
        # Writing says no name, unlike opening; and that in `staging` would be of a folder that is gone.
        if isinstance(error, OSError) and error.filename is None and error.errno in _NO_ROOM:
            error.filename = str(self._folder)
        if isinstance(error, KeyboardInterrupt):
            error.add_note(
                f"The results are in '{self._folder}': it was done."
                if self._published
                else f"No results were written to '{self._folder}'; what was there before is as it was."
            )

    def _hold(self) -> None:
        """Hold the lock of the temporary folder until this process ends, however it does, where there are locks."""
        try:
            self._lock.acquire(timeout=1)
        except (OSError, NotImplementedError) as error:
            if not isinstance(error, Timeout | NotImplementedError) and error.errno not in LOCKLESS:
                raise

    def publish(self) -> None:
        """Move the files to their place.

        Raises:
            OutputError: The folder cannot be written, or a file there is not of an earlier run.
        """
        with self._writable():
            self._folder.parent.mkdir(parents=True, exist_ok=True)
            self._seal()
            for file in self.staging.iterdir():
                _sync(file)
            for file in sorted(self.staging.iterdir()):
                logger.info("writing %s", self._folder / file.name)
            if not os.path.lexists(self._folder):
                self.staging.rename(self._folder)
                self._published = True
                return
            old = self._own_files()
            # The record comes last: by it `_take_back` knows whether the exchange had come to its end.
            new = sorted((file.name for file in self.staging.iterdir()), key=lambda name: name == RECORD)
            self._refuse_foreign(set(new) - set(old))
            self._exchange(old, new)
            self._published = True

    def doubts(self) -> Iterator[str]:
        """Yield why what the record says is not to be believed: files are other ones, or it was not written here."""
        record = read_json(self._folder / RECORD) or {}
        if record.get(_PLACE) != self._folder.stat().st_ino:
            yield "it was not written in this folder: it was copied here, or somebody made it"
        hashes = record.get(_WRITTEN)
        own = self._own_files()
        for name in sorted(hashes if isinstance(hashes, dict) else {}):
            if name not in own:
                yield f"'{name}' is missing, or not as it was written"

    def _exchange(self, old: list[str], new: list[str]) -> None:
        """Move the old files out and the new ones in, or leave everything as it was."""
        aside = self._temporary / _OLD
        aside.mkdir()
        moved: list[tuple[Path, Path]] = []
        try:
            for source, target, names in ((self._folder, aside, old), (self.staging, self._folder, new)):
                for name in names:
                    os.replace(source / name, target / name)
                    moved.append((source / name, target / name))
        except BaseException:
            for source, target in reversed(moved):
                os.replace(target, source)
            raise

    def _seal(self) -> None:
        """Add the hashes of all files to the record, by which they will be known."""
        record = read_json(self.staging / RECORD)
        if record is not None:
            files = [file for file in sorted(self.staging.iterdir()) if file.name != RECORD]
            seal = {
                _WRITTEN: {file.name: self._hash(file) for file in files},
                _SIZES: {file.name: file.stat().st_size for file in files},
            }
            place = self._folder if self._folder.exists() else self.staging  # which is moved there
            text = json.dumps({**record, **seal, _PLACE: place.stat().st_ino}, indent=2)
            (self.staging / RECORD).write_text(f"{text}\n", encoding="utf-8")

    def _own_files(self) -> list[str]:
        """Return the names of the files of an earlier run that are as it wrote them, its record first."""
        record = read_json(self._folder / RECORD) or {}
        if not isinstance(record.get("files"), list) or (self._folder / RECORD).is_symlink():
            return []
        hashes = record.get(_WRITTEN)
        written = hashes if isinstance(hashes, dict) else {}
        names = [name for name in sorted(written) if name != RECORD and _is_plain(name)]
        return [RECORD, *(name for name in names if self._hash(self._folder / name) == written[name])]

    def _hash(self, file: Path) -> str | None:
        """Return the hash of a file, None where there is none or something else; computed again where it changed."""
        try:
            about = file.lstat()
        except (OSError, ValueError):
            return None
        key = (str(file), about.st_size, about.st_mtime_ns)
        if key not in self._hashes:
            self._hashes[key] = _hash_of(file)
        return self._hashes[key]

    def _refuse_foreign(self, names: AbstractSet[str]) -> None:
        for name in sorted(names):
            if os.path.lexists(self._folder / name):
                raise OutputError(
                    f"'{self._folder}' holds '{name}', which no earlier run wrote, or which was changed since; it is "
                    "not overwritten.",
                    hint=f"{_CHOOSE}, or remove that file.",
                )

    @contextmanager
    def _writable(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:  # a path with a NUL is none
            reason = getattr(error, "strerror", None) or error
            raise OutputError(f"'{self._folder}' cannot be written: {reason}.", hint=f"{_CHOOSE}.") from error
