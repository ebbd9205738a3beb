"""From a path, or the name of a pipeline that a plugin brings along, to a file."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from cuvis_ai_core._nearest import did_you_mean
from cuvis_ai_core.errors import PipelineError
from cuvis_ai_core.plugins.configurations import is_pipeline

_SUFFIXES = (".yaml", ".yml")


def find_pipeline_file(path_or_name: str | Path, directories: Iterable[Path]) -> Path:
    """Return the pipeline file at a path, or of that name in one of the directories.

    Args:
        path_or_name: A path to a file, or the file's name with or without its suffix; `plugin:name` means that of one
            plugin.
        directories: Where names are looked up: the configuration directories of plugins. A mapping says whose each is.

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
    owners = directories if isinstance(directories, Mapping) else dict.fromkeys(directories, "")
    plugin, _, name = str(path_or_name).rpartition(":")
    searched = [directory for directory, owner in owners.items() if not plugin or owner == plugin]
    wanted = Path(name) if plugin else path
    found = {file: owners[directory] for directory in searched for file in _candidates(directory, wanted)}
    if len(found) > 1:
        raise _ambiguous(path, found)
    if not found:
        raise _not_found(path, searched or list(owners))
    return next(iter(found))


def _candidates(directory: Path, path: Path) -> list[Path]:
    if path.is_absolute():
        return []
    name = directory / path
    files = [name] if path.suffix in _SUFFIXES else [name.with_name(name.name + suffix) for suffix in _SUFFIXES]
    return [file for file in files if file.is_file() and is_pipeline(file)]


def _ambiguous(path: Path, found: Mapping[Path, str]) -> PipelineError:
    places = "".join(f"\n  {file}" + (f" (plugin '{owner}')" if owner else "") for file, owner in found.items())
    owners = list(dict.fromkeys(found.values()))
    one = f"Say whose, as in '{owners[0]}:{path}', or give" if len(owners) == len(found) and all(owners) else "Give"
    return PipelineError(
        f"Several pipelines are named '{path}':{places}", hint=f"{one} the path of one of them.", path=path
    )


def _not_found(path: Path, directories: list[Path]) -> PipelineError:
    beside = path.parent if path.parent.is_dir() else Path()
    names = sorted({file.stem for directory in directories for file in directory.glob("*.y*ml") if is_pipeline(file)})
    known = [*names, *sorted(str(beside / file.name) for file in beside.glob("*.y*ml"))]
    meant = did_you_mean(str(path), known, most=3) or did_you_mean(path.stem, known, most=3)
    brought = f"Plugins bring: {', '.join(names)}. " if names else ""
    searched = "".join(f"\n  {directory}" for directory in directories) or " none (no plugin brings pipelines)"
    return PipelineError(
        f"There is no pipeline file '{path}', and no pipeline of that name in the configuration directories:{searched}",
        hint=meant.strip() or f"{brought}Check the path, or load the plugin first.",
        path=path,
    )
