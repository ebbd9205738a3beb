"""`${...}` in configuration files, as OmegaConf means it: `${metadata.name}`, `${oc.env:HOME}`.

OmegaConf takes the texts apart. What they mean is found here: a file gets those environment variables that the user
names, no functions but the harmless ones, and no more text than such files may have.
"""

import copy
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from cuvis_ai_core.errors import PipelineError

ALLOWED: Final = "CUVIS_ALLOW_ENV"
"""Names of environment variables, separated by commas, that files may ask for; the commands' option `--allow-env`."""

_SIGN: Final = "${"
_HINT: Final = (
    "${a.b} is the value of key 'b' below key 'a' of this file, ${oc.env:NAME} an environment variable that is allowed."
)
_MOST: Final = 2 * 1024 * 1024
"""Signs and values that interpolations may come to; out of reach for a file that is no trap."""

_LONGEST: Final = 10_000
"""Signs of a text with an interpolation; taking it apart takes its time."""

_DEEPEST: Final = 50
_SHORT: Final = 4
"""A value of fewer signs is found in other words too: it is hidden only where it is a whole text."""

_MISSING: Final = "???"
"""What OmegaConf, and Hydra's files with it, write for a value that somebody has yet to give."""

_Place = tuple[str | int, ...]
_ANYTHING: Final = object()


def resolve(data: Any) -> Any:
    """Return data with every interpolation resolved; without any, the data as they are.

    Raises:
        PipelineError: One names a key that is not there, a variable that is not there or not allowed, or itself; or
            they come to too much.
    """
    return _Resolver(data).tree(data, ()) if _has_interpolation(data) else data


def filled_in(data: Any) -> Any:
    """Return data as `resolve` does, in which no value is left to be given.

    Raises:
        PipelineError: One is, or as `resolve`.
    """
    resolved = resolve(data)
    place = _missing(resolved, ())
    if place is not None:
        raise PipelineError(
            f"{_shown(place)}: is {_MISSING}, which stands for a value that is to be given.",
            hint="Write the value in the file, or give it with an override, key.path=value.",
        )
    return resolved


def _missing(value: Any, place: _Place) -> _Place | None:
    if isinstance(value, Mapping):
        parts: Iterable[tuple[Any, Any]] = value.items()
    elif isinstance(value, list | tuple):
        parts = enumerate(value)
    else:
        return place if isinstance(value, str) and value == _MISSING else None
    return next((found for key, each in parts if (found := _missing(each, (*place, key))) is not None), None)


def hide_environment(data: Any) -> Any:
    """Return data for a file of results: values of allowed environment variables become `${oc.env:NAME}` again."""
    values = {name: os.environ.get(name, "") for name in _allowed()}
    return _hidden(data, {value: f"${{oc.env:{name}}}" for name, value in values.items() if value})


def _hidden(data: Any, names: Mapping[str, str]) -> Any:
    if isinstance(data, Mapping):
        return {_hidden(key, names): _hidden(value, names) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_hidden(each, names) for each in data]
    if not isinstance(data, str) or not names:
        return data
    if data in names:
        return names[data]
    # The longest first: it may have another one in it.
    for value in sorted(names, key=len, reverse=True):
        if len(value) >= _SHORT:
            data = data.replace(value, names[value])
    return data


def _allowed() -> list[str]:
    return [name for each in os.environ.get(ALLOWED, "").split(",") if (name := each.strip())]


def _has_interpolation(data: object) -> bool:
    if isinstance(data, str):
        return _SIGN in data
    if isinstance(data, Mapping):
        return any(map(_has_interpolation, data.values()))
    return isinstance(data, list | tuple) and any(map(_has_interpolation, data))


