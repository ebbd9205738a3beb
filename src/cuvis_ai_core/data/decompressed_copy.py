"""Packed content that is read by pieces: it is unpacked once, into a file that nobody else sees."""

import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from cuvis_ai_core._printable_text import shown_size
from cuvis_ai_core._work_folder import work_folder
from cuvis_ai_core.errors import CubeError


class Unpacked:
    """A file that is made when it is first asked for, and removed when nobody has this object any more.

    It lies where the system keeps temporary files (`TMPDIR`); what killed processes left there goes with the next one.

    Args:
        source: The packed file, for messages.
        size: Bytes that it unpacks to.
        unpack: Writes them.
    """

    def __init__(self, source: Path, size: int, unpack: Callable[[BinaryIO], None]) -> None:
        self._source = source
        self._size = size
        self._unpack = unpack
        self._made: Path | None = None
        self._lock = threading.Lock()

    def file(self) -> Path:
        """Return the file.

        Raises:
            CubeError: There is no room for it.
        """
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made

    def _make(self) -> Path:
        held = ExitStack()
        # Also at the end of the interpreter, unlike others here: the file is some gigabytes.
        weakref.finalize(self, held.close)
        folder = held.enter_context(work_folder(Path(tempfile.gettempdir()), "cuvis-decompressed-"))
        # Before a byte is written: a full disk harms everybody on the machine.
        free = shutil.disk_usage(tempfile.gettempdir()).free
        if self._size > free:
            raise CubeError(
                f"'{self._source}' unpacks to {shown_size(self._size)}; the limit is the room that is free in "
                f"'{tempfile.gettempdir()}', {shown_size(free)}.",
                hint="Make room, name another folder in the environment variable TMPDIR, or save it unpacked.",
                path=self._source,
            )
        with (folder / "content").open("xb") as target:
            self._unpack(target)
        return folder / "content"
