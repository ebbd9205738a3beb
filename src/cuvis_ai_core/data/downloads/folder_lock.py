"""One program at a time works in a folder that several fetch into: the others wait for it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cuvis_ai_core._file_lock import LOCKLESS
from cuvis_ai_core.data.downloads.progress_events import ProgressEmitter

logger = logging.getLogger(__name__)

_LOCK: Final = ".cuvis-cache.lock"
"""The published name, so that a published program and this one wait for each other."""
_LONGEST_WAIT: Final = 600.0


@contextmanager
def working_in(
    folder: Path, kind: type[Exception], progress: ProgressEmitter | None = None, longest: float = _LONGEST_WAIT
) -> Iterator[None]:
    """Work in a folder in which nobody else does; wait for those who do.

    Args:
        folder: It is made where it is not there.
        kind: Of the error.
        progress: Whom it is told that others are waited for; by default that is a warning.
        longest: How long, in seconds.

    Raises:
        Exception: Of that kind: the folder cannot be made or written, or others work in it for longer.
    """
    import filelock

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / _LOCK)
        try:
            # First without waiting, so that waiting can be told of.
            lock.acquire(timeout=0)
        except filelock.Timeout:
            if progress is not None:
                progress.waiting()
            else:
                logger.warning("waiting for another program that works in %s, for %.0f s at most", folder, longest)
            lock.acquire(timeout=longest)
    # Before OSError, of which it is one.
    except filelock.Timeout:
        raise kind(f"{folder}: another program has worked in it for {longest:.0f} s; try again later.") from None
    except (OSError, NotImplementedError) as error:  # NotImplementedError: how filelock says that there are no locks
        if not isinstance(error, OSError) or error.errno in LOCKLESS:
            raise kind(
                f"{folder}: its file system has no locks, by which programs that fetch into one folder wait for each "
                "other. Choose a folder on a disk of this machine (for weights: HF_HUB_CACHE=FOLDER), or have the "
                "network file system mounted with locks."
            ) from error
        raise kind(
            f"{folder}: nothing can be written there: {error.strerror or error}. Choose another folder, or look at its "
            "rights and the room on its disk."
        ) from error
    try:
        yield
    finally:
        lock.release()
