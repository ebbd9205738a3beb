"""Weights of models: where their files lie, which are there, and fetching them."""

import hashlib
import os
from pathlib import Path
from typing import Any

from cuvis_ai_core.errors import CuvisError, MissingExtraError


def weights_cache() -> Path:
    """Return the folder of weights that programs on this machine share: that of `huggingface_hub`."""
    home = Path(os.environ.get("HF_HOME") or "~/.cache/huggingface").expanduser()
    # Its own variables, in its order: what another program has fetched is found.
    return Path(os.environ.get("HF_HUB_CACHE") or home / "hub").expanduser()


def status_of(row: dict[str, Any], cache: Path, *, verify: bool = False) -> dict[str, Any]:
    """Return a row with what is there of its file; nothing is fetched.

    Args:
        row: Of the index.
        cache: The folder of weights.
        verify: Whether the whole file is read, to compare its hash.
    """
    named = row["cache_dir_name"] and row["revision"] and row["filename"]
    path = cache / row["cache_dir_name"] / "snapshots" / row["revision"] / row["filename"] if named else None
    size = path.stat().st_size if path is not None and path.is_file() else None
    size_ok = None if size is None or row["size_bytes"] is None else size == row["size_bytes"]
    sha_ok = _hash_is(path, row["sha256"]) if verify and path and size is not None and row["sha256"] else None
    others = [path.parent / name for name in _others(row)] if path is not None else []
    aux_ok = all(map(Path.is_file, others)) if others and size is not None else None
    whole = size is not None and False not in {size_ok, sha_ok, aux_ok}
    return {
        **row,
        "state": "present" if whole else "absent" if size is None else "damaged",
        "present": whole,
        "path": None if path is None else str(path),
        "size_bytes_on_disk": size,
        "size_ok": size_ok,
        "sha256_ok": sha_ok,
        "aux_ok": aux_ok,
    }


def fetch(row: dict[str, Any], cache: Path, *, force: bool = False, token: str | None = None) -> Path:
    """Fetch the file of a row, and those that go with it, and return its place.

    Raises:
        MissingExtraError: `huggingface_hub` is not installed.
        CuvisError: It cannot be fetched, or what came is not what the manifest says.
    """
    try:
        import huggingface_hub
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"Fetching the weights '{row['name']}' needs the package 'huggingface_hub', which is not installed.",
            hint="Install the extra: pip install 'cuvis-ai-core[hub]'",
            extra="hub",
        ) from error
    try:
        path, *_ = [
            Path(
                huggingface_hub.hf_hub_download(
                    row["repo_id"],
                    file,
                    revision=row["revision"],
                    cache_dir=str(cache),
                    force_download=force,
                    token=token,
                )
            )
            for file in (row["filename"], *_others(row))
        ]
    # huggingface_hub lets through errors of its own, of requests or httpx, and of the disk.
    except Exception as error:
        raise CuvisError(
            f"The weights '{row['name']}' ({row['repo_id']}) cannot be fetched: {type(error).__name__}: "
            f"{str(error).partition(chr(10))[0]}",
            hint="Look at the connection, and run the same command again.",
        ) from error
    if row["sha256"] and not _hash_is(path, row["sha256"]):
        raise CuvisError(
            f"The weights '{row['name']}': {path} is not the file that the manifest means: it has another SHA-256.",
            hint="Fetch it again with --force.",
        )
    return path


def _others(row: dict[str, Any]) -> list[str]:
    """Return the files that go with the weights, as they are called in the repository."""
    return [str(each.get("filename") or each.get("path")) for each in row["aux_files"]]


def _hash_is(path: Path, expected: str) -> bool:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == expected.lower()
