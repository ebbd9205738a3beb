"""What is said about a manifest that breaks a rule: all broken rules, each with its line, in one error."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from cuvis_ai_core._nearest import advice, nearest
from cuvis_ai_core._redact import redact
from cuvis_ai_core.errors import ManifestError
from cuvis_ai_core.plugins.manifest.field_checks import kind_of, show
from cuvis_ai_core.plugins.manifest.published_catalogue import keys_in_file

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from cuvis_ai_core._yaml import YamlDocument
    from cuvis_ai_core.errors import YamlError

_FORM: Final = """\
A manifest looks like this:
  plugins:
    adaclip:
      repo: "https://github.com/cubert-hyperspectral/cuvis-ai-adaclip.git"
      tag: "v0.1.1"
      provides: [cuvis_ai_adaclip.node.adaclip_node.AdaCLIPDetector]
    local_dev:
      path: "../my-custom-plugin"
      provides: [my_plugin.custom.CustomNode]"""
_EXAMPLES: Final = {
    "repo": 'repo: "https://github.com/cubert-hyperspectral/cuvis-ai-adaclip.git"',
    "tag": 'tag: "v0.1.1"',
    "path": 'path: "../my-custom-plugin"',
    "provides": "provides: [my_plugin.custom.CustomNode]",
    "data_modules": "data_modules: {belt: my_plugin.data.BeltModule}",
    "isolation": "isolation: process",
    "extras": "extras: [torch]",
    "subdirectory": 'subdirectory: "plugins/adaclip"',
    "python": 'isolation: process with python: "3.12"',
}
_KINDS: Final = {"repo": "git", "tag": "git", "path": "local"}
_MEANT: Final = {
    "url": "repo",
    "git": "repo",
    "branch": "tag",
    "commit": "tag",
    "ref": "tag",
    "rev": "tag",
    "version": "tag",
    "folder": "path",
    "dir": "path",
    "class": "provides",
    "class_name": "provides",
    "classes": "provides",
    "nodes": "provides",
    "capabilities": "provides",
}
_NEEDS: Final = {
    "repo": "a plugin from Git has repo and tag",
    "tag": "a plugin from Git has repo and tag",
    "path": "a plugin from a folder has a path",
    "provides": "name at least one node class",
}
_ISOLATIONS: Final = ("scoped", "process", "auto")
_POSSIBLE: Final = ", ".join(_ISOLATIONS)
_SHOWN_PROBLEMS: Final = 20
_SORTED_PROBLEMS: Final = 500  # a file of another kind can have a hundred thousand
_SHOWN_LENGTH: Final = 80

Keys: TypeAlias = tuple[str | int, ...]
Fields: TypeAlias = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class _Problem:
    """What is wrong.

    Attributes:
        keys: Where it is in a manifest of several plugins.
        written: Where it stands in the file.
        text: What is said about it.
        line: The line of the file.
    """

    keys: Keys
    written: Keys
    text: str
    line: int | None


def meant_kind(entry: Iterable[object]) -> str | None:
    """Return which kind of plugin, git or local, misspelt keys seem to speak of."""
    kinds = {_KINDS[near] for key in entry if (near := _nearest(key, _EXAMPLES)) in _KINDS}
    return kinds.pop() if len(kinds) == 1 else None


def unreadable(error: "YamlError", path: Path) -> ManifestError:
    """Return the error for a file that is not there, or is no YAML."""
    hint = _FORM if error.line else None
    return ManifestError(redact(str(error)), hint=hint, path=path, line=error.line, plugin=None)


def broken(
    errors: Sequence["ErrorDetails"], fields: Fields, path: Path | None, document: "YamlDocument | None"
) -> ManifestError:
    """Return the one error for everything that breaks a rule.

    Args:
        errors: What pydantic found.
        fields: The keys that each kind of plugin may have.
        path: The file; None for a configuration that was handed over in memory.
        document: What the file holds, for lines.
    """
    # Of a file of another kind every key is unknown: that it has no plugins says enough.
    if foreign := [error for error in errors if error["type"] == "missing" and error["loc"] == ("plugins",)]:
        errors = foreign
    # That no entry of a list is left, because each of them was wrong, is an echo of these.
    errors = [error for error in errors if error["type"] != "too_short" or not error["input"]]
    problems = [_problem(error, fields, document) for error in errors[:_SORTED_PROBLEMS]]
    problems.sort(key=lambda problem: problem.line or 0)
    begin = 0 if path else 1
    texts = [_text(problem, problem.written[begin:], path) for problem in problems[:_SHOWN_PROBLEMS]]
    if rest := len(errors) - len(texts):
        texts.append(f"... and {rest} more")
    first = problems[0]
    return ManifestError(
        redact("\n".join(texts)),
        hint=_hint(first.keys),
        path=path,
        line=first.line,
        key=dotted(first.written[begin:]) or None,
        plugin=str(first.keys[1]) if len(first.keys) > 1 else None,
    )


def _problem(error: "ErrorDetails", fields: Fields, document: "YamlDocument | None") -> _Problem:
    keys, known = _place(error["loc"], fields)
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, ManifestError):
        keys += vars(cause).get("at", ())
    written = keys_in_file(document.data, keys) if document else keys
    if not written and error["loc"][-1:] == ("[key]",):
        written = ("name",)  # of the file's one plugin
    if isinstance(cause, ManifestError):
        text = cause.message
    elif error["type"] == "extra_forbidden":
        text = unknown_key(written[-1], known)
    elif error["type"] == "string_type":
        text = _not_text(error["input"], document.text_of(*written) if document else None, written)
    else:
        say = _SENTENCES.get(error["type"])
        text = say(error["input"], written) if say else error["msg"]
    return _Problem(keys, written, text, document.nearest_line(*written) if document else None)


def _place(loc: Keys, fields: Fields) -> tuple[Keys, Sequence[str]]:
    """Return the keys as they stand in the file, without pydantic's own, and the keys possible beside them."""
    match loc:
        case ("plugins", name, "[key]"):
            return ("plugins", name), ()
        case ("plugins", name, kind, *rest) if kind in fields:
            return ("plugins", name, *rest), fields[str(kind)]
    return loc, ("plugins",)


