"""What a program writes, read as it writes it, and kept as far as that is wanted."""

import os
import re
import threading
import time
from collections.abc import Callable
from typing import IO, Final

from cuvis_ai_core._redact import redact

_LONGEST_LINE: Final = 2**16
"""Bytes of a line that are kept while it is not whole, the last ones."""


class PipeReader(threading.Thread):
    """Reads a pipe while the program runs: a full pipe would stop it.

    Args:
        pipe: The pipe.
        most: How many bytes are kept, the last ones; None means all.
        heard: Told of each line, when it is whole.
        limit: How many bytes there may be; of more, nothing is kept.
        beyond: Told once that there are more.

    Attributes:
        is_full: Whether there are more.
    """

    def __init__(
        self,
        pipe: IO[bytes],
        most: int | None = None,
        heard: Callable[[str], None] | None = None,
        limit: int | None = None,
        beyond: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__(daemon=True)
        self._pipe = pipe
        self._most = most
        self._heard = heard
        self._limit = limit
        self._beyond = beyond
        self.is_full = False
        self._line = bytearray()
        self._data = bytearray()
        self.start()

    def run(self) -> None:
        with self._pipe:
            while data := os.read(self._pipe.fileno(), 2**16):
                if self.is_full:
                    continue
                self._data += data
                if self._limit is not None and len(self._data) > self._limit:
                    self.is_full = True
                    self._data.clear()
                    self._beyond()
                if self._most is not None and len(self._data) > 2 * self._most:
                    del self._data[: -self._most]
                if self._heard is not None:
                    self._tell(data, self._heard)

    def _tell(self, data: bytes, heard: Callable[[str], None]) -> None:
        *lines, rest = (bytes(self._line) + data).split(b"\n")
        # A progress bar is written over itself, and has no line feed until it ends.
        *written, last = _overwritten(rest)
        # The end of a line may be two signs.
        self._line = bytearray((last + b"\r" * rest.endswith(b"\r"))[-_LONGEST_LINE:])
        for line in [*(part for whole in lines for part in _overwritten(whole)), *written]:
            heard(redact(_readable(line)))

    def read(self, until: float) -> str:
        """Return what was written, once no more is to come or time is up, without what would steer a terminal."""
        self.join(max(0.0, until - time.monotonic()))
        return _readable(bytes(self._data))


def _overwritten(line: bytes) -> list[bytes]:
    """Return what was written in a line, one over the other."""
    return [each for each in line.split(b"\r") if each] or [b""]


def _readable(data: bytes) -> str:
    text = re.sub(r"\r*\n|\r+", "\n", data.decode(errors="replace"))
    return "".join(char if char.isprintable() or char in "\n\t" else "?" for char in text)