class _Resolver:
    """Finds what the interpolations of one file mean, each once.

    Args:
        data: The content of the file.
    """

    def __init__(self, data: Any) -> None:
        self._data = data
        self._spent = 0
        self._open: list[_Place] = []
        self._known: dict[_Place, tuple[Any, int]] = {}
        self._functions: dict[str, Callable[..., Any]] = {
            "oc.env": self._environment,
            "oc.decode": self._decoded,
            "oc.select": self._selected,
        }

    def tree(self, value: Any, place: _Place) -> Any:
        """Return a value of the file, which stands at a place, with what is in it resolved."""
        if isinstance(value, str):
            return self._text(value, place) if _SIGN in value else self._spend(value, len(value))
        self._spend(value, 1)
        if isinstance(value, Mapping):
            return {key: self.tree(each, (*place, key)) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [self.tree(each, (*place, number)) for number, each in enumerate(value)]
        return value

    def _spend(self, value: Any, size: int) -> Any:
        self._spent += size
        if self._spent > _MOST:
            raise PipelineError(
                f"Interpolations stand for more than {_MOST // 1024**2} MiB of text here.",
                hint="Write out what is meant.",
            )
        return value

    def _text(self, text: str, place: _Place) -> Any:
        if place in self._known:
            # A copy: whoever changes it in one place must not change it in the other.
            return copy.deepcopy(self._spend(*self._known[place]))
        name = _shown(place)
        if place in self._open:
            circle = " -> ".join(map(_shown, [*self._open[self._open.index(place) :], place]))
            raise PipelineError(f"{name}: the interpolation '{text:.80}' leads back to itself: {circle}.", hint=_HINT)
        if len(self._open) >= _DEEPEST or len(text) > _LONGEST:
            limit = f"more than {_DEEPEST} deep, or in a text of more than {_LONGEST} signs"
            raise PipelineError(f"{name}: interpolations stand {limit}.", hint="Write out what is meant.")
        before = self._spent
        self._open.append(place)
        try:
            value = self._parsed(text, place)
        finally:
            self._open.pop()
        if isinstance(value, str):
            self._spend(value, len(value))
        # With what it took, which counts again wherever it is named: texts that name each other double at every step.
        self._known[place] = value, self._spent - before
        return value

    def _parsed(self, text: str, place: _Place, **rule: str) -> Any:
        from omegaconf.errors import OmegaConfBaseException
        from omegaconf.grammar_parser import parse
        from omegaconf.grammar_visitor import GrammarVisitor

        visitor = GrammarVisitor(
            node_interpolation_callback=lambda key, _: self._found(key, place),
            # OmegaConf calls it by these three names.
            resolver_interpolation_callback=lambda name, args, args_str: self._call(name, args, place),  # noqa: ARG005
            memo=None,
        )
        try:
            return visitor.visit(parse(text, **rule))
        except (OmegaConfBaseException, RecursionError) as error:
            problem = str(error).partition("\n")[0].rstrip(".") or "it is too deep"
            raise PipelineError(f"{_shown(place)}: '{text:.80}' is no interpolation: {problem}.", hint=_HINT) from error

    def _call(self, name: str, arguments: tuple[Any, ...], place: _Place) -> Any:
        if name not in self._functions:
            raise PipelineError(
                f"{_shown(place)}: there is no function '{name}' for configuration files.",
                hint=f"There are: {', '.join(self._functions)}.",
            )
        try:
            return self._functions[name](place, *arguments)
        except TypeError as error:
            problem = f"{_shown(place)}: {name} does not take {len(arguments)} arguments of these kinds."
            raise PipelineError(problem, hint=_HINT) from error

    def _environment(self, place: _Place, name: str, default: Any = _ANYTHING) -> Any:
        if name in os.environ and name not in _allowed():
            raise PipelineError(
                f"{_shown(place)}: the file asks for the environment variable '{name}', which is not allowed.",
                hint=f"If it may know the value, allow it: --allow-env {name} (or {ALLOWED}={name}).",
            )
        if name not in os.environ and default is _ANYTHING:
            raise PipelineError(f"{_shown(place)}: Environment variable '{name}' not found.", hint=_HINT)
        return os.environ.get(name, default)

    def _decoded(self, place: _Place, text: Any) -> Any:
        if not isinstance(text, str):
            return text
        return self._parsed(text, place, parser_rule="singleElement", lexer_mode="VALUE_MODE")

    def _selected(self, place: _Place, key: str, default: Any = None) -> Any:
        try:
            return self._found(key, place)
        except _NotThereError:
            return default

    def _found(self, key: str, place: _Place) -> Any:
        """Return the value of a key: `a.b[0]` from the top of the file, `.b` beside the place where that stands."""
        dots = len(key) - len(key.lstrip("."))
        steps: Iterator[str] = iter(re.findall(r"[^.\[\]]+", key))
        at = place[: max(0, len(place) - dots)] if dots else ()
        value = self._data
        for step in at:
            value = value[step]
        resolved = False
        for step in steps:
            if not resolved and isinstance(value, str) and _SIGN in value:
                value, resolved = self._text(value, at), True
            index = _step(value, step)
            if index is None:
                raise _NotThereError(f"{_shown(place)}: Interpolation key '{key}' not found.", hint=_HINT)
            value, at = value[index], (*at, index)
        if resolved:
            return value
        if at == place[: len(at)]:
            raise PipelineError(f"{_shown(place)}: the interpolation '{key}' holds itself.", hint=_HINT)
        return self.tree(value, at)


class _NotThereError(PipelineError):
    """A key is not in the file."""


def _step(value: Any, step: str) -> str | int | None:
    """Return the key or the number by which a value has what is asked for, or None."""
    if isinstance(value, Mapping):
        return step if step in value else None
    # Python refuses numbers of thousands of digits with an error of its own (CVE-2020-10735).
    if isinstance(value, list) and step.isdecimal() and len(step) < _SHORT * 2 and int(step) < len(value):
        return int(step)
    return None


def _shown(place: _Place) -> str:
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in place).lstrip(".") or "the file"
