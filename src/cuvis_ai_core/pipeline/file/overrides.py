"""`key.path=value` on top of a configuration."""

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cuvis_ai_core._nearest import did_you_mean
from cuvis_ai_core._yaml import parse_yaml
from cuvis_ai_core.errors import PipelineError, YamlError
from cuvis_ai_core.pipeline.file.published_keys import SPELLINGS

_PREFIXES = {
    "+": "Leave it out: key.path=value replaces a value, and adds one that is not there.",
    "~": "Nothing is taken away; write key.path=value with the value that is wanted.",
}
"""With what Hydra's command line begins an override, and what is written here; published commands take none of them."""

HINT = "An override is written key.path=value, for example nodes.decider.params.quantile=0.9"


def override(data: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Return data with values replaced or added.

    A path goes down by the keys of mappings; in a list, by number or by the `name` of an entry. Values are read as
    YAML: `0.5` is a number, `[1, 2]` a list, `null` nothing, `"0.5"` a text.

    Raises:
        PipelineError: An override is not of the form `key.path=value`, its value is no YAML, or its path leads nowhere.
    """
    changed = copy.deepcopy(dict(data))
    for each in overrides:
        if (prefix := each.strip()[:1]) in _PREFIXES:
            raise PipelineError(f"Override '{each}' begins with Hydra's '{prefix}'.", hint=_PREFIXES[prefix])
        path, equals, text = each.partition("=")
        keys = path.strip().split(".")
        if not equals or not all(keys):
            raise PipelineError(f"'{each}' is no override.", hint=HINT)
        _set(changed, keys, _value(each, text), each)
    return changed


def as_texts(overrides: Iterable[str] | Mapping[str, Any]) -> list[str]:
    """Return overrides as texts: a mapping as one for each value in it that is no mapping."""
    if not isinstance(overrides, Mapping):
        return [overrides] if isinstance(overrides, str) else list(overrides)
    import json

    # JSON is YAML too, on one line (YAML 1.2.2, section 1.2).
    return [f"{place}={json.dumps(value)}" for place, value in _leaves(overrides)]


def _leaves(data: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        place = f"{above}{key}"
        # An empty mapping is a value.
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{place}.")
        else:
            yield place, value


def _value(whole: str, text: str) -> Any:
    try:
        return parse_yaml(text).data
    except YamlError as error:
        raise PipelineError(f"Override '{whole}': the value is no YAML: {error.message}.", hint=HINT) from error


def _set(data: Any, keys: list[str], value: Any, whole: str) -> None:
    *parents, last = keys
    for depth, key in enumerate(parents):
        data = _below(data, key, ".".join(keys[: depth + 1]), whole)
    if isinstance(data, list):
        data[_index(data, last, ".".join(keys), whole)] = value
    elif isinstance(data, dict):
        data[_spelled(data, last)] = value
    else:
        raise _no_way(".".join(parents), data, whole)


def _below(data: Any, key: str, place: str, whole: str) -> Any:
    if isinstance(data, list):
        return data[_index(data, key, place, whole)]
    if not isinstance(data, dict):
        raise _no_way(place.rpartition(".")[0], data, whole)
    key = _spelled(data, key)
    if data.get(key) is None:  # nothing behind the colon, or no such key yet
        data[key] = {}
    return data[key]


def _spelled(data: Mapping[str, Any], key: str) -> str:
    """Return a key as the data spell it: `params` is `hparams` where a file has that."""
    same = [old for old, new in SPELLINGS.items() if new == key] + [SPELLINGS.get(key, key)]
    return key if key in data else next((str(each) for each in same if each in data), key)


def _index(entries: list[Any], key: str, place: str, whole: str) -> int:
    names = [str(each.get("name")) if isinstance(each, dict) else "" for each in entries]
    # Names before numbers: a node may be called `2`.
    if key in names:
        return names.index(key)
    if key.isdecimal() and int(key) < len(entries):
        return int(key)
    there = ", ".join(filter(None, names)) or f"0 to {len(entries) - 1}"
    raise PipelineError(
        f"Override '{whole}': there is no '{place}'.{did_you_mean(key, filter(None, names))}",
        hint=f"There are: {there}.",
    )


def _no_way(place: str, value: object, whole: str) -> PipelineError:
    return PipelineError(f"Override '{whole}': '{place}' is {value!r}, which has no keys.", hint=HINT)
