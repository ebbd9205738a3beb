"""YAML, read strictly: plain data, and the line on which each value stands.

Every text gives plain data or one `YamlError`. Dates stay texts, keys are texts, duplicate keys are errors,
and neither nesting nor aliases nor size can exhaust stack, memory or patience.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

import yaml

from cuvis_ai_core.errors import YamlError

try:
    from yaml import CSafeLoader as _SafeLoader
except ImportError:  # PyYAML was built without libyaml: the same, slower
    from yaml import SafeLoader as _SafeLoader  # type: ignore[assignment]

_Event: TypeAlias = Any  # PyYAML's stubs tell too little about the parser's events

MAX_BYTES: Final = 1024 * 1024
MAX_DEPTH: Final = 50
_PARSER_LIMIT: Final = "exceeded maximum nesting depth"
_MAX_EXPANDED: Final = 2 * MAX_BYTES  # out of reach without aliases: every value takes a character or more
_MAX_DIGITS: Final = 100
_SHOWN_LENGTH: Final = 80

_TAG: Final = "tag:yaml.org,2002:"

# PyYAML goes by YAML 1.1, where a float has a dot and its exponent a sign: a learning rate of 1e-3 would be a text.
# YAML 1.2 (section 10.3.2) and OmegaConf, with which trainruns are written elsewhere, have numbers here.
_EXPONENT: Final = re.compile(r"[-+]?(\d[\d_]*(\.\d*)?|\.\d+)[eE][-+]?\d+$")


class _Loader(_SafeLoader):
    """Reads what `YamlDumper` writes."""


class YamlDumper(yaml.SafeDumper):
    """Puts texts in quotes that would be read as numbers, `1e-3` among them."""


for _each in (_Loader, YamlDumper):
    _each.add_implicit_resolver(f"{_TAG}float", _EXPONENT, list("-+.0123456789"))

_CONSTRUCTORS: Final = {
    f"{_TAG}null": _Loader.construct_yaml_null,
    f"{_TAG}bool": _Loader.construct_yaml_bool,
    f"{_TAG}int": _Loader.construct_yaml_int,
    f"{_TAG}float": _Loader.construct_yaml_float,
}
_TEXTS: Final = frozenset(f"{_TAG}{name}" for name in ("str", "timestamp", "merge", "value"))

_FORBIDDEN: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_EXPLANATIONS: Final = {
    "mapping values are not allowed": "a ':' where none can stand; put text that holds ': ' in quotes, "
    "or correct the indentation",
    "could not find expected ':'": "a key without ':'; write 'key: value', and quote text of several lines",
    "cannot start any token": "a character with which no plain text can begin; put the text in quotes",
    "unexpected end of stream": "a quotation mark that is never closed; close it",
}


@dataclass(slots=True)
class _Value:
    """A value of the document: its data, where and how it is written, how large, aliases written out."""

    data: Any
    line: int
    text: str | None = None
    children: dict[str | int, "_Value"] = field(default_factory=dict)
    size: int = 1
    height: int = 0
    event: _Event = None

    def add(self, key: str | int, child: "_Value") -> None:
        self.children[key] = child
        self.size += child.size
        self.height = max(self.height, child.height + 1)


@dataclass(frozen=True, slots=True)
class YamlDocument:
    """The content of a YAML file; `data` is None where the file is empty."""

    data: Any
    _root: _Value

    def line_of(self, *keys: str | int) -> int | None:
        """Return the line, counted from 1, of the value at this path; in a mapping the line of its key."""
        value = self._find(keys)
        return value.line if value else None

    def nearest_line(self, *keys: str | int) -> int | None:
        """Return the line of the value at this path, or of the innermost value around it that is there."""
        lines = (self.line_of(*keys[:depth]) for depth in range(len(keys), -1, -1))
        return next((line for line in lines if line is not None), None)

    def text_of(self, *keys: str | int) -> str | None:
        """Return the single value at this path as it is written: `1.10`, where the data is the number 1.1."""
        value = self._find(keys)
        return value.text if value else None

    def replaced(self, text: str, values: Mapping[tuple[str, ...], str]) -> str:
        """Return the text of this document with other texts in some places; all else stays as it is written.

        Args:
            text: What this document was read from.
            values: The new texts, by the path of what they replace: texts, each on a line of its own.
        """
        bare = text.removeprefix("\ufeff")
        lines = bare.splitlines(keepends=True)
        events = [(value.event, new) for keys, new in values.items() if (value := self._find(keys)) and value.event]
        # From the end, so that what stands before stays where it is.
        for event, new in sorted(events, key=lambda each: each[0].start_mark.index, reverse=True):
            number, begin, end = event.start_mark.line, event.start_mark.column, event.end_mark.column
            quote = event.style if event.style in {"'", '"'} else "" if _is_plain(new) else '"'
            lines[number] = f"{lines[number][:begin]}{quote}{new}{quote}{lines[number][end:]}"
        return text[: len(text) - len(bare)] + "".join(lines)

    def _find(self, keys: tuple[str | int, ...]) -> _Value | None:
        value: _Value | None = self._root
        for key in keys:
            value = value.children.get(key) if value else None
        return value


def parse_yaml(text: str, source: Path | None = None) -> YamlDocument:
    """Read YAML from `text`; `source` is the file that errors name.

    Raises:
        YamlError: The text breaks a rule of YAML or of this module.
    """
    if len(text) > MAX_BYTES:
        raise YamlError(too_large(), path=source)
    text = text.removeprefix("\ufeff")
    if match := _FORBIDDEN.search(text):
        line = text.count("\n", 0, match.start()) + 1
        message = f"character U+{ord(match[0]):04X} cannot stand in YAML; delete it"
        raise YamlError(message, line=line, path=source)
    try:
        root = _Composer(text).document()
    except (YamlError, yaml.YAMLError, ValueError) as error:
        from cuvis_ai_core._merge_conflicts import conflict_in

        if (conflict := conflict_in(text)) is not None:
            raise YamlError(conflict[0], line=conflict[1], path=source) from error
        if isinstance(error, YamlError):
            raise YamlError(error.message, line=error.line, path=source) from error
        message, found = _explain(error, text)
        if _PARSER_LIMIT in message:  # newer versions of the parser have a limit of their own
            message = _too_deep()
        raise YamlError(message, line=found, path=source) from error
    return YamlDocument(root.data, root)


class _Composer:
    """Builds values from the parser's events; recursion ends at `MAX_DEPTH`."""

    def __init__(self, text: str) -> None:
        self.loader: Any = _Loader(text)
        self.anchors: dict[str, _Value | None] = {}

    def document(self) -> _Value:
        self.loader.get_event()
        if self.loader.check_event(yaml.StreamEndEvent):
            return _Value(None, 1)
        self.loader.get_event()
        root = self._value(0)
        self.loader.get_event()
        if not self.loader.check_event(yaml.StreamEndEvent):
            line = self.loader.get_event().start_mark.line + 1
            raise YamlError("a second document begins here; keep one document in a file", line=line)
        return root

    def _value(self, depth: int) -> _Value:
        event: _Event = self.loader.get_event()
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            value = replace(self._anchored(event, line), line=line)
        else:
            if event.anchor:
                self.anchors[event.anchor] = None
            value = self._new_value(event, line, depth)
            if event.anchor:
                self.anchors[event.anchor] = value
        if depth + value.height > MAX_DEPTH:
            raise YamlError(_too_deep(), line=line)
        if value.size > _MAX_EXPANDED:
            raise YamlError("aliases stand for more than 2 MiB of text here; write out what is meant", line=line)
        return value

    def _anchored(self, alias: _Event, line: int) -> _Value:
        name, shown = alias.anchor, alias.anchor[:_SHOWN_LENGTH]
        if name not in self.anchors:
            message = f"alias *{shown} without an anchor &{shown} above it; put text that begins with * in quotes"
            raise YamlError(message, line=line)
        value = self.anchors[name]
        if value is None:
            raise YamlError(f"alias *{shown} stands inside of what it means; a value cannot hold itself", line=line)
        return value

    def _new_value(self, event: _Event, line: int, depth: int) -> _Value:
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, line)
        if depth == MAX_DEPTH:
            raise YamlError(_too_deep(), line=line)
        if isinstance(event, yaml.MappingStartEvent):
            _check_tag(event.tag, "map", line)
            return self._mapping(_Value({}, line), depth + 1)
        _check_tag(event.tag, "seq", line)
        return self._list(_Value([], line), depth + 1)

    def _scalar(self, event: _Event, line: int) -> _Value:
        tag, text = event.tag, event.value
        if tag in {None, "!"}:
            tag = self.loader.resolve(yaml.ScalarNode, text, event.implicit)
        if tag in _TEXTS:
            return _Value(text, line, text, size=1 + len(text), event=event)
        if tag not in _CONSTRUCTORS:
            _check_tag(tag, "str", line)
        return _Value(self._constant(tag, text, line), line, text)

    def _constant(self, tag: str, text: str, line: int) -> object:
        try:
            if len(text) <= _MAX_DIGITS:  # Python's arithmetic on longer ones takes its time
                return _CONSTRUCTORS[tag](self.loader, yaml.ScalarNode(tag, text))
        except (ValueError, KeyError, ArithmeticError):
            pass
        kind = tag.removeprefix(_TAG)
        raise YamlError(f"{_shown(text)} cannot be read as a value of type {kind}; put it in quotes", line=line)

    def _list(self, value: _Value, depth: int) -> _Value:
        while not self.loader.check_event(yaml.SequenceEndEvent):
            child = self._value(depth)
            value.add(len(value.data), child)
            value.data.append(child.data)
        self.loader.get_event()
        return value

    def _mapping(self, value: _Value, depth: int) -> _Value:
        lines: dict[str, int] = {}
        merged: list[_Value] = []
        while not self.loader.check_event(yaml.MappingEndEvent):
            is_merge = _is_merge_key(self.loader.peek_event())
            key = self._key(depth, lines)
            child = self._value(depth)
            if is_merge:
                merged = _merge_sources(child)
                value.size += child.size
            else:
                value.add(key, replace(child, line=lines[key]))
                value.data[key] = child.data
        self.loader.get_event()
        return _with_merged(value, merged)

    def _key(self, depth: int, lines: dict[str, int]) -> str:
        key = self._value(depth)
        if not isinstance(key.data, str):
            found = _shown(key.text) if key.text else "this one"
            raise YamlError(f"keys are texts, and YAML reads {found} as none; put it in quotes", line=key.line)
        if key.data in lines:
            message = f"key {_shown(key.data)} stands here and on line {lines[key.data]}; keep one of them"
            raise YamlError(message, line=key.line)
        lines[key.data] = key.line
        return key.data


