"""What is done to each cube, and by what it is known again."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from cuvis_ai_core._redact import redact
from cuvis_ai_core.pipeline.file.lookup import find_pipeline_file, find_weights
from cuvis_ai_core.registry import NodeRegistry
from cuvis_ai_core.results.local_code import code_hash
from cuvis_ai_core.results.node_origin import core_version


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
        code: Names of local plugins, each with the hash of its code.
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
    code: tuple[str, ...] = ()
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
        from cuvis_ai_core.plugins.manifest.manifest_schema import lock_path

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
            **{f"code of plugin {name}": code for name, code in map(str.split, self.code)},
        }


def make_job(
    registry: NodeRegistry, pipeline: str | Path, manifest: str | Path | None, options: Mapping[str, Any]
) -> Job:
    """Return a job whose files are all named: the pipeline by its path, the weights that lie beside it.

    Args:
        registry: In which the plugins are loaded.
        pipeline: The pipeline file, or the name of one that a plugin brings along.
        manifest: The manifest of the plugins.
        options: Further attributes of `Job`.

    Raises:
        PipelineError: There is no such pipeline.
    """
    file = find_pipeline_file(Path(pipeline), registry.config_owners)
    given: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else str(value) if isinstance(value, Path) else value
        for key, value in options.items()
    }
    weights = given.pop("weights", None) or find_weights(file)
    return Job(
        str(file.absolute()),
        str(Path(manifest).absolute()) if manifest is not None else None,
        str(Path(weights).absolute()) if weights is not None else None,
        code=tuple(_local_code(registry)),
        **given,
    )


def _local_code(registry: NodeRegistry) -> Iterator[str]:
    """Yield the name of each local plugin with the hash of its code: nothing in a manifest tells of a change there."""
    for name in sorted(registry.list_plugins()):
        info = registry.plugin_info(name)
        if info.kind == "local":
            yield f"{name} {code_hash(Path(info.source))}"


def fingerprint(contents: dict[str, Any]) -> str:
    """Return by what a job is known: of two that have it in common the results are the same."""
    return hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()[:32]


def job_data(job: Job) -> dict[str, Any]:
    """Return a job as JSON takes it."""
    return asdict(job)


def _hash(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
