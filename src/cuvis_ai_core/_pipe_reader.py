"""What a program writes, read as it writes it, and kept as far as that is wanted."""

import math
import os
import threading
import time
from collections.abc import Callable
from typing import IO, Final

from cuvis_ai_core._redact import redact

_LONGEST_LINE: Final = 2**16
"""Bytes of a line that are kept while it is not whole, the last ones."""

_BETWEEN_STATES: Final = 10.0
"""Seconds between what is told of a line that is written over itself: some are ten times a second."""


class PipeReader(threading.Thread):
    """Reads a pipe while the program runs: a full pipe would stop it.

    Args:
        pipe: The pipe.
        most: How many bytes are kept, the last ones; None means all.
        heard: Told of each line, when it is whole; now and then of one that is written over itself, such as a progress
            bar, and in the end of its last state.
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
        self._line = b""
        self._told = -math.inf
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
            if self._heard is not None and self._line.strip():
                self._tell(b"\n", self._heard)

    def _tell(self, data: bytes, heard: Callable[[str], None]) -> None:
        *lines, rest = (self._line + data).split(b"\n")
        before, last = _overwritten(rest)
        self._line = last[-_LONGEST_LINE:]
        if before and time.monotonic() - self._told >= _BETWEEN_STATES:
            self._told = time.monotonic()
            lines.append(before)
        for line in lines:
            heard(redact(_readable(line)))

    def read(self, until: float) -> str:
        """Return what was written, once no more is to come or time is up, without what would steer a terminal."""
        self.join(max(0.0, until - time.monotonic()))
        return _readable(bytes(self._data))


def _overwritten(line: bytes) -> tuple[bytes, bytes]:
    """Return what was written over in a line, its last state, and what is written now, with all that clears it."""
    states = line.split(b"\r")
    *before, last = [number for number, each in enumerate(states) if each.strip()] or [0]
    return states[before[-1]] if before else b"", b"\r".join(states[last:])


def _readable(data: bytes) -> str:
    """Return a text as a terminal shows it, of a line that was written over the last state that shows something."""
    lines = data.decode(errors="replace").split("\n")
    shown = (next(filter(str.strip, reversed(each.split("\r"))), each.replace("\r", "")) for each in lines)
    text = "\n".join(shown)
    return "".join(char if char.isprintable() or char in "\n\t" else "?" for char in text)