def _is_plain(text: str) -> bool:
    """Tell whether YAML takes this for a text without quotes: `1.10` would be a number."""
    return re.fullmatch(r"[a-zA-Z][\w./+-]*", text) is not None and parse_yaml(text).data == text


def _is_merge_key(event: _Event) -> bool:
    return isinstance(event, yaml.ScalarEvent) and event.value == "<<" and event.implicit[0]


def _merge_sources(value: _Value) -> list[_Value]:
    sources = list(value.children.values()) if isinstance(value.data, list) else [value]
    if any(not isinstance(source.data, dict) for source in sources):
        raise YamlError("'<<' takes a mapping or a list of mappings, as in '<<: *defaults'", line=value.line)
    return sources


def _with_merged(value: _Value, sources: list[_Value]) -> _Value:
    """Add what the sources have and the mapping has not; an earlier source goes before a later one."""
    for source in sources:
        for key, child in source.children.items():
            if key not in value.data:
                value.add(key, child)
                value.data[key] = child.data
    return value


def _check_tag(tag: str | None, expected: str, line: int) -> None:
    if tag not in {None, "!", f"{_TAG}{expected}"}:
        name = _shown(str(tag).replace(_TAG, "!!"))
        raise YamlError(f"tag {name} has no meaning here; write plain values, without tags", line=line)


