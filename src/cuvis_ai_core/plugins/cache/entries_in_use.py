"""Who uses an entry of the plugin cache, and since when nobody does: best effort, without locks.

Each load leaves an empty file `<pid>-<machine>-<random>` in a folder that belongs to the entry. When the plugin is
unloaded, or the process ends, the file becomes `last`, whose time is that of the last use. A process that was killed
leaves its file behind: whoever asks compares it with the processes that there are.

Someone who wants to remove an entry first says so (`removing`), then looks for users; someone who uses an entry first
says so, then looks whether it is being removed. So one of the two always sees the other.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
import weakref
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LAST: Final = "last"
_DASHES: Final = 2  # in the name of a use: process, machine and a random part
_REMOVING: Final = "removing"

_FOREIGN_SECONDS: Final = 86_400.0
"""How long a use on another machine, of which nobody here can tell whether it goes on, counts as going on."""

_REMOVING_SECONDS: Final = 60.0
"""How long somebody may be about to remove an entry, which takes some milliseconds."""


class User(NamedTuple):
    """A process that uses an entry.

    Attributes:
        pid: Its number.
        title: What a person knows it by.
    """

    pid: int
    title: str

    def __str__(self) -> str:
        return f"process {self.pid} ({self.title})"


class Uses:
    """What somebody in this process uses, until `release`, or until nobody has this object any more."""

    def __init__(self) -> None:
        self._records: dict[Path, list[Path]] = {}
        self._process = os.getpid()
        # Runs at the end of the interpreter as well, in an orderly one; of a killed process the number tells.
        weakref.finalize(self, _end_all, self._records, self._process)

    def begin(self, folder: Path) -> None:
        """Say that this process uses the entry of a folder, where that can be written."""
        record = _begin(folder)
        if record is not None:
            self._records.setdefault(folder, []).append(record)

    def release(self) -> None:
        """Say that all these uses are over."""
        _end_all(self._records, self._process)

    def hand_over(self, *folders: Path) -> Uses:
        """Return the uses of some entries, which end apart from the others from now on."""
        other = Uses()
        other._records.update({folder: self._records.pop(folder) for folder in folders if folder in self._records})
        return other


def _begin(folder: Path) -> Path | None:
    """Leave a file that says that this process uses the entry of a folder; None where that cannot be written."""
    # All in the name: an empty file needs no write and no flush, and is whole at once.
    record = folder / f"{os.getpid()}-{_machine()}-{os.urandom(4).hex()}"
    with contextlib.suppress(OSError):
        if not _taken_over(folder, record):
            folder.mkdir(parents=True, exist_ok=True)
            record.touch()
        return record
    return None


def _taken_over(folder: Path, record: Path) -> bool:
    """Use the file that tells of the last use, if it is free: on many disks a new one costs ten times as much."""
    try:
        last = f"{folder}/{_LAST}"
        # Before the rename: its time is that of the use, and the other order would show an old one for a moment.
        os.utime(last)
        os.rename(last, record)
    except FileNotFoundError:
        return False
    return True


def _end_all(records: dict[Path, list[Path]], process: int) -> None:
    # A process that was forked has the same records, but the uses are its parent's.
    while records and os.getpid() == process:
        for record in records.popitem()[1]:
            with contextlib.suppress(OSError):
                # The time stays that of the beginning: it is when the code was needed.
                os.replace(record, record.with_name(_LAST))


def being_removed(folder: Path) -> bool:
    """Tell whether somebody is about to remove the entry, and was not killed before."""
    try:
        said = os.stat(f"{folder}/{_REMOVING}").st_mtime
    except OSError:
        return False
    # The distance: a file server's clock may run ahead of ours.
    return abs(time.time() - said) < _REMOVING_SECONDS


def settle(folder: Path) -> None:
    """Forget that somebody wanted to remove the entry: whoever holds the entry's lock knows that nobody does."""
    with contextlib.suppress(OSError):
        (folder / _REMOVING).unlink()


@contextlib.contextmanager
def removing(folder: Path) -> Iterator[None]:
    """Say that the entry is about to be removed; the caller holds its lock.

    Raises:
        OSError: That cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _REMOVING).touch()
    try:
        yield
    finally:
        settle(folder)


def users(folder: Path) -> list[User]:
    """Return the processes that use the entry of a folder, each once; what killed ones left there is put in order."""
    found = {user.pid: user for record in sorted(_records(folder), key=changed) if (user := _user(record)) is not None}
    return list(found.values())


def last_use(folder: Path) -> float | None:
    """Return when the entry of a folder was used last, in seconds since 1970, as far as that is known."""
    # Also of uses that go on: entries in use must not be the oldest ones.
    times = [changed(path) for path in _listed(folder) if path.name == _LAST or path.name.count("-") == _DASHES]
    return max(times, default=None)


def _user(record: Path) -> User | None:
    pid, machine, _ = record.name.split("-")
    if machine != _machine():
        title = (
            "on another machine or in another container" if time.time() - changed(record) < _FOREIGN_SECONDS else None
        )
    elif int(pid) == os.getpid():
        title = "this process"
    else:
        title = _title_of_living(int(pid), changed(record))
    if title is not None:
        return User(int(pid), title)
    _end_of_other(record)
    return None


def _end_of_other(record: Path) -> None:
    last = record.with_name(_LAST)
    with contextlib.suppress(OSError):
        if last.exists() and changed(last) > changed(record):
            record.unlink()
        else:
            os.replace(record, last)


def _title_of_living(pid: int, used: float) -> str | None:
    """Return the title of a process that was there when the record was written; None if that one has ended."""
    # 54 ms: needed by who removes or lists only, not by who loads.
    import psutil

    try:
        process = psutil.Process(pid)
        # A number is used again: who began later (but for clocks that were set) is somebody else.
        # Two seconds: start times come in clock ticks since a boot whose moment is rounded.
        if process.create_time() > used + 2 or process.status() == psutil.STATUS_ZOMBIE:
            return None
        return " ".join(process.cmdline()[:2]) or process.name()
    except psutil.NoSuchProcess:
        return None
    except psutil.Error:
        return "of another user"


def changed(path: Path) -> float:
    """Return when a file or folder was changed last; 0 of one that cannot be looked at."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _records(folder: Path) -> list[Path]:
    return [
        path for path in _listed(folder) if path.name.count("-") == _DASHES and path.name.partition("-")[0].isdigit()
    ]


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


@cache
def _machine() -> str:
    """Return what tells the process numbers here from those on other machines and in other containers.

    Not from those before the last start of this machine: whoever has such a number now began later.
    """
    import zlib

    parts = [os.uname().nodename] if sys.platform != "win32" else [os.environ.get("COMPUTERNAME", "")]
    with contextlib.suppress(OSError):
        # Two containers of one name count their processes apart.
        parts.append(os.readlink("/proc/self/ns/pid"))
    return f"{zlib.crc32(' '.join(parts).encode()):08x}"
