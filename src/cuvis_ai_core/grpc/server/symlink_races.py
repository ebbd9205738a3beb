"""Files that stay the ones that were looked at, whatever a folder above them is swapped for meanwhile.

`Roots` follows links and looks where they end. Whoever may rename folders below a root could put a link in the place of
one afterwards, before the file is opened: here no link is followed any more, and what is open is read or written.
"""

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from cuvis_ai_core.errors import CuvisError, ServiceError
from cuvis_ai_core.grpc.server.allowed_paths import Roots

_OPEN: Final = Path("/proc/self/fd")
# Linux alone has /proc/self/fd and O_PATH; elsewhere the look before is all there is.
_CAN: Final = _OPEN.is_dir() and os.open in os.supports_dir_fd and hasattr(os, "O_PATH")


@contextmanager
def reading(roots: Roots, path: Path) -> Iterator[Path]:
    """Yield a path of the same name that leads to a file which `Roots` has found, and to no other.

    Raises:
        ServiceError: It is another one by now.
    """
    if not _CAN:
        yield path
        return
    with ExitStack() as opened, tempfile.TemporaryDirectory(prefix="cuvis-read-") as folder:
        handle = _opened(opened, _folder(opened, roots.read, path, make=False), path.name, os.O_RDONLY, path)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise _swapped(path)
        held = Path(folder) / path.name
        # A link of the file's own name: readers choose by its suffix, and libraries take paths alone.
        held.symlink_to(_OPEN / str(handle))
        with _told_as(path, held):
            yield held


@contextmanager
def writing(roots: Roots, path: Path) -> Iterator[Path]:
    """Yield a path for a file, and for others beside it, in the folder that `Roots` has found; it is made if needed.

    Raises:
        ServiceError: It is another one by now.
    """
    if not _CAN:
        yield path
        return
    with ExitStack() as opened:
        held = _OPEN / str(_folder(opened, roots.write, path, make=True)) / path.name
        with _told_as(path, held):
            yield held


def _folder(opened: ExitStack, roots: list[Path], path: Path, *, make: bool) -> int:
    """Return the handle of the folder of a path without links, opened from its root down without following any."""
    root = next(each for each in roots if path.is_relative_to(each))
    # O_PATH: a folder that may be searched, and not read, can be gone through.
    handle = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    opened.callback(os.close, handle)
    for part in path.relative_to(root).parts[:-1]:
        if make:
            with suppress(FileExistsError):
                os.mkdir(part, dir_fd=handle)
        handle = _opened(opened, handle, part, os.O_PATH | os.O_DIRECTORY, path)
    return handle


def _opened(opened: ExitStack, folder: int, name: str, flags: int, path: Path) -> int:
    try:
        # Step by step: O_NOFOLLOW concerns the last part of a path only.
        handle = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except PermissionError:
        raise
    except OSError as error:
        raise _swapped(path) from error
    opened.callback(os.close, handle)
    return handle


@contextmanager
def _told_as(path: Path, held: Path) -> Iterator[None]:
    """Have errors name the file as its client knows it."""
    try:
        yield
    except CuvisError as error:
        error.message = error.message.replace(str(held), str(path)).replace(str(held.parent), str(path.parent))
        raise


def _swapped(path: Path) -> ServiceError:
    return ServiceError(
        f"'{path.name}', or a folder above it, was put in the place of another one while it was opened.",
        hint="Call again when nobody moves folders there.",
        code="PERMISSION_DENIED",
    )
