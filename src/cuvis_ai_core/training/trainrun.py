"""Reading a trainrun: composed, with overrides laid over it, resolved, and checked."""

import glob
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from cuvis_ai_core._nearest import nearest
from cuvis_ai_core._yaml import YamlDocument
from cuvis_ai_core.errors import PipelineError, TrainRunError
from cuvis_ai_core.pipeline.file.interpolation import filled_in
from cuvis_ai_core.pipeline.file.overrides import override
from cuvis_ai_core.training.config import MODULE, ModuleDataConfig, TrainRunConfig
from cuvis_ai_core.training.hydra_defaults import compose, load_document

_SHOWN_PROBLEMS: Final = 5
_RULES: Final = {
    "missing": "is missing",
    "string_type": "must be text, not {given}",
    "list_type": "must be a list, not {given}",
    "dict_type": "must be a mapping, not {given}",
    "model_type": "must be a mapping, not {given}",
    "bool_type": "must be true or false, not {given}",
    "bool_parsing": "must be true or false, not {given}",
    "int_type": "must be an integer, not {given}",
    "int_parsing": "must be an integer, not {given}",
    "int_from_float": "must be an integer, not {given}",
    "float_type": "must be a number, not {given}",
    "float_parsing": "must be a number, not {given}",
}
_NOT_OURS: Final = frozenset({"debug", "defaults", "hydra"})
"""What Hydra, and the scripts of published catalogues, read of a file."""

_INNER: Final = "pipeline."


@dataclass(frozen=True, slots=True)
class TrainRun:
    """A trainrun and where it comes from.

    Attributes:
        config: What it says.
        path: The file; relative paths in it begin at its folder, or else at the working directory.
        pipeline_overrides: What was laid over a pipeline that is named by its path, without `pipeline.`.
        plugins_dirs: Folders with a manifest for each plugin, in which data modules are looked up too.
        published: Names of the nodes of its pipeline that are in the published spelling.
    """

    config: TrainRunConfig
    path: Path
    pipeline_overrides: tuple[str, ...] = ()
    plugins_dirs: tuple[Path, ...] = ()
    published: frozenset[str] = frozenset()

    def locate(self, place: str) -> Path:
        """Return a path of the file: beside the file if it is there, or else seen from the working directory."""
        given = Path(place).expanduser()
        beside = self.path.parent / given
        return beside if beside.exists() or glob.glob(str(beside), recursive=True) else given  # noqa: PTH207


def read_trainrun(path: Path, *, overrides: Sequence[str] = (), config_dirs: Iterable[Path] = ()) -> TrainRun:
    """Read a trainrun file.

    Args:
        path: The file.
        overrides: Each `key.path=value`, laid over its composed content: `training.optimizer.lr=0.01`.
        config_dirs: Where files of its `defaults` are looked up beside its own folder: those of plugins.

    Raises:
        TrainRunError: The file cannot be read or composed, or something in it, or an override, breaks a rule.
        MissingExtraError: It has a `defaults` list, and Hydra is not installed.
    """
    document = load_document(path)
    composed = compose(path, document, config_dirs)
    kept = {key: value for key, value in composed.items() if key not in _NOT_OURS}
    inner = tuple(each for each in overrides if each.startswith(_INNER) and isinstance(kept.get("pipeline"), str))
    own = [each for each in overrides if each not in inner]
    try:
        data = filled_in(override(kept, own))
    except PipelineError as error:
        raise TrainRunError(f"Trainrun file {path}: {error.message}", hint=error.hint, path=path) from error
    config = _checked(data, path, document if composed is document.data else None, own)
    return TrainRun(config, path, tuple(each.removeprefix(_INNER) for each in inner))


