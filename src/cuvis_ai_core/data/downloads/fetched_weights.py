"""Fetching weights of models: aside first, and to their place only where they are what was declared."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any, Final

from cuvis_ai_core.data.downloads.hub import fetching, hub_library, refuse_offline
from cuvis_ai_core.data.downloads.progress_events import ProgressEmitter
from cuvis_ai_core.data.downloads.repository_files import sha256_of
from cuvis_ai_core.data.downloads.weight_entries import RegisteredWeight
from cuvis_ai_core.data.downloads.weights_folder import forget_staged, note_default, put
from cuvis_ai_core.data.downloads.weights_status import incomplete_in, place_of, staging_of
from cuvis_ai_core.errors import ModelDownloadError

_BY_HAND: Final = "Where there is one: download-model export --to FOLDER. Here: download-model import FOLDER."
_BETWEEN: Final = 0.5
"""Seconds from one event of progress to the next."""


def fetch(weight: RegisteredWeight, cache: Path, progress: ProgressEmitter | None = None) -> Path:
    """Fetch weights, and what goes with them, and return the place of their file.

    No token is sent: what is declared is public.

    Raises:
        MissingExtraError: `huggingface_hub` is not installed.
        ModelDownloadError: They cannot be fetched, or what came is not what was declared; of that nothing is kept.
    """
    entry, staging = weight.entry, staging_of(weight, cache)
    hub = hub_library(f"the weights '{weight.name}'")
    refuse_offline(f"The weights '{weight.name}' ({entry.repo_id})", ModelDownloadError, _BY_HAND)
    for file in weight.files:
        with (
            fetching(f"The weights '{weight.name}' ({entry.repo_id}/{file.path})", ModelDownloadError),
            _told(weight.name, staging, file.sha256, file.size_bytes, progress),
        ):
            # Aside: the library puts a file in its place before anybody has compared its hash, and there it would be
            # found.
            hub.hf_hub_download(entry.repo_id, file.path, revision=entry.revision, local_dir=str(staging), token=False)
        if progress is not None:
            progress.verifying(weight.name)
        if sha256_of(staging / file.path) != file.sha256:
            forget_staged(staging)
            raise ModelDownloadError(
                f"The weights '{weight.name}': what came of {entry.repo_id}/{file.path} is not the declared file: it "
                "has another SHA-256. Nothing of it was kept.",
                hint="Ask whoever keeps the repository, or the manifest.",
            )
    put(weight, staging, cache)
    forget_staged(staging)
    return place_of(weight, cache)


def fetch_other(  # noqa: PLR0913 - the published arguments
    repo_id: str,
    filename: str,
    cache: Path,
    *,
    revision: str | None,
    sha256: str | None,
    token: str | None,
    force: bool,
    progress: ProgressEmitter | None,
) -> Path:
    """Fetch a file that nobody declared, and return its place.

    Raises:
        MissingExtraError: `huggingface_hub` is not installed.
        ModelDownloadError: It cannot be fetched, or has another hash than is given; then it is not kept.
    """
    shown = f"{repo_id}/{filename}"
    hub = hub_library(f"'{shown}'")
    refuse_offline(f"'{shown}'", ModelDownloadError, _BY_HAND)
    kept: dict[str, Any] = {"revision": revision, "cache_dir": str(cache), "force_download": force}
    with fetching(f"'{shown}'", ModelDownloadError, sends_token=True):
        path = Path(hub.hf_hub_download(repo_id, filename, token=token or os.environ.get("HF_TOKEN"), **kept))
    if progress is not None:
        progress.verifying(shown)
    if sha256 is not None and sha256_of(path) != sha256.lower():
        # What the link leads to first: the library keeps contents apart.
        path.resolve().unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise ModelDownloadError(f"'{shown}' has another SHA-256 than is asked for. It was not kept.")
    snapshot = path.parents[filename.count("/")]
    if snapshot.parent.name == "snapshots":
        note_default(snapshot.parents[1], snapshot.name)
    return path


@contextmanager
def _told(name: str, folder: Path, sha256: str, total: int, progress: ProgressEmitter | None) -> Iterator[None]:
    """Tell now and then how much of a file has come."""
    if progress is None or not progress.tells_progress:
        yield
        return
    over = Event()

    def tell() -> None:
        while not over.wait(_BETWEEN):
            # The library tells how far it is by bars on a terminal: so what has come is looked at.
            done = incomplete_in(folder, sha256)
            if done is not None and not over.is_set():
                progress.progress(name, done, total, round(100 * min(done / total, 1), 1))

    thread = Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
