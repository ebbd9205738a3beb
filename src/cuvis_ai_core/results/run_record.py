"""`run.json`: what ran, on what, with which code."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cuvis_ai_core._redact import redact
from cuvis_ai_core.pipeline.file.interpolation import hide_environment
from cuvis_ai_core.results.local_code import local_code
from cuvis_ai_core.results.node_origin import CORE, Origin, core_version, origin_of

if TYPE_CHECKING:
    from cuvis_ai_core.data import Cube
    from cuvis_ai_core.pipeline.pipeline import Pipeline
    from cuvis_ai_core.registry import NodeRegistry

RECORD: Final = "run.json"


def run_record(
    inputs: Mapping[str, Any], nodes: list[dict[str, Any]], files: list[dict[str, Any]], left_out: list[dict[str, str]]
) -> dict[str, Any]:
    """Return the record of a run that has just ended.

    Args:
        inputs: The files that went in.
        nodes: The nodes in running order.
        files: Each output in each file.
        left_out: Outputs that could not be written.
    """
    record = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "core": {"distribution": CORE, "version": core_version()},
        **inputs,
        "nodes": nodes,
        "files": files,
        "left_out": left_out,
    }
    written: dict[str, Any] = for_results(record)
    return written


def for_results(data: Any) -> Any:
    """Return data as they may stand in results: without values of environment variables, passwords in addresses."""
    return hide_environment(_without_passwords(data))


def _without_passwords(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {key: _without_passwords(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_without_passwords(each) for each in data]
    return redact(data) if isinstance(data, str) and "://" in data else data


def input_record(path: Path) -> dict[str, Any]:
    """Return path and content hash of a file.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        return {"file": str(path.absolute()), "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def cube_record(path: Path, cube: "Cube") -> dict[str, Any]:
    """Return what a cube is; the hash is of its values, which may lie in several files."""
    from cuvis_ai_core.data.cube_files import as_path, as_url
    from cuvis_ai_core.data.lazy_array import blocks_of
    from cuvis_ai_core.data.numpy_files import place_arrays

    digest = hashlib.sha256()
    for block in blocks_of(cube.data):
        digest.update(block.tobytes())
    if cube.wavelengths is not None:
        digest.update(cube.wavelengths.tobytes())
    return {
        "file": redact(as_url(path) or str(as_path(path).absolute())),
        "shape": list(cube.data.shape),
        "dtype": str(cube.data.dtype),
        "sha256": digest.hexdigest(),
        **{key: value.tolist() for key, value in place_arrays(cube).items()},
        "remarks": list(cube.remarks),
    }


def node_records(registry: "NodeRegistry", pipeline: "Pipeline") -> list[dict[str, Any]]:
    """Return for each node, in running order, its class and the code that it comes from."""
    classes = {name: type(pipeline.nodes[name]) for name in pipeline.order}
    origins = {name: origin_of(registry, node_class) for name, node_class in classes.items()}
    # Once for each plugin, not for each node: git is started for it.
    local = {
        each.plugin: local_code(Path(str(each.source)), edited=registry.edited(str(each.plugin)))
        for each in {origin.plugin: origin for origin in origins.values() if origin.kind == "local"}.values()
    }
    return [
        {
            "name": name,
            "class": registry.public_path(node_class),
            **_origin_record(origins[name]),
            **(local[origins[name].plugin] if origins[name].kind == "local" else {}),
        }
        for name, node_class in classes.items()
    ]


def _origin_record(origin: Origin) -> dict[str, Any]:
    record = asdict(origin)
    source = record.pop("source")
    return {
        **record,
        "repo": source if origin.kind == "git" else None,
        "path": source if origin.kind == "local" else None,
    }
