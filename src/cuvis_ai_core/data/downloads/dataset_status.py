"""What of a public data set is there: told by the marker in its folder and the sizes of its files."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from cuvis_ai_core._untrusted_files import read_json
from cuvis_ai_core.data.downloads.dataset_specs import DatasetSpec
from cuvis_ai_core.data.downloads.repository_files import has_size, is_inside, size_of

MARKER_NAME: Final = ".cuvis-dataset.json"
"""The published name, and the published content: a data set is known to both programs, whichever fetched it."""
COMPLETE: Final = "complete"
DOWNLOADING: Final = "downloading"
_OWN: Final = (MARKER_NAME, ".cache")
"""What programs put beside the files of a data set: ours, and the hub's library."""

State = Literal["present", "incomplete", "outdated", "damaged", "foreign", "absent"]


@dataclass(frozen=True, slots=True)
class DatasetStatus:
    """What is there of a public data set.

    Attributes:
        spec: Which.
        path: Its folder.
        state: `present`; `incomplete`: its download was not finished; `outdated`: it is another revision; `damaged`: a
            file is gone or has another size; `foreign`: something else lies there; `absent`.
        bytes_on_disk: Of its files, or of all that lies there; None where nothing does.
        files_ok: Whether all its files are there by their sizes; None where it was not fetched to the end.
        marker: What its marker says.
    """

    spec: DatasetSpec
    path: Path
    state: State
    bytes_on_disk: int | None
    files_ok: bool | None
    marker: dict[str, Any] | None

    @property
    def present(self) -> bool:
        """Whether all of it is there."""
        return self.state == "present"

    def to_json_dict(self) -> dict[str, Any]:
        """Return it as JSON has it, without its row."""
        return {
            "state": self.state,
            "present": self.present,
            "path": str(self.path),
            "bytes_on_disk": self.bytes_on_disk,
            "files_ok": self.files_ok,
        }


def status_of(spec: DatasetSpec, folder: Path) -> DatasetStatus:
    """Return what a folder holds of a data set; no file but its marker is read."""
    if _is_nothing(folder):
        return DatasetStatus(spec, folder, "absent", None, None, None)
    marker = read_marker(folder)
    # One that cannot be read is none of ours either: they are written at once, or not at all.
    if marker is None or marker.get("repo_id") != spec.repo_id:
        return DatasetStatus(spec, folder, "foreign", size_of(folder), None, marker)
    if marker.get("state") != COMPLETE:
        return DatasetStatus(spec, folder, "incomplete", size_of(folder), None, marker)
    files = listed_files(marker)
    files_ok = bool(files) and all(has_size(folder / path, size) for path, size in files.items())
    on_disk = sum(_size(folder / path) for path in files)
    state: State = "present" if files_ok else "damaged"
    if marker.get("revision") != spec.revision:
        state = "outdated"
    return DatasetStatus(spec, folder, state, on_disk, files_ok, marker)


def read_marker(folder: Path) -> dict[str, Any] | None:
    """Return what the marker in a folder says: nothing where it cannot be read, None where there is none."""
    path = folder / MARKER_NAME
    # A link that leads nowhere is something that lies there, too.
    return (read_json(path) or {}) if os.path.lexists(path) else None


def listed_files(marker: Mapping[str, Any]) -> dict[str, int]:
    """Return the sizes of the files that a marker lists by their paths; none where one is no file of the folder."""
    rows = marker.get("files")
    files: dict[str, int] = {}
    for row in rows if isinstance(rows, list) else ():
        path, size = (row.get("path"), row.get("size_bytes")) if isinstance(row, dict) else (None, None)
        if not is_inside(path) or not isinstance(size, int):
            return {}
        files[path] = size
    return files


def stale_files(marker: dict[str, Any]) -> list[str]:
    """Return the files that an earlier revision had, as a marker has them."""
    stale = marker.get("stale_files")
    return [path for path in stale if is_data(path)] if isinstance(stale, list) else []


def is_data(path: object) -> bool:
    """Tell whether a path is one of a file of a data set, and of nothing that programs put beside them."""
    return is_inside(path) and re.split(r"[/\\]", path.casefold())[0] not in _OWN


def _is_nothing(folder: Path) -> bool:
    """Tell whether there is no folder, or one with nothing in it."""
    if not os.path.lexists(folder):
        return True
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is None
    except OSError:  # a file, or a folder of somebody else
        return False


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
