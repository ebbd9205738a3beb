"""The file of a pipeline, found by its path or name, with the weights beside it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cuvis_ai_core._nearest import did_you_mean
from cuvis_ai_core._untrusted_files import special
from cuvis_ai_core.errors import PipelineError
from cuvis_ai_core.pipeline.weights.weights_file import SUFFIXES
from cuvis_ai_core.plugins.configs_folder import is_pipeline

_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class PipelineFiles:
    """What a pipeline was read from.

    Attributes:
        file: The pipeline file.
        weights: The file of weights, if there is one.
        overrides: What was laid over the pipeline file, each `key.path=value`.
    """

    file: Path
    weights: Path | None = None
    overrides: tuple[str, ...] = ()


def find_files(
    path_or_name: str | Path,
    directories: Callable[[], Iterable[Path]],
    weights: str | Path | None = None,
    overrides: Sequence[str] = (),
    *,
    beside: bool = True,
) -> PipelineFiles:
    """Return what a pipeline is read from.

    Args:
        path_or_name: As in `find_pipeline_file`.
        directories: As in `find_pipeline_file`.
        weights: The file of weights; by default the one beside the pipeline file, if there is one.
        overrides: What is laid over the pipeline file.
        beside: Whether weights that lie beside the file count where none are named.

    Raises:
        PipelineError: As `find_pipeline_file`; or there are weights of each kind beside the file.
    """
    file = find_pipeline_file(path_or_name, directories)
    found = Path(weights).expanduser() if weights is not None else find_weights(file) if beside else None
    return PipelineFiles(file, found, tuple(overrides))


def find_pipeline_file(path_or_name: str | Path, directories: Callable[[], Iterable[Path]]) -> Path:
    """Return the pipeline file at a path, or of that name in one of the directories.

    Args:
        path_or_name: A path to a file, or the file's name with or without its suffix; `plugin:name` means that of one
            plugin.
        directories: Answers where names are looked up: the configuration directories of plugins, which are asked for a
            name only. A mapping says whose each is.

    Raises:
        PipelineError: There is no such file, it is a folder, or several directories have one of that name.
    """
    path = Path(path_or_name).expanduser()
    try:
        exists, folder = path.is_file(), path.is_dir()
    # `Path.is_file` raises where a name is too long, or a folder may not be looked into.
    except OSError as error:
        raise PipelineError(f"'{path_or_name}' is no path of a file: {error.strerror}.", path=path) from error
    if exists:
        return path
    if folder:
        raise PipelineError(f"{path} is a folder; a pipeline is a YAML file.", path=path)
    if kind := special(path):
        hint = "Write what it brings into a file."
        raise PipelineError(f"Pipeline file {path} cannot be read: {kind}.", hint=hint, path=path)
    answered = directories()
    owners = answered if isinstance(answered, Mapping) else dict.fromkeys(answered, "")
    plugin, _, name = str(path_or_name).rpartition(":")
    searched = [directory for directory, owner in owners.items() if not plugin or owner == plugin]
    wanted = Path(name) if plugin else path
    found = {file: owners[directory] for directory in searched for file in _candidates(directory, wanted)}
    if len(found) > 1:
        raise _ambiguous(path, found)
    if not found:
        raise _not_found(path, searched or list(owners))
    return next(iter(found))


def find_weights(pipeline_file: Path) -> Path | None:
    """Return the file of weights beside a pipeline file, or None.

    Raises:
        PipelineError: There is one of each kind.
    """
    found = [file for suffix in SUFFIXES if (file := pipeline_file.with_suffix(suffix)).is_file()]
    if len(found) > 1:
        raise PipelineError(
            f"Two files of weights lie beside {pipeline_file}: {' and '.join(file.name for file in found)}.",
            hint="Say which one is meant, as weights=..., or remove the other.",
            path=pipeline_file,
        )
    return found[0] if found else None


def _candidates(directory: Path, path: Path) -> list[Path]:
    # A folder joined with an absolute path is that path to pathlib.
    if path.is_absolute():
        return []
    name = directory / path
    # Not `with_suffix`: `ndvi.v2` is a name with a dot.
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
