"""What is declared of weights of a model: one file of a repository, by its hash, and whose it is."""

import re
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, fields
from types import MappingProxyType
from typing import Any, Final, Literal, TypeGuard

from cuvis_ai_core._printable_text import shown_in_line
from cuvis_ai_core.data.downloads.repository_files import is_inside

_MOST_BYTES: Final = 1 << 63
_HEX: Final = "[0-9a-f]"


@dataclass(frozen=True, slots=True)
class AuxFile:
    """A file that goes with weights, of the same revision.

    Attributes:
        path: In the repository.
        size_bytes: Its size.
        sha256: Its hash.
    """

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightEntry:
    """What a manifest says of weights, in the fields of the schemas' `PluginWeightEntry`, which some versions have."""

    name: str
    display_name: str
    summary: str = ""
    used_for: tuple[str, ...]
    kind: Literal["weights", "trained_pipeline"] = "weights"
    repo_id: str
    filename: str
    revision: str
    sha256: str
    size_bytes: int
    aux_files: tuple[AuxFile, ...] = ()
    license: str
    license_file: str | None = None
    aliases: tuple[str, ...] = ()
    selected_by: str | None = None
    default: bool = False
    explicit_path_hparams: tuple[str, ...] = ()
    description: str = ""

    def __eq__(self, other: object) -> bool:
        """Tell whether another entry says the same, be it one of the schemas."""
        if not isinstance(other, WeightEntry):
            if not hasattr(other, "model_dump"):
                return NotImplemented
            try:
                other = entry_of(other)
            except ValueError:  # not even a declaration
                return False
        return astuple(self) == astuple(other)

    def __hash__(self) -> int:
        return hash(astuple(self))


@dataclass(frozen=True, slots=True)
class RegisteredWeight:
    """Weights that are known.

    Attributes:
        entry: What was declared of them.
        plugin: The name of the plugin that needs them.
        source: Who declared them: an imported plugin, its manifest, or this package (`dict`).
        pin_mismatch: Whether the manifest of the imported plugin means another revision.
    """

    entry: WeightEntry
    plugin: str
    source: Literal["plugin", "manifest", "dict"]
    pin_mismatch: bool = False

    @property
    def name(self) -> str:
        """By which they are asked for."""
        return self.entry.name

    @property
    def family(self) -> str:
        """The name of their repository, without its owner."""
        return self.entry.repo_id.rpartition("/")[2]

    @property
    def cache_dir_name(self) -> str:
        """The folder of their repository in the folder of weights."""
        return folder_of(self.entry.repo_id)

    @property
    def total_bytes(self) -> int:
        """The size of all their files."""
        return sum(file.size_bytes for file in self.files)

    @property
    def plugin_default(self) -> bool:
        """Whether a node of the plugin needs them that is given no parameters."""
        entry = self.entry
        return entry.kind == "weights" and (bool(entry.default) or entry.selected_by is None)

    @property
    def files(self) -> tuple[AuxFile, ...]:
        """What goes with them, then the file itself."""
        entry = self.entry
        aux = [AuxFile(each.path, each.size_bytes, each.sha256) for each in entry.aux_files]
        return (*aux, AuxFile(entry.filename, entry.size_bytes, entry.sha256))

    def to_json_dict(self) -> dict[str, Any]:
        """Return them as a row of the index."""
        entry = self.entry
        row: dict[str, Any] = {
            **{name: getattr(entry, name) for name in ("name", "display_name", "summary")},
            "used_for": list(entry.used_for),
            "plugin": self.plugin,
            "family": self.family,
            "kind": entry.kind,
            "aux_files": [
                {"path": each.path, "size_bytes": each.size_bytes, "sha256": each.sha256} for each in entry.aux_files
            ],
            **{name: getattr(entry, name) for name in ("repo_id", "filename", "revision", "sha256", "size_bytes")},
            "total_bytes": self.total_bytes,
            "license": entry.license,
            "license_file": entry.license_file,
            "aliases": list(entry.aliases),
            "selected_by": entry.selected_by,
            "default": entry.default,
            "plugin_default": self.plugin_default,
            "explicit_path_hparams": list(entry.explicit_path_hparams),
            "cache_dir_name": self.cache_dir_name,
            "description": entry.description,
        }
        return row | {"source": self.source, "pin_mismatch": self.pin_mismatch}


