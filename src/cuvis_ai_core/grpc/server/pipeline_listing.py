"""The pipeline files of a server's configurations: listed and described, without loading anything."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from cuvis_ai_core._untrusted_files import load_yaml
from cuvis_ai_core.errors import PipelineError, ServiceError, YamlError
from cuvis_ai_core.grpc.messages.schema_generations import messages
from cuvis_ai_core.grpc.server.allowed_paths import Roots
from cuvis_ai_core.grpc.server.symlink_races import reading
from cuvis_ai_core.pipeline.file.lookup import find_weights

FOLDER: Final = "pipeline"
_SUFFIXES: Final = (".yaml", ".yml")
_MOST: Final = 10_000
_BY_NAME: Final = (0, 3)
"""Before this version of the schemas, pipelines are named without their suffix."""


def pipeline_infos(configs: Path, roots: Roots, tag: str, generation: tuple[int, int]) -> list[Any]:
    """Return a message for each pipeline file, those that cannot be read left out.

    Args:
        configs: The folder of configurations.
        roots: Which files may be read.
        tag: A tag that they must have, or nothing.
        generation: The version of the schemas in whose words they are described.
    """
    found = []
    for file in _files(configs / FOLDER):
        try:
            info = pipeline_info(file, configs, roots, generation)
        except ServiceError:
            continue
        if not tag or tag in info.metadata.tags:
            found.append(info)
    return found


def find_pipeline(configs: Path, roots: Roots, name: str) -> Path:
    """Return the file of a pipeline that is named by its path below the folder, before 0.3 without its suffix.

    Raises:
        ServiceError: It is no such path, or there is no such file.
    """
    # A path below the folder, in the wire's form, whatever the system's own separator is.
    if not name.strip() or name.startswith("/") or "\\" in name or "\0" in name or ".." in name.split("/"):
        raise ServiceError(
            f"'{name[:200]}' is no path of a pipeline.",
            hint="Write it relative to the folder of pipelines, with '/' and '.yaml', and without '..'.",
            code="INVALID_ARGUMENT",
        )
    file = configs.resolve() / FOLDER / name
    return roots.file(str(file), suffixes=("",) if file.suffix in _SUFFIXES else (".yaml", ".yml"))


def pipeline_info(
    file: Path, configs: Path, roots: Roots, generation: tuple[int, int], *, content: bool = False
) -> Any:
    """Return what a pipeline file says about itself.

    Raises:
        ServiceError: It cannot be read, or is no pipeline file.
    """
    real = roots.file(str(file))
    with reading(roots, real) as held:
        try:
            data = load_yaml(held).data
            weights = find_weights(real)
        except (YamlError, PipelineError) as error:
            raise ServiceError(str(error), code="INVALID_ARGUMENT") from error
        text = held.read_text(encoding="utf-8") if content else ""
    if not isinstance(data, dict):
        raise ServiceError(f"'{file.name}' is no pipeline file.", code="INVALID_ARGUMENT")
    about = data.get("metadata")
    metadata = metadata_message({"name": data.get("name") or file.stem, **(about if isinstance(about, dict) else {})})
    relative = file.relative_to((configs / FOLDER).resolve()).as_posix()
    by_name = generation < _BY_NAME
    return messages().PipelineInfo(
        pipeline_path=relative.rpartition(".")[0] if by_name else relative,
        resolved_path=str(real),
        metadata=metadata,
        weights_path=str(weights or ""),
        yaml_content=text,
        tags=metadata.tags if by_name else (),
        has_weights=by_name and weights is not None,
    )


def metadata_message(metadata: Mapping[str, Any]) -> Any:
    """Return what a pipeline says about itself as a message."""
    tags = metadata.get("tags")
    return messages().PipelineMetadata(
        **{
            name: str(metadata[name])
            for name in ("name", "description", "created", "cuvis_ai_version", "author")
            if metadata.get(name) is not None
        },
        tags=map(str, tags) if isinstance(tags, list) else (),
    )


def _files(folder: Path) -> Iterator[Path]:
    count = 0
    for parent, folders, names in os.walk(folder.resolve()):
        # In place, for `os.walk` goes on with this list: the answer is the same on every file system.
        folders.sort()
        for name in sorted(names):
            if name.endswith(_SUFFIXES):
                yield Path(parent, name)
                count += 1
                if count >= _MOST:
                    return
