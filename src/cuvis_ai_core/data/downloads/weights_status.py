"""Where weights of models lie, and which of them are there: those of `huggingface_hub`, which all programs share."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cuvis_ai_core.data.downloads.repository_files import has_size, sha256_of
from cuvis_ai_core.data.downloads.weight_entries import RegisteredWeight

STAGING: Final = ".cuvis-fetching"
"""Folder among the weights for what is being fetched."""


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """What is there of weights.

    Attributes:
        weight: Which.
        path: Where their file belongs.
        exists: Whether it is there.
        size_bytes_on_disk: Its size.
        size_ok: Whether that is the declared one.
        sha256_ok: Whether its hash is, and those of what goes with it; None where nobody looked.
        partial_bytes: How much has come where it did not come whole.
        aux_ok: Whether the files that go with it are there; None where there are none.
    """

    weight: RegisteredWeight
    path: Path
    exists: bool
    size_bytes_on_disk: int | None
    size_ok: bool | None
    sha256_ok: bool | None
    partial_bytes: int | None
    aux_ok: bool | None

    @property
    def present(self) -> bool:
        """Whether all of it is there as it was declared."""
        return self.state == "present"

    @property
    def state(self) -> str:
        """`present`, `damaged`, `partial` or `absent`."""
        if self.exists:
            return "damaged" if False in {self.size_ok, self.sha256_ok, self.aux_ok} else "present"
        return "absent" if self.partial_bytes is None else "partial"

    def to_json_dict(self) -> dict[str, Any]:
        """Return it as JSON has it, without its row."""
        return {
            "state": self.state,
            "present": self.present,
            "path": str(self.path),
            "size_bytes_on_disk": self.size_bytes_on_disk,
            "size_ok": self.size_ok,
            "sha256_ok": self.sha256_ok,
            "aux_ok": self.aux_ok,
            "partial_bytes": self.partial_bytes,
        }


def weights_cache() -> Path:
    """Return the folder of weights that programs on this machine share."""
    environment = os.environ.get
    home = Path(environment("HF_HOME") or Path(environment("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    # The hub library's own variables, in its order: what another program has fetched is found.
    named = environment("HF_HUB_CACHE") or environment("HUGGINGFACE_HUB_CACHE")
    return Path(named or home / "hub").expanduser()


def place_of(weight: RegisteredWeight, cache: Path, file: str | None = None) -> Path:
    """Return where the file of weights belongs, or one that goes with it."""
    snapshot = cache / weight.cache_dir_name / "snapshots" / weight.entry.revision
    return snapshot / (weight.entry.filename if file is None else file)


def status_of(weight: RegisteredWeight, cache: Path, *, verify: bool = False) -> ModelStatus:
    """Return what is there of weights; nothing is fetched.

    Args:
        weight: Which.
        cache: The folder of weights.
        verify: Whether the files are read, to compare their hashes.
    """
    path, size = place_of(weight, cache), None
    with suppress(OSError):
        size = path.stat().st_size if path.is_file() else None
    aux = weight.files[:-1]
    aux_ok = all(has_size(place_of(weight, cache, each.path), each.size_bytes) for each in aux) if aux else None
    size_ok = None if size is None else size == weight.entry.size_bytes
    sha_ok = None
    # Of another size it is another file: gigabytes need not be read for that.
    if verify and size_ok and aux_ok is not False:
        sha_ok = all(sha256_of(place_of(weight, cache, each.path)) == each.sha256 for each in weight.files)
    partial = _partial(weight, cache) if size is None else None
    return ModelStatus(weight, path, size is not None, size, size_ok, sha_ok, partial, aux_ok)


def staging_of(weight: RegisteredWeight, cache: Path) -> Path:
    """Return the folder in which weights are fetched before they are compared with their hashes."""
    return cache / STAGING / weight.cache_dir_name / weight.entry.revision


def incomplete_in(folder: Path, sha256: str) -> int | None:
    """Return how much of a file has come below a folder, in what `huggingface_hub` calls its parts."""
    sizes = []
    for part in folder.rglob(f"*{sha256}*.incomplete"):
        with suppress(OSError):
            sizes.append(part.stat().st_size)
    return max(sizes, default=None)


def _partial(weight: RegisteredWeight, cache: Path) -> int | None:
    folders = (staging_of(weight, cache), cache / weight.cache_dir_name / "blobs")
    found = [size for each in folders if (size := incomplete_in(each, weight.entry.sha256)) is not None]
    return max(found, default=None)