def recorded_manifest(path: Path, overrides: Iterable[str] = ()) -> Path | None:
    """Return the manifest of plugins that belongs to a trainrun: the one that it names, or `plugins.yaml` beside it.

    Raises:
        TrainRunError: The file cannot be read, or names a manifest that is not there; or an override names one.
    """
    document = load_document(path)
    if any(each.startswith("plugins_path=") for each in overrides):
        raise TrainRunError(
            f"Trainrun file {path}: the manifest is no override: plugins are loaded before the file is composed.",
            hint="Give it with --plugins-path.",
            path=path,
        )
    named = document.data.get("plugins_path")
    if named is None:
        beside = path.parent / "plugins.yaml"
        return beside if beside.is_file() else None
    if not isinstance(named, str):
        raise TrainRunError(f"Trainrun file {path}: plugins_path: must be text, not {named!r}.", path=path)
    for manifest in (path.parent / Path(named).expanduser(), Path(named).expanduser()):
        if manifest.is_file():
            return manifest
    raise TrainRunError(
        f"Trainrun file {path}: line {document.line_of('plugins_path')}: there is no manifest '{named}'.",
        hint="Give the manifest of the plugins with --plugins-path, or correct plugins_path.",
        path=path,
        key="plugins_path",
    )


def _checked(data: object, path: Path, document: YamlDocument | None, overrides: Sequence[str]) -> TrainRunConfig:
    try:
        return TrainRunConfig.model_validate(data)
    except ValidationError as error:
        problems = [_explain(each, data, document, overrides) for each in error.errors()[:_SHOWN_PROBLEMS]]
        raise TrainRunError(
            f"Trainrun file {path}: " + "\n".join(dict.fromkeys(problems)),
            path=path,
            key=".".join(map(str, error.errors()[0]["loc"])),
        ) from error


def _explain(details: ErrorDetails, data: object, document: YamlDocument | None, overrides: Sequence[str]) -> str:
    keys = _keys(details, data)
    place = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).lstrip(".")
    by = next((each for each in overrides if _concerns(each, ".".join(map(str, keys)))), None)
    line = document.line_of(*keys) if document and by is None else None
    where = f"override '{by}': " if by else f"line {line}: " if line else ""
    rule = _rule(details)
    return f"{where}{place or 'the file'}: {rule}{'' if rule.endswith('?') else '.'}"


def _concerns(override_text: str, place: str) -> bool:
    """Tell whether an override set what stands at a place, or something in it or around it."""
    path = f"{override_text.partition('=')[0].strip()}."
    return path.startswith(f"{place}.") or f"{place}.".startswith(path)


def _keys(details: ErrorDetails, data: Any) -> list[int | str]:
    """Return the keys of the file in a place, without the members of unions that pydantic names between them."""
    keys: list[int | str] = []
    for key in details["loc"]:
        if _has(data, key):
            keys.append(key)
            data = data[key]
    return [*keys, details["loc"][-1]] if details["type"] == "missing" else keys


def _has(data: object, key: int | str) -> bool:
    if isinstance(data, list):
        return isinstance(key, int) and key < len(data)
    return isinstance(data, dict) and key in data


def _rule(details: ErrorDetails) -> str:
    if details["type"] == "extra_forbidden":
        return _unknown_key(details["loc"])
    if rule := _RULES.get(details["type"]):
        return rule.format(given=f"{details['input']!r:.60}")
    # pydantic begins so what a validator of ours raised.
    text = details["msg"].removeprefix("Value error, ")
    return f"{text[0].lower()}{text[1:]}; it is {details['input']!r:.60}" if details["type"] != "value_error" else text


def _unknown_key(place: tuple[int | str, ...]) -> str:
    known = _keys_beside(place)
    near = nearest(str(place[-1]), known)
    return f"is an unknown key; {f'did you mean {near!r}?' if near else 'known keys: ' + ', '.join(known)}"


def _keys_beside(place: tuple[int | str, ...]) -> list[str]:
    """Return the keys that the section of a key knows."""
    sections: list[type[BaseModel]] = [TrainRunConfig]
    for key in place[:-1]:
        if key == MODULE:
            sections = [ModuleDataConfig]
        elif field := sections[0].model_fields.get(str(key)):
            sections = list(_sections(field.annotation)) or sections
    return list(sections[0].model_fields)


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for each in get_args(annotation):
        yield from _sections(each)
