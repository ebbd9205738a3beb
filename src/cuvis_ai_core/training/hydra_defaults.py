"""From a trainrun file to its content: files that a `defaults` list names are composed as Hydra means it.

They are looked for beside the file, in the `configs` folder that it lies in, and in the configuration directories of
plugins, and nowhere else: what leads out of these is refused, and each file is read by the rules of the first. Files
without such a list need no Hydra.
"""

import os
import tempfile
import threading
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from cuvis_ai_core._untrusted_files import load_yaml
from cuvis_ai_core._yaml import YamlDocument
from cuvis_ai_core.errors import MissingExtraError, TrainRunError, YamlError

_CONFIGS: Final = frozenset({"configs", "config", "conf"})
_HYDRA = threading.Lock()
"""Hydra keeps its search path in one place of the process."""


def load_document(path: Path) -> YamlDocument:
    """Read a trainrun file as it stands.

    Raises:
        TrainRunError: It is not there, is no YAML, or no mapping.
    """
    document = _load(path)
    if not isinstance(document.data, dict):
        raise TrainRunError(
            f"Trainrun file {path}: it holds no mapping.",
            hint="A trainrun has the keys name, pipeline, data and training.",
            path=path,
        )
    return document


def _load(path: Path) -> YamlDocument:
    try:
        return load_yaml(path)
    except YamlError as error:
        line = f" line {error.line}:" if error.line else ""
        end = "?" if error.message.endswith("?") else "."
        raise TrainRunError(
            f"Trainrun file {path}:{line} {error.message.rstrip('?')}{end}", path=path, line=error.line
        ) from error


def compose(
    path: Path, document: YamlDocument, config_dirs: Iterable[Path] = (), *, within: Sequence[Path] | None = None
) -> dict[str, Any]:
    """Return the content of a trainrun file with what its `defaults` list names; interpolations are not resolved.

    Args:
        path: The file.
        document: What it says.
        config_dirs: The configuration directories of plugins.
        within: Folders below which every file lies, whatever the folders above the first one hold.

    Raises:
        TrainRunError: A file that the list names is not there, or cannot be read or composed.
        MissingExtraError: The file has such a list, and Hydra is not installed.
    """
    data: dict[str, Any] = document.data
    if "defaults" not in data:
        return data
    try:
        from hydra import compose as hydra_compose
        from hydra import initialize_config_dir
        from hydra.errors import HydraException
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException
        from yaml import YAMLError
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"Trainrun file {path} has a list of defaults; composing it needs Hydra, which is not installed.",
            hint="Install the extra: pip install 'cuvis-ai-core[train]'",
            extra="train",
        ) from error
    searched = [*_roots(path), *config_dirs]
    overrides = [f"hydra.searchpath=[{','.join(map(_quoted, searched))}]"]
    try:
        # `initialize_config_dir` sets what is global in Hydra: two at once would read each other's folders.
        with _HYDRA, warnings.catch_warnings(), _read_by_our_rules(within):
            warnings.simplefilter(
                "ignore"
            )  # without `_self_` in the list the file's own values come last, as they should
            with initialize_config_dir(str(path.parent.absolute()), job_name="trainrun", version_base="1.3"):
                composed = OmegaConf.to_container(hydra_compose(path.stem, overrides))
    except TrainRunError:
        raise
    except (HydraException, OmegaConfBaseException, YAMLError, OSError, ValueError) as error:
        raise TrainRunError(
            f"Trainrun file {path} cannot be composed: {_first_words(error)}",
            hint=f"Searched in: {', '.join(map(str, [path.parent, *searched]))}.",
            path=path,
        ) from error
    assert isinstance(composed, dict)
    return {str(key): value for key, value in composed.items()}


@contextmanager
def _read_by_our_rules(within: Sequence[Path] | None) -> Iterator[None]:
    """Have Hydra read files that lie where they are looked for, as strictly as every YAML file is read.

    Hydra itself follows `..` and links out of its folders, and expands aliases without a limit.
    """
    # Private to Hydra (1.3): no public place lets one look at a file before it is read.
    from hydra._internal.core_plugins.file_config_source import FileConfigSource
    from hydra._internal.sources_registry import SourcesRegistry
    from hydra.core.plugins import Plugins
    from hydra.plugins.config_source import ConfigResult

    class Checked(FileConfigSource):
        """The files below a folder."""

        def load_config(self, config_path: str) -> ConfigResult:
            """Read one of them."""
            root = Path(self.path)
            file = root / self._normalize_file_name(config_path)
            real = file.resolve()
            if within is not None and not any(map(real.is_relative_to, within)):
                raise TrainRunError(f"The list of defaults leads out of what may be read: '{config_path}'.")
            # Resolved on both sides: the folder may be reached by a link itself.
            if not real.is_relative_to(root.resolve()):
                raise TrainRunError(
                    f"The list of defaults leads out of its folder: '{config_path}' is {real}, which is not in {root}.",
                    hint="Files that a list of defaults names lie below the folders in which they are looked for.",
                    path=real,
                )
            # Read twice: by our reader with its limits first, then by Hydra.
            _refuse_functions(real, _load(real).data)
            return super().load_config(config_path)

    Plugins.instance()  # which registers the kinds of sources when it is first asked for
    types = SourcesRegistry.instance().types
    before = types[FileConfigSource.scheme()]
    types[FileConfigSource.scheme()] = Checked
    try:
        yield
    finally:
        types[FileConfigSource.scheme()] = before


def _refuse_functions(file: Path, data: Any) -> None:
    """Refuse a list of defaults that asks for more than other keys: Hydra resolves it, and its errors would tell.

    Raises:
        TrainRunError: It asks for a variable of the environment, or calls anything else.
    """
    for text in _texts(data.get("defaults") if isinstance(data, dict) else None):
        # Coarse on purpose: a list of defaults has no use for a colon within an interpolation.
        if "${" in text and ":" in text:
            raise TrainRunError(
                f"Trainrun file {file}: the list of defaults asks for '{text}', which is no key of the file.",
                hint="Write the names of the files there, or ${key} of another entry of the list.",
                path=file,
            )


def _texts(data: object) -> Iterator[str]:
    """Yield all texts, keys included."""
    if isinstance(data, str):
        yield data
    elif isinstance(data, dict):
        yield from (text for pair in data.items() for each in pair for text in _texts(each))
    elif isinstance(data, list):
        yield from (text for each in data for text in _texts(each))


def _roots(path: Path) -> list[Path]:
    """Return the folder of the groups: `configs` above the file, or the folder above that of the file.

    That is none where it holds all that a user has: a file in the downloads is no reason to look for others at home.
    """
    # As it is named, not resolved: a link's file belongs to the folder in which somebody put the link.
    above = list(path.absolute().parents)
    if named := next((folder for folder in above if folder.name in _CONFIGS), None):
        return [named]
    folder = above[min(1, len(above) - 1)]
    shared = [Path(place).resolve() for place in (os.path.expanduser("~"), tempfile.gettempdir())]  # noqa: PTH111
    return [] if any(place.is_relative_to(folder.resolve()) for place in shared) else [folder]


def _quoted(folder: Path) -> str:
    # Hydra's grammar of overrides: commas, brackets and blanks of a path are text within quotes only.
    text = str(folder.absolute()).replace("\\", "\\\\").replace("'", "\\'")
    return f"'file://{text}'"


def _first_words(error: Exception) -> str:
    """Return what the error says without the search path, which follows in our words."""
    text = str(error).partition("Config search path:")[0]
    return "; ".join(line.strip() for line in text.splitlines() if line.strip())
