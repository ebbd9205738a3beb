"""What is told while something is fetched: events for programs, a line of JSON for each."""

import json
import sys
from pathlib import Path
from typing import Any, Final

SCHEMA_VERSION: Final = 1
"""Of what lists and events hold, in JSON."""


class ProgressEmitter:
    """Events for programs: a line of JSON for each, on the standard output.

    Args:
        enabled: Whether anything is written.
    """

    def __init__(self, enabled: bool = True) -> None:
        self._is_enabled = enabled

    @property
    def tells_progress(self) -> bool:
        """Whether anybody hears of how much has come, which takes a look into the folder now and then."""
        return self._is_enabled or type(self).progress is not ProgressEmitter.progress

    def waiting(self) -> None:
        """Another program works in the folder."""
        self._write(event="waiting")

    def progress(self, name: str, bytes_done: int | None, bytes_total: int | None, pct: float | None) -> None:
        """So much of it has come."""
        self._write(event="progress", name=name, bytes_done=bytes_done, bytes_total=bytes_total, pct=pct)

    def files_progress(self, name: str, files_done: int, files_total: int | None) -> None:
        """So many files have come."""
        pct = round(100 * files_done / files_total, 1) if files_total else None
        event: dict[str, Any] = {"event": "progress", "name": name, "bytes_done": None, "bytes_total": None}
        self._write(**event, files_done=files_done, files_total=files_total, pct=pct)

    def verifying(self, name: str) -> None:
        """All of it is there, and is compared with its hash."""
        self._write(event="verifying", name=name)

    def done(self, name: str, path: Path | str) -> None:
        """It is there."""
        self._write(event="done", name=name, path=str(path))

    def error(self, name: str, message: str) -> None:
        """It is not, and why."""
        self._write(event="error", name=name, message=message)

    def _write(self, **event: Any) -> None:
        if self._is_enabled:
            sys.stdout.write(json.dumps(event, ensure_ascii=False, separators=(",", ":")) + "\n")
            # Into a pipe, Python would keep it until there is more.
            sys.stdout.flush()
