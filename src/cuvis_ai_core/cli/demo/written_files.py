"""What the demonstration wrote into its folder: a file that was edited since then is left as it is.

The record counts only in the folder in which it was made, whose number no archive knows: in a folder that somebody sent
there would be plugins of theirs.
"""

import hashlib
from pathlib import Path
from typing import Final

from cuvis_ai_core._atomic_writes import write_atomic, write_json
from cuvis_ai_core._untrusted_files import read_file, read_json

_RECORD: Final = ".demo.json"
_PLACE: Final = "folder"
"""Key of the number of the folder."""


class Written:
    """The files of the demonstration, with their hashes, which outlive a run in a record of their own.

    Args:
        root: The folder of the demonstration.

    Attributes:
        kept: Files that were not written, since somebody edited them.
    """

    def __init__(self, root: Path) -> None:
        self.kept: list[Path] = []
        self._root = root
        known: dict[str, object] = dict(read_json(root / _RECORD) or {})
        # Another number: the folder came in an archive, or was copied, and its record with it.
        self._hashes = known if _PLACE in known and known[_PLACE] == _number(root) else {}

    def __bool__(self) -> bool:
        """Whether an earlier run wrote something."""
        return bool(self._hashes)

    def may_write(self, path: Path) -> bool:
        """Tell whether a file is not there, or as an earlier run wrote it; one that is not is kept."""
        if not path.exists() or _hash(path) == self._hashes.get(self._name(path)):
            return True
        self.kept.append(path)
        return False

    def write(self, path: Path, data: bytes) -> None:
        """Write a file, unless it was edited.

        Raises:
            OSError: The folder cannot be written.
        """
        if self.may_write(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, data)
            self.note(path)

    def note(self, path: Path) -> None:
        """Remember a file as it is now.

        Raises:
            OSError: The folder cannot be written.
        """
        self._hashes[self._name(path)] = _hash(path)
        write_json(self._root / _RECORD, {**self._hashes, _PLACE: _number(self._root)})

    def _name(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix()


def _hash(path: Path) -> str:
    return hashlib.sha256(read_file(path)).hexdigest()


def _number(root: Path) -> int | None:
    return root.stat().st_ino if root.is_dir() else None
