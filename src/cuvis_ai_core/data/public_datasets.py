"""Public data sets: which there are, what of them is in a folder, and getting them there."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from cuvis_ai_core._lazy_imports import late
from cuvis_ai_core._nearest import did_you_mean
from cuvis_ai_core._printable_text import shown_in_line, shown_size
from cuvis_ai_core.data.downloads.dataset_specs import CAMERAS, DATASET_TAGS, DATASETS, DatasetSpec
from cuvis_ai_core.data.downloads.dataset_status import MARKER_NAME, DatasetStatus, read_marker, stale_files, status_of
from cuvis_ai_core.data.downloads.fetched_datasets import fetch, prune, take_out
from cuvis_ai_core.data.downloads.folder_lock import working_in
from cuvis_ai_core.data.downloads.hub import HF_EXTRA_HINT, HF_ORG
from cuvis_ai_core.data.downloads.progress_events import SCHEMA_VERSION, ProgressEmitter
from cuvis_ai_core.errors import CuvisError, DatasetError

if TYPE_CHECKING:
    from cuvis_ai_core.cli.downloads.dataset_command import download_data_cli

__all__ = [
    "CAMERAS",
    "DATASETS",
    "DATASET_TAGS",
    "HF_EXTRA_HINT",
    "HF_ORG",
    "MARKER_NAME",
    "SCHEMA_VERSION",
    "DatasetError",
    "DatasetSpec",
    "DatasetStatus",
    "DownloadResult",
    "PublicDatasets",
    "download_data_cli",
]

# The command has its published place here, and is one of the commands, which nothing below them imports.
__getattr__, __dir__ = late(__name__, {"download_data_cli": "cuvis_ai_core.cli.downloads.dataset_command"})

_LONGEST_WAIT: Final = 86_400.0
"""Seconds that another program may take: the largest has 166 GiB."""


@dataclass(frozen=True, slots=True)
class DownloadResult:
    """A data set that is there.

    Attributes:
        path: Its folder.
        stale_files: Files in it that an earlier revision had, and this one has not.
    """

    path: Path
    stale_files: tuple[str, ...]


class PublicDatasets:
    """The public data sets, for the program: all methods belong to the class.

    `data_dir` is the folder of all of them. One program at a time works in it; the others wait.
    """

    DATASETS: ClassVar[tuple[DatasetSpec, ...]] = DATASETS

    @classmethod
    def list_specs(cls) -> list[DatasetSpec]:
        """Return all of them."""
        return list(cls.DATASETS)

    @classmethod
    def get_spec(cls, name: str) -> DatasetSpec:
        """Return one by its name or an alias, in upper or lower case, with `-` or `_`.

        Raises:
            DatasetError: There is none.
        """
        wanted = _folded(name)
        for spec in cls.DATASETS:
            if wanted in {_folded(spec.name), *map(_folded, spec.aliases)}:
                return spec
        names = [spec.name for spec in cls.DATASETS]
        raise DatasetError(
            f"There is no public data set '{shown_in_line(name)}'.{did_you_mean(name, names)} "
            f"There are {', '.join(names)}."
        )

    @classmethod
    def list_payload(cls) -> dict[str, Any]:
        """Return the list as JSON has it."""
        return {
            "schema_version": SCHEMA_VERSION,
            "tags": list(DATASET_TAGS),
            "cameras": list(CAMERAS),
            "datasets": [spec.to_json_dict() for spec in cls.DATASETS],
        }

    @staticmethod
    def dataset_dir(spec: DatasetSpec, data_dir: str | Path) -> Path:
        """Return the folder of a data set."""
        return Path(data_dir) / spec.target_dir

    @staticmethod
    def read_marker(path: Path) -> dict[str, Any] | None:
        """Return what the marker in the folder of a data set says: `{}` if it cannot be read, None if there is none."""
        return read_marker(Path(path))

    @classmethod
    def status(cls, name: str, data_dir: str | Path) -> DatasetStatus:
        """Return what is there of a data set, by its marker and the sizes of its files.

        Raises:
            DatasetError: There is none of that name.
        """
        spec = cls.get_spec(name)
        return status_of(spec, cls.dataset_dir(spec, data_dir))

    @classmethod
    def status_all(cls, data_dir: str | Path, names: Sequence[str] | None = None) -> list[DatasetStatus]:
        """Return what is there of several, in the order of the list, or of all."""
        wanted = None if names is None else {cls.get_spec(name).name for name in names}
        return [cls.status(spec.name, data_dir) for spec in cls.DATASETS if wanted is None or spec.name in wanted]

    @classmethod
    def download(
        cls,
        name: str,
        data_dir: str | Path,
        *,
        force: bool = False,
        adopt: bool = False,
        prune_stale: bool = False,
        progress: ProgressEmitter | None = None,
    ) -> DownloadResult:
        """Fetch a data set, going on with what is there.

        Each file that is there is compared with the hub's hash for it, and fetched if it is another. If the data set is
        there already, nobody is asked.

        Args:
            name: Its name, or an alias.
            data_dir: The folder of all data.
            force: Whether all files are fetched though they are there.
            adopt: Whether a folder that was not fetched is taken over: files in it that are those of the data set stay
                as they are; one that has such a name and is another is an error, or replaced with `force`. What else is
                in it stays until the data set is removed.
            prune_stale: Whether files that an earlier revision had are removed.
            progress: Whom it is told how far it is.

        Raises:
            DatasetError: There is none of that name, it cannot be fetched, or something else lies in its place.
            MissingExtraError: `huggingface_hub` is not installed.
        """
        found = cls.status(name, data_dir)
        if found.present and not force and not (prune_stale and stale_files(found.marker or {})):
            return DownloadResult(found.path, tuple(stale_files(found.marker or {})))
        with working_in(Path(data_dir), DatasetError, progress, _LONGEST_WAIT):
            found = cls.status(name, data_dir)  # another program may have fetched it meanwhile
            if force or not found.present:
                fetch(found, force=force, adopt=adopt, progress=progress)
                found = cls.status(name, data_dir)
            if prune_stale:
                return DownloadResult(found.path, prune(found))
            return DownloadResult(found.path, tuple(stale_files(found.marker or {})))

    @classmethod
    def remove(cls, name: str, data_dir: str | Path, *, progress: ProgressEmitter | None = None) -> int:
        """Remove the folder of a data set with all that is in it, and return how many bytes that were.

        Args:
            name: Its name, or an alias.
            data_dir: The folder of all data.
            progress: Whom it is told that another program is waited for.

        Raises:
            DatasetError: There is none of that name, or its folder was not fetched as this data set.
        """
        if cls.status(name, data_dir).state == "absent":
            return 0
        with working_in(Path(data_dir), DatasetError, progress, _LONGEST_WAIT):
            return take_out(cls.status(name, data_dir))

    @classmethod
    def download_dataset(cls, dataset_name: str, *, download_path: str = ".", force: bool = False) -> bool:
        """Fetch a data set, and tell whether it is there; why it is not is written to the standard error."""
        try:
            cls.download(dataset_name, download_path, force=force)
        except (CuvisError, OSError) as error:
            sys.stderr.write(f"{error}\n")
            return False
        return True

    @classmethod
    def list_datasets(cls, verbose: bool = False) -> None:
        """Print what there is."""
        for spec in cls.DATASETS:
            line = f"{spec.name:28} {spec.camera:8} {shown_size(spec.size_bytes):>9}  {spec.summary}\n"
            sys.stdout.write(line)
            if verbose:
                sys.stdout.write(
                    f"    {spec.repo_id} @ {spec.revision[:12]}, {spec.file_count} files, {spec.license}\n"
                )
                sys.stdout.write(f"    in {spec.target_dir}; {', '.join(spec.tags)}\n")


def _folded(name: str) -> str:
    return name.strip().casefold().replace("-", "_")
