"""Carrying weights to a machine without a network: a folder of them with a list, and taking in what it holds."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from cuvis_ai_core._atomic_writes import replacing, write_json
from cuvis_ai_core._folder_removal import remove_tree
from cuvis_ai_core._printable_text import shown_in_line
from cuvis_ai_core._untrusted_files import open_file, read_json
from cuvis_ai_core.data.downloads.progress_events import SCHEMA_VERSION, ProgressEmitter
from cuvis_ai_core.data.downloads.weight_entries import RegisteredWeight
from cuvis_ai_core.data.downloads.weights_folder import note_default, put
from cuvis_ai_core.data.downloads.weights_status import place_of, status_of
from cuvis_ai_core.errors import ModelDownloadError

EXPORT_MANIFEST_NAME: Final = "cuvis-model-weights.json"
_STAGING: Final = ".import-"
_PIECE: Final = 1 << 20
_MOST_ROWS: Final = 10_000


def carry_out(
    weights: Iterable[RegisteredWeight], cache: Path, folder: Path, progress: ProgressEmitter | None = None
) -> list[dict[str, Any]]:
    """Copy weights that are there into a folder, which is one of weights itself, and return a row for each.

    Raises:
        ModelDownloadError: What is there is not what was declared, or the folder cannot be written.
    """
    answer, carried = [], []
    for weight in weights:
        path = place_of(weight, folder) if status_of(weight, cache).present else None
        answer.append(weight.to_json_dict() | {"exported": path is not None, "path": path and str(path)})
        if path is None:
            continue
        for file in weight.files:
            place = place_of(weight, folder, file.path)
            _copy(weight, place_of(weight, cache, file.path), place, file.sha256, file.size_bytes, progress)
        note_default(folder / weight.cache_dir_name, weight.entry.revision)
        files = [{"path": each.path, "size_bytes": each.size_bytes, "sha256": each.sha256} for each in weight.files]
        carried.append(weight.to_json_dict() | {"files": files})
        if progress is not None:
            progress.done(weight.name, path)
    names = {row["name"] for row in carried}
    # What was exported before stays in the list.
    kept = (
        [row for row in _listed(folder) if row.get("name") not in names]
        if (folder / EXPORT_MANIFEST_NAME).exists()
        else []
    )
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S%z")
    rows = sorted([*kept, *carried], key=lambda row: str(row.get("name")))
    write_json(folder / EXPORT_MANIFEST_NAME, {"schema_version": SCHEMA_VERSION, "exported_at": now, "models": rows})
    return answer


def carry_in(
    known: dict[str, RegisteredWeight],
    folder: Path,
    names: Sequence[str] | None,
    cache: Path,
    progress: ProgressEmitter | None = None,
) -> list[dict[str, Any]]:
    """Take in the weights of such a folder, all or none, and return a row for each that its list names.

    What a file has to be says the declaration that is known here, not the list.

    Raises:
        ModelDownloadError: It is no such folder, or a file in it is not what was declared.
    """
    answer: list[dict[str, Any]] = []
    with _staging(cache) as staging:
        taken = []
        for row in _listed(folder):
            name = row.get("name")
            if names is not None and name not in names:
                continue
            weight = known.get(name) if isinstance(name, str) else None
            if weight is None:
                # A stranger's list may name anything.
                answer.append({"name": shown_in_line(str(name)), "imported": False, "reason": "unknown model"})
            elif status_of(weight, cache).present:
                answer.append(weight.to_json_dict() | {"imported": False, "reason": "present"})
            else:
                for file in weight.files:
                    target = staging / weight.name / file.path
                    _copy(weight, place_of(weight, folder, file.path), target, file.sha256, file.size_bytes, progress)
                taken.append(weight)
                answer.append(weight.to_json_dict() | {"imported": True, "path": str(place_of(weight, cache))})
        for weight in taken:
            put(weight, staging / weight.name, cache)
            if progress is not None:
                progress.done(weight.name, place_of(weight, cache))
    return answer


def _listed(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of the list in a folder of weights that were carried."""
    if not (folder / EXPORT_MANIFEST_NAME).is_file():
        raise ModelDownloadError(
            f"{folder} is no folder of exported weights: it has no '{EXPORT_MANIFEST_NAME}'.",
            hint="download-model export makes one.",
        )
    rows = (read_json(folder / EXPORT_MANIFEST_NAME) or {}).get("models")
    if not isinstance(rows, list) or len(rows) > _MOST_ROWS or not all(isinstance(each, dict) for each in rows):
        raise ModelDownloadError(
            f"{folder / EXPORT_MANIFEST_NAME} is no list of exported weights.", hint="Export them again."
        )
    return rows


@contextmanager
def _staging(cache: Path) -> Iterator[Path]:
    """Have a folder beside the weights that is gone in the end, as are those of programs that were ended."""
    # The folder is locked: none of them is at work.
    for left in cache.glob(f"{_STAGING}*"):
        if left.is_symlink():
            left.unlink()
        else:
            remove_tree(left)
    staging = cache / f"{_STAGING}{uuid4().hex}"
    staging.mkdir(mode=0o700)
    try:
        yield staging
    finally:
        remove_tree(staging)


def _copy(
    weight: RegisteredWeight,
    source: Path,
    target: Path,
    sha256: str,
    size: int,
    progress: ProgressEmitter | None,
) -> None:
    """Copy a file, of which no more is read than it may have; a file that is another is not kept."""
    found, done = hashlib.sha256(), 0
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with open_file(source) as read, replacing(target) as written:
            # One byte more than declared at most: so a longer file is told without being read to its end.
            while piece := read.read(min(_PIECE, size + 1 - done)):
                done += len(piece)
                found.update(piece)
                written.write(piece)
                if progress is not None and done < size and done % (64 * _PIECE) == 0:
                    progress.progress(weight.name, done, size, round(100 * done / size, 1))
            if progress is not None:
                progress.verifying(weight.name)
            if done != size or found.hexdigest() != sha256:
                raise ModelDownloadError(
                    f"{source}: it is not the declared file of the weights '{weight.name}': "
                    f"it has {'another size' if done != size else 'another SHA-256'}. Nothing was changed.",
                    hint="Fetch them again where there is a network: download-model download --force.",
                )
    except (OSError, ValueError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        raise ModelDownloadError(f"{source}: the weights '{weight.name}' cannot be copied: {reason}.") from error