def _shown(text: str) -> str:
    """Return a text for an error; never a piece of one, by which `redact` could not tell credentials."""
    return repr(text) if len(text) <= _SHOWN_LENGTH else f"of {len(text)} characters"


def _explain(error: Exception, text: str) -> tuple[str, int | None]:
    """Return what the parser's error means and the line where it was noticed."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return "what stands here is no YAML; check tags and escapes", None
    problem, mark = error.problem or "", error.problem_mark
    if "unexpected end of stream" in problem:
        mark = error.context_mark or mark
    lines = text.splitlines() or [""]
    number = min(mark.line if mark else 0, len(lines) - 1)
    indentation = lines[number][: len(lines[number]) - len(lines[number].lstrip())]
    if "\t" in indentation:
        return "a tab indents this line; indent with spaces", number + 1
    for fragment, explanation in _EXPLANATIONS.items():
        if fragment in problem:
            return explanation, number + 1
    context = f" ({error.context})" if error.context else ""
    return f"{problem}{context}; check indentation, quotes and brackets here and above", number + 1


def too_large() -> str:
    """Say that a file of YAML is larger than such files are."""
    return f"larger than {MAX_BYTES // 1024 // 1024} MiB, the limit for such files; is it the right one?"


def _too_deep() -> str:
    return f"nested more than {MAX_DEPTH} levels deep; write it flatter"
