"""From a path, or the name of a pipeline that a plugin brings along, to a file."""

import difflib
from collections.abc import Iterable
from pathlib import Path

from cuvis_ai_core.errors import PipelineError

_SUFFIXES = (".yaml", ".yml")


def find_pipeline_file(path_or_name: str | Path, directories: Iterable[Path]) -> Path:
    """Return the pipeline file at a path, or of that name in one of the directories.

    Args:
        path_or_name: A path to a file, or the file's name with or without its suffix.
        directories: Where names are looked up: the configuration directories of plugins.

    Raises:
        PipelineError: There is no such file, it is a folder, or several directories have one of that name.
    """
    path = Path(path_or_name).expanduser()
    try:
        exists, folder = path.is_file(), path.is_dir()
    except OSError as error:
        raise PipelineError(f"'{path_or_name}' is no path of a file: {error.strerror}.", path=path) from error
    if exists:
        return path
    if folder:
        raise PipelineError(f"{path} is a folder; a pipeline is a YAML file.", path=path)
    searched = list(directories)
    found = [file for directory in searched for file in _candidates(directory, path) if file.is_file()]
    if len(found) > 1:
        places = "".join(f"\n  {file}" for file in found)
        raise PipelineError(
            f"Several pipelines are named '{path_or_name}':{places}",
            hint="Give the path of one of them.",
            path=path,
        )
    if not found:
        raise _not_found(path, searched)
    return found[0]


def _candidates(directory: Path, path: Path) -> list[Path]:
    if path.is_absolute():
        return []
    name = directory / path
    return [name] if path.suffix in _SUFFIXES else [name.with_name(name.name + suffix) for suffix in _SUFFIXES]


def _not_found(path: Path, directories: list[Path]) -> PipelineError:
    beside = path.parent if path.parent.is_dir() else Path()
    known = sorted(
        {file.stem for directory in directories for file in directory.glob("*.y*ml")}
        | {str(beside / file.name) for file in beside.glob("*.y*ml")}
    )
    near = difflib.get_close_matches(str(path), known, n=3) or difflib.get_close_matches(path.stem, known, n=3)
    searched = "".join(f"\n  {directory}" for directory in directories) or " none (no plugin brings pipelines)"
    return PipelineError(
        f"There is no pipeline file '{path}', and no pipeline of that name in the configuration directories:{searched}",
        hint=f"Did you mean {' or '.join(map(repr, near))}?" if near else "Check the path, or load the plugin first.",
        path=path,
    )
