"""The configurations in a plugin's package: `configs/`, with pipeline files and, in `default.yaml`, node defaults.

- `configs/ndvi.yaml` and `configs/pipeline/ndvi.yaml` are pipelines, found as `ndvi`.
- `configs/default.yaml` is a pipeline if it has a list of nodes; else it has parameters by node class.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cuvis_ai_core.errors import PipelineError, YamlError

if TYPE_CHECKING:
    from cuvis_ai_core._yaml import YamlDocument

DEFAULTS: Final = "default.yaml"

_FOLDERS: Final = ("configs", "configs/pipeline")
_EXAMPLE: Final = "Node defaults look like this:\n  BandDepth: {centre: 970, width: 30}"


class Defaults(NamedTuple):
    """Parameters that a plugin gives to a node class, where a pipeline does not.

    Attributes:
        params: The parameters.
        file: The file that says so.
        lines: The line on which each stands.
    """

    params: Mapping[str, Any]
    file: Path
    lines: Mapping[str, int | None]


def folders_of(modules: Iterable[str], folders_of_top: Callable[[str], Sequence[Path]]) -> list[Path]:
    """Return the folders with configurations in the packages that some modules lie in.

    Args:
        modules: Dotted names; a class name at the end does no harm.
        folders_of_top: Returns the folders in which a top-level package may lie; the first that has something counts.
    """
    found = (folder for module in dict.fromkeys(modules) for folder in _folders(module.split("."), folders_of_top))
    return list(dict.fromkeys(found))


def _folders(parts: list[str], folders_of_top: Callable[[str], Sequence[Path]]) -> Iterator[Path]:
    packages = folders_of_top(parts[0])
    for part in [*parts[1:], ""]:
        for name in _FOLDERS:
            yield from [package / name for package in packages if (package / name).is_dir()][:1]
        if not part or any((package / "__init__.py").is_file() for package in packages):
            return
        packages = [package / part for package in packages]  # a namespace package: the plugin's own lies in it


def config_folders(modules: Iterable[str], installed: Iterable[str | Path], project: Path) -> list[Path]:
    """Return the folders with configurations of a plugin.

    Args:
        modules: Dotted names, as for `folders_of`.
        installed: The folders in which its packages are installed.
        project: The folder of its project, in which is found what a build left out of a wheel.
    """
    roots = [*map(Path, installed), project, project / "src"]
    return folders_of(modules, lambda top: [root / top for root in roots])


def pipelines_in(folder: Path) -> list[Path]:
    """Return the pipeline files of a directory with configurations, sorted."""
    files = (file for suffix in ("*.yaml", "*.yml") for file in folder.glob(suffix))
    return sorted(file for file in files if file.is_file() and is_pipeline(file))


def is_pipeline(file: Path) -> bool:
    """Tell whether a file of a folder with configurations is meant as a pipeline."""
    if file.name != DEFAULTS:
        return True
    from cuvis_ai_core._untrusted_files import load_yaml

    try:
        data = load_yaml(file).data
    except YamlError:
        return True  # whoever reads it says what is wrong
    return not isinstance(data, Mapping) or isinstance(data.get("nodes"), list)


def read_defaults(file: Path, plugin: str, wanted: Collection[str], known: Collection[str]) -> Defaults | None:
    """Return what a plugin's `default.yaml` gives to one of its node classes.

    A file in which no key looks like a class is for the plugin itself and says nothing.

    Args:
        file: The file.
        plugin: Name of the plugin, for messages.
        wanted: The short name and the full path of the class.
        known: Those of all node classes of the plugin.

    Raises:
        PipelineError: The file cannot be read, or gives something to what is no node class of the plugin.
    """
    from cuvis_ai_core._untrusted_files import load_yaml

    try:
        document = load_yaml(file)
    except YamlError as error:
        raise _broken(file, error.line, f"{error.message}.") from error
    keys, section = _section(document, file)
    for name, params in section.items():
        line = document.line_of(*keys, name)
        if name not in known:
            from cuvis_ai_core._nearest import advice

            meant = advice(name, known, f"it has {', '.join(sorted(known))}.")
            raise _broken(file, line, f"'{name}' is no node class of plugin '{plugin}'; {meant}")
        if params is not None and not isinstance(params, Mapping):
            raise _broken(file, line, f"'{name}' must be a mapping of parameters, not {params!r:.60}.")
    given = [name for name in section if name in wanted]
    if len(given) > 1:
        raise _broken(file, document.line_of(*keys, given[1]), f"'{given[0]}' and '{given[1]}' are the same class.")
    params = section[given[0]] if given else None
    return Defaults(params, file, {key: document.line_of(*keys, given[0], key) for key in params}) if params else None


def _section(document: "YamlDocument", file: Path) -> tuple[tuple[str, ...], Mapping[str, Any]]:
    """Return the part that gives parameters by class, and the keys that lead to it."""
    data = document.data
    if data is None:
        return (), {}
    if not isinstance(data, Mapping):
        raise _broken(file, 1, f"it must be a mapping of node class to parameters, not {data!r:.60}.")
    nodes = data.get("nodes")
    if isinstance(nodes, Mapping):
        return ("nodes",), nodes
    classes = [key for key in data if key.rpartition(".")[2][:1].isupper()]
    return (), data if classes and "nodes" not in data else {}


def _broken(file: Path, line: int | None, problem: str) -> PipelineError:
    place = f"{file}, line {line}" if line else f"{file}"
    return PipelineError(f"{place}: {problem}", hint=_EXAMPLE, path=file)
