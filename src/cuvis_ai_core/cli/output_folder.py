"""The folder of results: whole or not there, and careful with what is not its own."""

import glob
import logging
import os
import re
import tempfile
import unicodedata
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import click
from filelock import FileLock, Timeout

from cuvis_ai_core._files import read_json, remove_tree
from cuvis_ai_core.cli.run_record import RECORD

logger = logging.getLogger(__name__)

_LONGEST_NAME: Final = 100
_LOCK: Final = "lock"


def safe_name(name: str) -> str:
    """Return a name as part of a file name that every disk takes."""
    plain = re.sub(r"[^\w.-]+", "_", unicodedata.normalize("NFC", name)).strip(".")
    plain = plain.encode()[:_LONGEST_NAME].decode(errors="ignore")
    # Windows keeps these to itself, whatever follows the dot.
    reserved = re.match(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\.|$)", plain)
    return f"_{plain}" if reserved or not plain else plain


def _remove_if_left(folder: Path) -> None:
    """Remove the temporary folder of a run that was killed; one of a run that is under way holds its lock."""
    if not (folder / _LOCK).is_file():
        return
    lock = FileLock(folder / _LOCK)
    try:
        lock.acquire(timeout=0)
    except (Timeout, OSError):
        return
    lock.release()
    logger.info("removing %s, left by a run that was killed", folder)
    remove_tree(folder)


class OutputFolder:
    """A folder that gets all files of a run at once, and none of a run that failed.

    Files are written to `staging`, beside their place, and moved by `publish`. What an earlier run wrote, by the
    record in its `run.json`, is replaced; other files stay.

    Args:
        folder: The folder, made if it is not there.
        certain: Names of files that will be written: better refused before the work than after it.
        option: What says which folder, for messages.
    """

    def __init__(self, folder: Path, certain: Iterable[str] = (RECORD,), option: str = "--output-dir") -> None:
        self._folder = folder
        self._option = option
        self._certain = frozenset(certain)

    def __enter__(self) -> Self:
        self._refuse_foreign(self._certain.difference(self._own_files()))
        with self._writable():
            # In the folder itself if it is there: its parent may be another disk, or not ours.
            absolute = self._folder.absolute()
            beside = next(place for place in (absolute, *absolute.parents) if os.path.lexists(place))
            prefix = f".{absolute.name or 'output'}."
            for old in beside.glob(f"{glob.escape(prefix)}*"):
                _remove_if_left(old)
            self._temporary = Path(tempfile.mkdtemp(prefix=prefix, dir=beside))
            self._lock = FileLock(self._temporary / _LOCK)
            self._lock.acquire(timeout=1)  # until this process ends, however it does
            self.staging = self._temporary / "new"
            self.staging.mkdir()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()
        remove_tree(self._temporary)
        if isinstance(error, KeyboardInterrupt):
            error.add_note(f"No results were written to '{self._folder}'; what was there before is as it was.")

    def publish(self) -> None:
        """Move the files to their place.

        Raises:
            click.BadParameter: The folder cannot be written, or a file there is not of an earlier run.
        """
        with self._writable():
            self._folder.parent.mkdir(parents=True, exist_ok=True)
            for file in sorted(self.staging.iterdir()):
                logger.info("writing %s", self._folder / file.name)
            if not os.path.lexists(self._folder):
                self.staging.rename(self._folder)
                return
            old = self._own_files()
            new = sorted((file.name for file in self.staging.iterdir()), key=lambda name: name == RECORD)
            self._refuse_foreign(set(new) - set(old))
            self._exchange(old, new)

    def _exchange(self, old: list[str], new: list[str]) -> None:
        """Move the old files out and the new ones in, or leave everything as it was."""
        aside = self._temporary / "old"
        aside.mkdir()
        moved: list[tuple[Path, Path]] = []
        try:
            for source, target, names in ((self._folder, aside, old), (self.staging, self._folder, new)):
                for name in names:
                    os.replace(source / name, target / name)  # noqa: PTH105
                    moved.append((source / name, target / name))
        except BaseException:
            for source, target in reversed(moved):
                os.replace(target, source)  # noqa: PTH105
            raise

    def _own_files(self) -> list[str]:
        """Return the names of the files of an earlier run, its record first."""
        record = read_json(self._folder / RECORD) or {}
        files = record.get("files")
        if not isinstance(files, list):
            return []
        named = {str(each.get("file")) for each in files if isinstance(each, dict)}
        return [
            name for name in (RECORD, *sorted(named)) if Path(name).name == name and (self._folder / name).is_file()
        ]

    def _refuse_foreign(self, names: AbstractSet[str]) -> None:
        for name in sorted(names):
            if os.path.lexists(self._folder / name):
                raise click.BadParameter(
                    f"'{self._folder}' holds '{name}', which no earlier run wrote; it is not overwritten.\n"
                    "Choose another folder, or remove that file.",
                    param_hint=self._option,
                )

    @contextmanager
    def _writable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise click.BadParameter(
                f"'{self._folder}' cannot be written: {error.strerror or error}.\nChoose another folder.",
                param_hint=self._option,
            ) from error