def folder_of(repo_id: str) -> str:
    """Return what the folder of a repository is called in the folder of weights."""
    return f"models--{repo_id.replace('/', '--')}"


def entry_of(declared: object) -> WeightEntry:
    """Return what a manifest, or an imported plugin, declares of weights.

    Raises:
        ValueError: It breaks a rule, which the text says.
    """
    row = _mapping(declared)
    values = {field.name: row[field.name] for field in fields(WeightEntry) if row.get(field.name) is not None}
    name = _shown_name(row.get("name"))
    for key in _NEEDED:
        if key not in values:
            raise ValueError(f"{name}: '{key}' is missing")
    for key, value in values.items():
        holds, rule = _RULES[key]
        if not holds(value):
            raise ValueError(f"{name}: '{key}' is {rule}")
    values["aux_files"] = tuple(_aux_file(each, name) for each in values.get("aux_files", ()))
    given: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    return WeightEntry(**given)


def _aux_file(declared: object, name: str) -> AuxFile:
    row = _mapping(declared)
    for key in ("path", "size_bytes", "sha256"):
        holds, rule = _RULES["filename" if key == "path" else key]
        if not holds(row.get(key)):
            raise ValueError(f"{name}: '{key}' of its 'aux_files' is {rule}")
    return AuxFile(row["path"], row["size_bytes"], row["sha256"])


def _mapping(declared: object) -> Mapping[str, Any]:
    """Return a row; that of an imported plugin is a model of pydantic, or one of ours."""
    if isinstance(declared, Mapping):
        return declared
    if hasattr(declared, "model_dump"):
        return _mapping(declared.model_dump())
    if isinstance(declared, WeightEntry | AuxFile):
        return {field.name: getattr(declared, field.name) for field in fields(declared)}
    raise ValueError(f"what is declared of weights is a mapping, not {type(declared).__name__}")


def _shown_name(name: object) -> str:
    return f"weights '{shown_in_line(name)}'" if isinstance(name, str) else "weights"


def _is_text(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and value != "" and shown_in_line(value) == value


def _is_prose(value: object) -> bool:
    return value == "" or _is_text(value)


def _matches(pattern: str) -> Callable[[object], bool]:
    # Not `match` with a `$`, before which a line may end.
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None


def _list_of(holds: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list | tuple) and all(map(holds, value))


def _is_size(value: object) -> bool:
    # `true` is an int to Python.
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < _MOST_BYTES


_KEY: Final = "[A-Za-z0-9][A-Za-z0-9_.-]*"
_TEXT: Final = "a text without control characters"
_RULES: Final[Mapping[str, tuple[Callable[[Any], bool], str]]] = MappingProxyType(
    {
        "name": (_matches(_KEY), "a name of letters, digits, '_', '.' and '-'"),
        "display_name": (_is_text, _TEXT),
        "summary": (_is_prose, _TEXT),
        "used_for": (_list_of(_is_text), "a list of texts without control characters"),
        "kind": (lambda value: value in {"weights", "trained_pipeline"}, "'weights' or 'trained_pipeline'"),
        "repo_id": (_matches(f"{_KEY}/{_KEY}"), "the name of a repository, 'owner/name'"),
        "filename": (is_inside, "the path of a file within its repository"),
        "revision": (_matches(_HEX + "{40}"), "a commit, 40 lowercase hex digits"),
        "sha256": (_matches(_HEX + "{64}"), "a SHA-256, 64 lowercase hex digits"),
        "size_bytes": (_is_size, "a whole number above 0"),
        "aux_files": (_list_of(lambda each: not isinstance(each, str)), "a list of mappings"),
        "license": (_is_text, _TEXT),
        "license_file": (is_inside, "the path of a file within its repository"),
        "aliases": (_list_of(_matches(_KEY)), "a list of names of letters, digits, '_', '.' and '-'"),
        "selected_by": (_is_text, _TEXT),
        "default": (lambda value: isinstance(value, bool), "true or false"),
        "explicit_path_hparams": (_list_of(_is_text), "a list of texts without control characters"),
        "description": (_is_prose, _TEXT),
    }
)
_NEEDED: Final = (
    *("name", "display_name", "used_for", "repo_id", "filename", "revision", "sha256", "size_bytes", "license"),
)