def _text(problem: _Problem, keys: Keys, path: Path | None) -> str:
    where = f"{path}:{problem.line}: " if path else ""
    return f"{where}{dotted(keys)}: {problem.text}" if keys else f"{where}{problem.text}"


def dotted(keys: Keys) -> str:
    """Return where something stands, as `plugins.echo.provides[1]`."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{_shown_key(key)}" for key in keys)[1:]


def _shown_key(key: str) -> str:
    plain = key.isprintable() and " " not in key and len(key) <= _SHOWN_LENGTH
    return key if plain else show(key)


def _hint(keys: Keys) -> str:
    example = _EXAMPLES.get(str(keys[-1] if isinstance(keys[-1], str) else keys[-2])) if keys[2:] else None
    return f"Example: {example}" if example else _FORM


def _nearest(key: object, known: Collection[str], meant: Mapping[str, str] = _MEANT) -> str:
    text = str(key).lower()
    other = meant.get(text, "")
    return other if other in known else nearest(text, known) or ""


def unknown_key(key: object, known: Collection[str], meant: Mapping[str, str] = _MEANT) -> str:
    """Say that there is no such key, and which one may be meant.

    Args:
        key: The key.
        known: Those that there are.
        meant: Names by which others call them.
    """
    near = _nearest(key, known, meant)
    return "is an unknown key; " + (f"did you mean '{near}'?" if near else f"known keys: {', '.join(known)}")


def _not_text(value: object, written: str | None, keys: Keys) -> str:
    if value is None:
        return "is empty; write a value behind the colon"
    if isinstance(value, Mapping | list | tuple):
        return f"is {kind_of(value)}, not text; write one value in quotes"
    key = f"{keys[-1]}: " if isinstance(keys[-1], str) else ""
    given = f"YAML reads {written} as {kind_of(value)}" if written else f"is {kind_of(value)}"
    return f"{given}, not as text; put it in quotes" + (f', {key}"{written}"' if written else "")


def _not_a_list(value: object, keys: Keys) -> str:
    advice = f"{keys[-1]}: [{redact(value):.{_SHOWN_LENGTH}}]" if isinstance(value, str) else "[first, second]"
    return f"is {kind_of(value)}, not a list; write {advice}"


def _not_a_mapping(value: object, keys: Keys) -> str:
    if not keys:
        return f"the file is {kind_of(value)}; a manifest is a mapping with the key 'plugins'"
    return f"is {kind_of(value)}, not a mapping; plugin names are its keys, with a colon behind each"


def _of_no_kind(value: object, _keys: Keys) -> str:
    if not isinstance(value, Mapping):
        return f"is {kind_of(value)}; a plugin is a mapping with repo and tag, or with path"
    has = [key for key in _KINDS if key in value]
    if has:
        return f"has {' and '.join(has)}; keep either repo and tag, or path"
    return "has neither repo and tag nor path; a plugin comes from a Git tag or from a folder"


def _no_nodes(_value: object, keys: Keys) -> str:
    # Capabilities may be of other kinds.
    return f"{'has no node' if keys[-1] == 'capabilities' else 'is empty'}; name at least one node class"


def _no_isolation(value: object, _keys: Keys) -> str:
    return f"{show(value)} is no isolation; {advice(str(value), _ISOLATIONS, f'possible are {_POSSIBLE}')}"


def _missing(value: object, keys: Keys) -> str:
    if keys != ("plugins",):
        return f"is missing; {_NEEDS.get(str(keys[-1]), '')}"
    names = set(value) if isinstance(value, Mapping) else set()
    if names & {"package_name", "capabilities"}:
        return (
            "is missing: a file of one plugin (package_name, capabilities) has its 'name', and 'repo' with 'tag' or "
            "'path'; add them, or list the plugin under 'plugins'"
        )
    near = nearest("plugins", map(str, names))
    return "is missing; " + (f"rename '{near}'" if near else "all plugins of a manifest stand under it")


_SENTENCES: Final[Mapping[str, Callable[[object, Keys], str]]] = {
    "missing": _missing,
    "list_type": _not_a_list,
    "dict_type": _not_a_mapping,
    "model_type": _not_a_mapping,
    "literal_error": _no_isolation,
    "union_tag_not_found": _of_no_kind,
    "too_short": _no_nodes,
}
