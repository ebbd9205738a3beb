"""Where an interrupted training goes on: a checkpoint, and the proof that it is the one that was written.

The proof stands in the file that says what is trained in a folder; a folder without one is that of a program that has
its own ways.
"""

import hashlib
import logging
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Final

from cuvis_ai_core._atomic_writes import write_json
from cuvis_ai_core._untrusted_files import read_json
from cuvis_ai_core.errors import TrainingError

logger = logging.getLogger(__name__)

RESUME: Final = "resume.ckpt"
CONFIGURATION: Final = "configuration.json"
_HASHES: Final = "resume"


def put_checkpoint(file: Path, save: Callable[[Path], None]) -> None:
    """Write a checkpoint, whole or not at all, and note what it is.

    Args:
        file: Where.
        save: Writes it to a path.

    Raises:
        OSError: It cannot be written; the old one is as it was.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".tmp")
    try:
        save(temporary)
        if not file.exists():
            _say_what_is_refused(temporary)
        _note(file, temporary)
        os.replace(temporary, file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def is_as_written(file: Path) -> bool:
    """Tell whether a checkpoint is one that `put_checkpoint` wrote; where there is none, there is none to doubt."""
    if not file.exists():
        return True
    hashes = (read_json(file.with_name(CONFIGURATION)) or {}).get(_HASHES)
    return isinstance(hashes, list) and file.is_file() and _hash(file) in hashes


def refused(path: Path | str) -> TrainingError:
    """Return the error for a checkpoint that holds more than loads without running code."""
    from cuvis_ai_core.pipeline.weights.pickle_inspection import refused_part

    part = refused_part(Path(path))
    return TrainingError(
        f"The checkpoint '{path}' cannot be read: it holds {part or 'other objects than weights'}, which may run code.",
        hint="Where a node keeps it, have it keep numbers, texts, lists, mappings and arrays instead. To begin anew, "
        "remove that file; the weights beside it (last.pt) can be begun from with initial_weights.",
    )


def _note(file: Path, temporary: Path) -> None:
    """Note what a checkpoint is that will take the place of another one.

    Both count: whoever is killed before it does leaves the old one.
    """
    known = read_json(file.with_name(CONFIGURATION))
    if known is not None:
        hashes = [_hash(temporary), *([_hash(file)] if file.is_file() else [])]
        write_json(file.with_name(CONFIGURATION), {**known, _HASHES: hashes})


def _say_what_is_refused(file: Path) -> None:
    """Warn with the first checkpoint of a training, not when it is needed, where it could not be gone on from."""
    import torch

    try:
        # Mapped: of the weights nothing is read.
        torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError:
        logger.warning("an interrupted training could not go on: %s", refused(file).message)


def _hash(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
