"""A disk that is full: how it is told, whatever a program that failed there says."""

import re
import shutil
from pathlib import Path
from typing import Final

from cuvis_ai_core.errors import StoreError

# Of Linux and macOS, of a quota, of Windows; git, uv and Python all pass on the system's words.
_FULL: Final = re.compile(r"[Nn]o space left|[Dd]isk quota exceeded|[Nn]ot enough space on the disk")

_NOTHING: Final = 2**16
"""Bytes: on a disk with less, no program could do its work."""


def refuse_full_disk(said: str, folder: Path) -> None:
    """Raise if a program that failed in a folder says that the disk is full, or if it is, whatever was said.

    Raises:
        StoreError: It is full; the message has the space that is free.
    """
    # Programs also die of a full disk without a word of it: a signal, a broken pack, an empty answer.
    if _FULL.search(said) or shutil.disk_usage(folder).free < _NOTHING:
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        telling = next(filter(_FULL.search, lines), lines[-1] if lines else "a program failed")
        raise StoreError(
            f"The disk is full ({free_space(folder)}): {telling}",
            hint="Free some space, or choose a folder on another disk with CUVIS_PLUGINS_DIR "
            "or NodeRegistry.set_cache_dir(path).",
            path=folder,
        )


def free_space(folder: Path) -> str:
    """Return how much space is free on the disk of a folder, in words."""
    return f"{shutil.disk_usage(folder).free // 2**20} MB are free at {folder}"
