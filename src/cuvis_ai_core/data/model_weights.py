"""Weights of models: which there are, where they are, and getting them."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cuvis_ai_core._atomic_writes import replacing
from cuvis_ai_core._lazy_imports import late
from cuvis_ai_core.data.downloads.fetched_weights import fetch, fetch_other
from cuvis_ai_core.data.downloads.folder_lock import working_in
from cuvis_ai_core.data.downloads.hub import HF_EXTRA_HINT, HF_ORG, is_offline
from cuvis_ai_core.data.downloads.progress_events import SCHEMA_VERSION, ProgressEmitter
from cuvis_ai_core.data.downloads.repository_files import is_inside
from cuvis_ai_core.data.downloads.weight_entries import RegisteredWeight, folder_of
from cuvis_ai_core.data.downloads.weights_export_and_import import EXPORT_MANIFEST_NAME, carry_in, carry_out
from cuvis_ai_core.data.downloads.weights_folder import take_out, take_out_folder
from cuvis_ai_core.data.downloads.weights_index import (
    TRAINED_PIPELINES,
    USED_FOR_LABELS,
    WEIGHTS_HOSTS,
    WeightsIndex,
    default_plugins_dirs,
    index_json,
)
from cuvis_ai_core.data.downloads.weights_status import ModelStatus, place_of, status_of, weights_cache
from cuvis_ai_core.errors import ModelDownloadError, ModelRegistryConflict, ModelWeightsMissingError

if TYPE_CHECKING:
    from cuvis_ai_core.cli.downloads.download_model_command import download_model_cli

__all__ = [
    "EXPORT_MANIFEST_NAME",
    "HF_EXTRA_HINT",
    "HF_ORG",
    "SCHEMA_VERSION",
    "TRAINED_PIPELINES",
    "USED_FOR_LABELS",
    "WEIGHTS_HOSTS",
    "ModelDownloadError",
    "ModelRegistryConflict",
    "ModelStatus",
    "ModelWeights",
    "ModelWeightsMissingError",
    "ProgressEmitter",
    "RegisteredWeight",
    "default_plugins_dirs",
    "download_model_cli",
    "index_json",
]

# The command has its published place here, and is one of the commands, which nothing below them imports.
__getattr__, __dir__ = late(__name__, {"download_model_cli": "cuvis_ai_core.cli.downloads.download_model_command"})


class ModelWeights(WeightsIndex):
    """The weights that plugins need, for the program: all methods belong to the class.

    `cache_dir` is the folder of weights, by default that of `huggingface_hub`. One program at a time works in it; the
    others wait.
    """

    @staticmethod
    def cache_dir_token(repo_id: str) -> str:
        """Return what the folder of a repository is called in the folder of weights."""
        return folder_of(repo_id)

    @classmethod
    def default_cache_dir(cls) -> Path:
        """Return the folder of weights that programs on this machine share."""
        return weights_cache()

    @classmethod
    def resolve_cache_dir(cls, cache_dir: str | Path | None) -> Path:
        """Return a folder of weights, or the shared one."""
        return cls.default_cache_dir() if cache_dir is None else Path(cache_dir).expanduser()

    @classmethod
    def snapshot_path(cls, weight: RegisteredWeight, cache_dir: Path) -> Path:
        """Return where the file of weights belongs."""
        return place_of(weight, cache_dir)

    @classmethod
    def missing_guidance(cls, name: str, cache_dir: Path) -> str:
        """Return what to say where weights are not there."""
        rows = [row for row in cls.rows() if name == row.name or name in row.entry.aliases]
        about = [f" ({row.entry.display_name}, {row.entry.repo_id}/{row.entry.filename})" for row in rows]
        return (
            f"The weights '{name}'{''.join(about)} are not in {cache_dir}.\n"
            f"Fetch them: download-model download {name}; or give the node the path of a file of your own."
        )

    @classmethod
    def status(cls, name: str, cache_dir: str | Path | None = None, *, verify: bool = False) -> ModelStatus:
        """Return what is there of weights: by the place and the size of their files, and by their hashes if asked.

        Raises:
            ModelDownloadError: There are none of that name.
        """
        return status_of(cls.get(name), cls.resolve_cache_dir(cache_dir), verify=verify)

    @classmethod
    def status_all(
        cls, names: Sequence[str] | None = None, cache_dir: str | Path | None = None, *, verify: bool = False
    ) -> list[ModelStatus]:
        """Return what is there of several, or of all that are known."""
        return [cls.status(name, cache_dir, verify=verify) for name in (cls.names() if names is None else names)]

    @classmethod
    def resolve(cls, name: str, *, download: bool | None = None, cache_dir: str | Path | None = None) -> Path:
        """Return the file of weights; fetch it where it is not there.

        Args:
            name: Theirs, or an alias.
            download: Whether it may be fetched; by default unless `HF_HUB_OFFLINE` or `CUVIS_OFFLINE` is set.
            cache_dir: The folder of weights.

        Raises:
            ModelWeightsMissingError: It is not there, and may not be fetched.
            ModelDownloadError: There are none of that name, or it cannot be fetched.
        """
        found = cls.status(name, cache_dir)
        if found.present:
            return found.path
        if download or (download is None and not is_offline()):
            return cls.download(name, cache_dir)
        raise ModelWeightsMissingError(cls.missing_guidance(name, cls.resolve_cache_dir(cache_dir)))

    @classmethod
    def materialize(
        cls,
        name: str,
        dest_dir: str | Path,
        *,
        filename: str | None = None,
        download: bool | None = None,
        cache_dir: str | Path | None = None,
    ) -> Path:
        """Have the file of weights in a folder, for loaders that read it there, and return its place.

        A file that is there already is left alone. It is a second name of the file among the weights where both are on
        one disk, so that it takes no room and is not to be written, else a copy.

        Raises:
            ModelDownloadError: The weights are not there and cannot be fetched, or the name leads out of the folder.
            OSError: The folder cannot be written.
        """
        weight = cls.get(name)
        asked = Path(weight.entry.filename).name if filename is None else filename
        if not is_inside(asked):
            raise ModelDownloadError(f"'{asked}' is no name of a file in {dest_dir}.")
        target = Path(dest_dir) / asked
        if target.exists():
            return target
        source = cls.resolve(name, download=download, cache_dir=cache_dir).resolve()  # a link may be relative
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except FileExistsError:  # another program was faster
            return target
        except OSError:
            with source.open("rb") as read, replacing(target) as written:
                shutil.copyfileobj(read, written)
        return target

    @classmethod
    def download(
        cls,
        name: str,
        cache_dir: str | Path | None = None,
        *,
        force: bool = False,
        progress: ProgressEmitter | None = None,
    ) -> Path:
        """Fetch weights and what goes with them, and return the place of their file.

        They are there only once they are what was declared. No token is sent.

        Args:
            name: Theirs, or an alias.
            cache_dir: The folder of weights.
            force: Whether they are fetched though they are there.
            progress: Whom it is told how far it is.

        Raises:
            ModelDownloadError: There are none of that name, they cannot be fetched, or are not what was declared.
            MissingExtraError: `huggingface_hub` is not installed.
        """
        weight, cache = cls.get(name), cls.resolve_cache_dir(cache_dir)
        if not force and (found := status_of(weight, cache)).present:
            return found.path
        with working_in(cache, ModelDownloadError, progress):
            if not force and (found := status_of(weight, cache)).present:  # by the program that was waited for
                return found.path
            return fetch(weight, cache, progress)

    @classmethod
    def download_many(
        cls,
        names: Sequence[str],
        cache_dir: str | Path | None = None,
        *,
        force: bool = False,
        progress: ProgressEmitter | None = None,
    ) -> list[Path]:
        """Fetch several, one after the other; a name that is not known is said before anything is fetched."""
        for name in names:
            cls.get(name)
        return [cls.download(name, cache_dir, force=force, progress=progress) for name in names]

    @classmethod
    def download_model(  # noqa: PLR0913 - the published arguments
        cls,
        name: str | None = None,
        *,
        repo_id: str | None = None,
        filename: str | None = None,
        revision: str | None = None,
        sha256: str | None = None,
        token: str | None = None,
        cache_dir: str | Path | None = None,
        out: str | Path | None = None,
        force: bool = False,
        progress: ProgressEmitter | None = None,
    ) -> Path:
        """Fetch weights by their name, or any file of any repository, and return its place.

        Args:
            name: Of weights that are known; for them no token is sent.
            repo_id: Repository of a file that nobody declared.
            filename: The file in it.
            revision: Its revision.
            sha256: What its hash has to be.
            token: For a private repository, else `HF_TOKEN`.
            cache_dir: The folder of weights.
            out: Where it is copied to; a folder that is there gets it under its own name.
            force: Whether it is fetched though it is there.
            progress: Whom it is told how far it is.

        Raises:
            ModelDownloadError: Neither a name nor a file is given, or both are, or it cannot be fetched.
        """
        if bool(name) == bool(repo_id) or bool(repo_id) != bool(filename):
            raise ModelDownloadError("Give the name of weights, or a repository and a file in it (repo_id, filename).")
        if name:
            path = cls.download(name, cache_dir, force=force, progress=progress)
        else:
            cache = cls.resolve_cache_dir(cache_dir)
            with working_in(cache, ModelDownloadError, progress):
                path = fetch_other(
                    str(repo_id),
                    str(filename),
                    cache,
                    revision=revision,
                    sha256=sha256,
                    token=token,
                    force=force,
                    progress=progress,
                )
        return path if out is None else _copied(path, Path(out))

    @classmethod
    def export_to(
        cls,
        export_dir: str | Path,
        names: Sequence[str] | None = None,
        cache_dir: str | Path | None = None,
        *,
        progress: ProgressEmitter | None = None,
    ) -> list[dict[str, Any]]:
        """Copy weights that are there into a folder, and return a row for each; those that are absent are left out.

        The folder can serve as one of weights (`HF_HUB_CACHE`), and `import_from` takes it in elsewhere.

        Raises:
            ModelDownloadError: There are none of that name, or what is there is not what was declared.
        """
        weights = cls.rows() if names is None else [cls.get(name) for name in names]
        folder = Path(export_dir)
        with working_in(folder, ModelDownloadError, progress):
            return carry_out(weights, cls.resolve_cache_dir(cache_dir), folder, progress)

    @classmethod
    def import_from(
        cls,
        source_dir: str | Path,
        names: Sequence[str] | None = None,
        cache_dir: str | Path | None = None,
        *,
        progress: ProgressEmitter | None = None,
    ) -> list[dict[str, Any]]:
        """Take in weights from such a folder, all or none, and return a row for each that is in it and was asked for.

        Each file has to be what is declared here, whatever the folder says.

        Raises:
            ModelDownloadError: It is no such folder, or a file in it is another; nothing was changed.
        """
        cache = cls.resolve_cache_dir(cache_dir)
        wanted = None if names is None else [cls.get(name).name for name in names]
        with working_in(cache, ModelDownloadError, progress):
            return carry_in({row.name: row for row in cls.rows()}, Path(source_dir), wanted, cache, progress)

    @classmethod
    def remove(cls, name: str, cache_dir: str | Path | None = None, *, progress: ProgressEmitter | None = None) -> int:
        """Remove weights from the folder, and return how many bytes that were; files that others need stay.

        Args:
            name: Theirs, or an alias.
            cache_dir: The folder of weights.
            progress: Whom it is told that another program is waited for.

        Raises:
            ModelDownloadError: There are none of that name.
        """
        weight, cache = cls.get(name), cls.resolve_cache_dir(cache_dir)
        if not cache.is_dir():
            return 0
        with working_in(cache, ModelDownloadError, progress):
            return take_out(weight, cache, [row for row in cls.rows() if row.name != weight.name])

    @classmethod
    def remove_dir(
        cls, dirname: str, cache_dir: str | Path | None = None, *, progress: ProgressEmitter | None = None
    ) -> int:
        """Remove the whole folder of a repository (`models--owner--name`), and return how many bytes that were.

        Args:
            dirname: What it is called.
            cache_dir: The folder of weights.
            progress: Whom it is told that another program is waited for.

        Raises:
            ModelDownloadError: It is not there, a link, or no such folder.
        """
        cache = cls.resolve_cache_dir(cache_dir)
        if not cache.is_dir():
            raise ModelDownloadError(f"{cache} is not there.")
        with working_in(cache, ModelDownloadError, progress):
            return take_out_folder(dirname, cache)


def _copied(path: Path, out: Path) -> Path:
    """Copy a file to a place, at once, and return the place."""
    target = out / path.name if out.is_dir() else out
    target.parent.mkdir(parents=True, exist_ok=True)
    with path.open("rb") as read, replacing(target) as written:
        shutil.copyfileobj(read, written)
    return target
