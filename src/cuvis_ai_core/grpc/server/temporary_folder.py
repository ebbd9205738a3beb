"""A server's own temporary folder, so that the next one removes what a killed one has left, whatever left it there."""

import logging
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from cuvis_ai_core._folder_removal import remove_tree

logger = logging.getLogger(__name__)

_PREFIX: Final = "cuvis-server-"
_LOCK: Final = "lock"
_VARIABLES: Final = ("TMPDIR", "TEMP", "TMP")


@contextmanager
def own_temporary_folder() -> Iterator[None]:
    """Have all temporary files of this process and its children lie in one folder, which is removed in the end.

    Whoever else is killed leaves such a folder without a lock: it is removed first.
    """
    try:
        base = Path(tempfile.gettempdir())
        sweep(base)
        folder, handle = _make(base)
    except OSError as error:
        logger.warning("there is no temporary folder: %s", error)
        yield
        return
    before, variables = tempfile.tempdir, {name: os.environ.get(name) for name in _VARIABLES}
    tempfile.tempdir = str(folder)
    # For children: processes of trainings and of plugins write there as well.
    os.environ.update(dict.fromkeys(_VARIABLES, str(folder)))
    try:
        yield
    finally:
        tempfile.tempdir = before
        for name, value in variables.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        _remove(folder)
        if handle is not None:
            os.close(handle)


def sweep(base: Path) -> list[str]:
    """Remove the folders of this user's servers that have ended, and return their names."""
    removed = []
    for folder in base.glob(f"{_PREFIX}*"):
        handle = _locked(folder)
        if handle is not None:
            _remove(folder)
            removed.append(folder.name)
            os.close(handle)
    return removed


def _make(base: Path) -> tuple[Path, int | None]:
    """Return a new folder and the handle that locks it; it gets the name that is swept when it is locked."""
    # Under another name until it is locked: a server that starts in this moment would sweep it.
    made = Path(tempfile.mkdtemp(prefix=".cuvis-", dir=base))
    if os.name != "posix":
        return made, None
    (made / _LOCK).touch(0o600)
    handle = _locked(made)
    folder = base / f"{_PREFIX}{secrets.token_hex(4)}"
    made.rename(folder)
    return folder, handle


def _locked(folder: Path) -> int | None:
    """Return the handle of the lock of a folder that is this user's own, None where somebody else has it."""
    if os.name != "posix":
        return None
    import fcntl

    handle = None
    with suppress(OSError):
        found = folder.lstat()
        # /tmp is everybody's: somebody else's folder of that name is not ours to remove.
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            return None
        handle = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return handle
    if handle is not None:
        os.close(handle)
    return None


def _remove(folder: Path) -> None:
    try:
        remove_tree(folder)
    except OSError as error:
        logger.warning("the temporary folder '%s' cannot be removed: %s", folder, error)
