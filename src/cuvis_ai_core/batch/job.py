"""What is done to each cube, and by what it is known again."""

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final, Self

from cuvis_ai_core._files import read_json, write_json
from cuvis_ai_core._redact import redact
from cuvis_ai_core.errors import OutputError
from cuvis_ai_core.results.origin import core_version
from cuvis_ai_core.results.record import RECORD

STATE: Final = ".cuvis-batch"
"""The folder, in that of the results, with what belongs to the job and not to a cube."""

_JOB: Final = "job.json"


@dataclass(frozen=True, slots=True)
class Job:
    """What is done to each cube.

    Attributes:
        pipeline: The pipeline file.
        manifest: The manifest of the plugins, if any.
        weights: The file of weights, if any.
        overrides: What is laid over the pipeline file.
        keep: The outputs that are written, `node.port`; none means those of the last nodes.
        format: In which format images are written.
        processing_mode: What to make of a session file.
        measurement: Which cube it is in files of several.
        device: Where torch nodes compute.
        allow_untrained: Whether nodes that have not learned run.
        memory: Bytes that the tiles of one worker may take; None: a quarter of what is free, divided by the workers.
    """

    pipeline: str
    manifest: str | None = None
    weights: str | None = None
    overrides: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    format: str = "npz"
    processing_mode: str | None = None
    measurement: int | None = None
    device: str = "cpu"
    allow_untrained: bool = False
    memory: int | None = None

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Return a job as `asdict` gives it, by way of JSON."""
        known = {field.name for field in fields(cls)}
        lists = {key: tuple(value) for key, value in data.items() if isinstance(value, list)}
        return cls(**{key: value for key, value in (data | lists).items() if key in known})

    def contents(self) -> dict[str, Any]:
        """Return all that decides about the results, with hashes in place of files.

        Raises:
            OSError: A file cannot be read.
        """
        from cuvis_ai_core.plugins.manifest.schema import lock_path

        lock = lock_path(Path(self.manifest)) if self.manifest else None
        return {
            "pipeline": _hash(Path(self.pipeline)),
            "weights": _hash(Path(self.weights)) if self.weights else None,
            "manifest": _hash(Path(self.manifest)) if self.manifest else None,
            "lock": _hash(lock) if lock is not None and lock.is_file() else None,
            "overrides": list(map(redact, self.overrides)),
            "kept outputs": sorted(self.keep),
            "format": self.format,
            "processing mode": self.processing_mode,
            "measurement": self.measurement,
            "allow untrained": self.allow_untrained,
            "core version": core_version(),
        }


def fingerprint(contents: dict[str, Any]) -> str:
    """Return by what a job is known: of two that have it in common the results are the same."""
    return hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()[:32]


def claim(output: Path, contents: dict[str, Any]) -> None:
    """Have a folder belong to a job; it may already.

    Raises:
        OutputError: It belongs to another job.
        OSError: It cannot be written.
    """
    file = output / STATE / _JOB
    before = read_json(file)
    if before is None:
        if (output / RECORD).exists():
            raise OutputError(
                f"'{output}' holds '{RECORD}', which no run on many cubes wrote; it is not overwritten.",
                hint="Choose another folder with --output-dir.",
            )
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, {"fingerprint": fingerprint(contents), "contents": contents})
        return
    theirs = before.get("contents")
    if theirs != contents:
        old = theirs if isinstance(theirs, dict) else {}
        differing = [key for key in contents if old.get(key) != contents[key]]
        raise OutputError(
            f"'{output}' holds results of another job; what differs: {', '.join(differing) or 'all'}.",
            hint="Choose another folder with --output-dir; the same job goes on where it stopped.",
        )


def job_data(job: Job) -> dict[str, Any]:
    """Return a job as JSON takes it."""
    return asdict(job)


def _hash(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
