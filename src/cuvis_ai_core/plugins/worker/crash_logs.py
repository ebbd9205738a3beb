"""The last words of worker processes that crashed, kept in the plugin cache."""

import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from cuvis_ai_core._atomic_writes import write_atomic

_MOST: Final = 20
"""How many are kept."""


def keep_words(folder: Path, plugin: str, pid: int, text: str) -> Path | None:
    """Keep what a worker said, and return the file; None where nothing was said, or nothing can be written."""
    if not text.strip():
        return None
    # UTC without colons: names sort by time across machines, and Windows allows them.
    path = folder / f"{plugin}-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{pid}.log"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(path, text)
    except OSError:
        return None
    with suppress(OSError):
        for old in sorted(folder.glob("*.log"), key=lambda each: each.stat().st_mtime)[:-_MOST]:
            old.unlink(missing_ok=True)
    return path
