"""Fetching a public data set into its folder, file by file, and taking it out again."""

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cuvis_ai_core._atomic_writes import write_json
from cuvis_ai_core._folder_removal import remove_tree
from cuvis_ai_core._printable_text import shown_in_line
from cuvis_ai_core.data.downloads.dataset_specs import DatasetSpec
from cuvis_ai_core.data.downloads.dataset_status import (
    COMPLETE,
    DOWNLOADING,
    MARKER_NAME,
    DatasetStatus,
    is_data,
    listed_files,
    stale_files,
)
from cuvis_ai_core.data.downloads.hub import fetching, hub_library, refuse_offline
from cuvis_ai_core.data.downloads.progress_events import ProgressEmitter
from cuvis_ai_core.data.downloads.repository_files import RepositoryFile, is_below, size_of
from cuvis_ai_core.errors import DatasetError

_PARTS: Final = Path(".cache", "huggingface", "download")
"""Where the hub's library has what is not a whole file yet."""
_SHOWN: Final = 3


def fetch(found: DatasetStatus, *, force: bool, adopt: bool, progress: ProgressEmitter | None) -> None:
    """Fetch what is not there of a data set.

    The marker calls it complete only once each file has the hash that the hub has for it. No token is sent.

    Raises:
        MissingExtraError: `huggingface_hub` is not installed.
        DatasetError: It cannot be fetched, or something else lies in its folder.
    """
    spec, folder = found.spec, found.path
    if found.state == "foreign" and not adopt:
        raise DatasetError(
            f"{folder} is not replaced: it was not fetched as the data set '{spec.name}'.",
            hint="Choose another --data-dir. To have it taken over, and removed by `remove` later: --adopt.",
        )
    hub = hub_library(f"the data set '{spec.name}'")
    files = _files_of(spec, hub)
    missing = _missing_of(spec, folder, files, force=force, progress=progress)
    if found.state == "foreign" and not force:
        _refuse_others(spec, folder, missing)
    _refuse_outside(spec, folder, missing)
    begun = {"state": DOWNLOADING, "repo_id": spec.repo_id, "revision": spec.revision, "started_at": _now()}
    before = _known_before(found)
    known = sorted({*before, *(file.path for file in files)})  # whoever goes on, with another revision, knows all
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / MARKER_NAME, begun | {"files": [{"path": path, "size_bytes": 0} for path in known]})
        for number, file in enumerate(missing, len(files) - len(missing) + 1):
            _fetch_file(spec, folder, file, hub, force=force)
            if progress is not None:
                progress.files_progress(spec.name, number, len(files))
        names = {file.path.casefold() for file in files}  # where a disk knows no case, these are the same files
        stale = [path for path in before if path.casefold() not in names and os.path.lexists(folder / path)]
        _write_complete(spec, folder, {file.path: file.size_bytes for file in files}, stale)
    except OSError as error:
        raise DatasetError(
            f"The data set '{spec.name}' cannot be put into {folder}: {_words_of(error)}.",
            hint="Look at the folder and the room on its disk, and run the same command again.",
        ) from error


def prune(found: DatasetStatus) -> tuple[str, ...]:
    """Remove the files of a folder that an earlier revision had, and return those that stay."""
    kept, folder = [], found.path
    for path in stale_files(found.marker or {}):
        place = folder / path
        if os.path.lexists(place) and not _is_removed(place, folder):
            kept.append(path)
    _write_complete(found.spec, folder, listed_files(found.marker or {}), kept)
    return tuple(kept)


def take_out(found: DatasetStatus) -> int:
    """Remove the folder of a data set with all that is in it, and return how many bytes that were.

    Raises:
        DatasetError: It was not fetched as this data set, or cannot be removed.
    """
    spec, folder = found.spec, found.path
    if found.state == "absent":
        return 0
    if folder.is_symlink():
        raise DatasetError(f"{folder} is not removed: it is a link.", hint="Remove it by hand.")
    if (found.marker or {}).get("repo_id") != spec.repo_id:
        raise DatasetError(
            f"{folder} is not removed: it was not fetched as the data set '{spec.name}'.", hint="Remove it by hand."
        )
    freed = size_of(folder)
    try:
        # First, and gone last: whoever is ended in between finds it incomplete, and can remove it again. A full disk
        # has no room for that; then the old marker does, by which it is damaged.
        with suppress(OSError):
            write_json(folder / MARKER_NAME, {"state": DOWNLOADING, "repo_id": spec.repo_id, "files": []})
        for each in folder.iterdir():
            if each.name != MARKER_NAME:
                remove_tree(each)
        remove_tree(folder)
    except OSError as error:
        raise DatasetError(
            f"{folder} cannot be removed: {_words_of(error)}.",
            hint="See to that, and run the same command again: it goes on with what is left.",
        ) from error
    return freed


def _files_of(spec: DatasetSpec, hub: Any) -> list[RepositoryFile]:
    """Ask the hub for the files of the revision."""
    what = f"The data set '{spec.name}' ({spec.repo_id})"
    refuse_offline(what, DatasetError, f"By hand, where there is a connection: {spec.page}; then: --adopt.")
    with fetching(what, DatasetError):
        rows = hub.HfApi().list_repo_tree(
            spec.repo_id, recursive=True, revision=spec.revision, repo_type="dataset", token=False
        )
        files = [
            RepositoryFile(row.path, row.size, row.lfs.sha256 if row.lfs else None, row.blob_id)
            for row in rows
            if hasattr(row, "size")  # folders have none
        ]
    for file in files:
        if not is_data(file.path):
            raise DatasetError(
                f"{what} cannot be fetched: '{shown_in_line(file.path)}' is no name of a file in it.",
                hint=f"Nothing was fetched. Ask whoever keeps the repository: {spec.page}",
            )
    return files


def _missing_of(
    spec: DatasetSpec,
    folder: Path,
    files: Sequence[RepositoryFile],
    *,
    force: bool,
    progress: ProgressEmitter | None,
) -> list[RepositoryFile]:
    """Return the files that are fetched; each that is there is read once, however large, and told of."""
    if force:
        return list(files)
    missing: list[RepositoryFile] = []
    for number, file in enumerate(files, 1):
        if not file.is_at(folder / file.path):
            missing.append(file)
        elif progress is not None:
            progress.files_progress(spec.name, number - len(missing), len(files))
    return missing


def _fetch_file(spec: DatasetSpec, folder: Path, file: RepositoryFile, hub: Any, *, force: bool) -> None:
    """Have a file in its place; one alone at a time, so that an interrupt ends it at once."""
    place = folder / file.path
    with fetching(f"The data set '{spec.name}' ({spec.repo_id}/{file.path})", DatasetError):
        hub.hf_hub_download(
            spec.repo_id,
            file.path,
            repo_type="dataset",
            revision=spec.revision,
            local_dir=str(folder),
            token=False,
            # Else the library takes a file for right that was changed here. A part it fetches anew in either case.
            force_download=force or os.path.lexists(place),
        )
    if not file.is_at(place):
        place.unlink(missing_ok=True)
        raise DatasetError(
            f"The data set '{spec.name}': what came of {file.path} is another file than the hub has in its "
            "list. It was not kept.",
            hint="Run the same command again: it goes on with what is there.",
        )


def _refuse_outside(spec: DatasetSpec, folder: Path, missing: Iterable[RepositoryFile]) -> None:
    """Raise if a link in the folder has a file written elsewhere, where it would replace what lies there."""
    for file in missing:
        # The library has parts of files, and what it knows of them, in folders of its own beside them.
        for place in (folder / file.path, folder / _PARTS / file.path):
            if not is_below(place, folder):
                raise DatasetError(
                    f"The data set '{spec.name}' cannot be fetched: {place} lies outside of {folder}, where a link "
                    "leads. Nothing was changed.",
                    hint="Move the link away, or have the folder that it leads to in its place.",
                )


def _refuse_others(spec: DatasetSpec, folder: Path, missing: Iterable[RepositoryFile]) -> None:
    """Raise if a file in a folder that is taken over is in the place of one of the data set, and is another."""
    if not folder.is_dir():
        raise DatasetError(f"{folder} is not taken over: it is no folder.", hint="Move it away.")
    found = dict.fromkeys(_in_the_way(folder / file.path, folder) for file in missing)
    others = [str(each) for each in found if each]
    if others:
        more = f", and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
        raise DatasetError(
            f"{folder} is not taken over: not of the data set '{spec.name}', though in the places of its files, are "
            f"{', '.join(others[:_SHOWN])}{more}. Nothing was changed.",
            hint="Move them away; or have files replaced: --adopt --force.",
        )


def _in_the_way(place: Path, folder: Path) -> Path | None:
    """Return what lies where a file of a folder belongs, or in the place of a folder above it."""
    for each in (place, *place.parents):
        if each == folder:
            return None
        if os.path.lexists(each):
            return each if each == place or not each.is_dir() else None
    return None


def _known_before(found: DatasetStatus) -> list[str]:
    """Return the files that are in the folder as those of the data set, whichever revision had them."""
    marker = found.marker or {}
    if found.state in {"foreign", "absent"}:
        return []
    return sorted({path for path in (*listed_files(marker), *stale_files(marker)) if is_data(path)})


def _write_complete(spec: DatasetSpec, folder: Path, files: dict[str, int], stale: list[str]) -> None:
    done = {
        "state": COMPLETE,
        "repo_id": spec.repo_id,
        "revision": spec.revision,
        "file_count": len(files),
        "size_bytes": sum(files.values()),
        "finished_at": _now(),
        "files": [{"path": path, "size_bytes": size} for path, size in sorted(files.items())],
    }
    write_json(folder / MARKER_NAME, done | ({"stale_files": stale} if stale else {}))


def _is_removed(place: Path, folder: Path) -> bool:
    """Remove a file, and the folders above it that are empty then; nothing that a link leads to."""
    if not is_below(place, folder) or (place.is_dir() and not place.is_symlink()):
        return False
    with suppress(OSError):
        place.unlink()
        for parent in place.parents:
            if parent == folder:
                break
            parent.rmdir()
    return not os.path.lexists(place)


def _words_of(error: OSError) -> str:
    """Return what an error of the system says, and of which file."""
    place = f" ({shown_in_line(str(error.filename))})" if error.filename else ""
    return f"{error.strerror or error}{place}"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S%z")
