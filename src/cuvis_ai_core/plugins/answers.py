"""Whose each answer to a hook is: pluggy hands on answers without names, and wrappers may make new ones of them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import chain
from operator import is_
from pathlib import PurePath
from typing import Any

from cuvis_ai_core.errors import HookError
from cuvis_ai_core.plugins.isolation.private_names import without_private_names


class Answers:
    """What was heard while one hook was asked.

    Attributes:
        hook: Name of the hook.
        failed: Why implementations failed that did, in the order in which they were called.
    """

    def __init__(self, hook: str) -> None:
        self.hook = hook
        self.failed: list[HookError] = []
        self._answered: list[tuple[str, object]] = []
        self._handed_on: list[tuple[str, list[object]]] = []

    def answered(self, plugin: str, answer: object) -> None:
        """Hear what an implementation answered."""
        self._answered.append((plugin, answer))

    def handed_on(self, plugin: str, result: object) -> None:
        """Hear what a wrapper made of the answers of the others; the innermost is heard first."""
        if isinstance(result, list | tuple):
            self._handed_on.append((plugin, list(result)))
            return
        self.failed.append(
            HookError(
                f"Plugin '{plugin}': its wrapper of hook {self.hook} handed on {without_private_names(repr(result))}; "
                "it must return a list, of the answers of several plugins.",
                hint="A wrapper ends like this: answers = yield; return answers",
                plugin=plugin,
                hook=self.hook,
            )
        )

    def of_plugins(self, result: Iterable[object]) -> list[tuple[str, Any]]:
        """Return the answers in the result of a call, each with the name of its plugin.

        What a wrapper made of answers is taken apart: what another plugin said stays its own, the rest is the
        wrapper's.
        """
        said = list(self._answered)
        found = [(_claim(said, partial(is_, answer)), answer) for answer in result]
        said += [(plugin, answer) for plugin, answers in self._handed_on for answer in answers]
        parts = [(plugin, part) for plugin, answer in said for part in _parts(answer)]
        claimed = ([(who, answer)] if who is not None else self._taken_apart(answer, parts) for who, answer in found)
        return list(chain.from_iterable(claimed))

    def _taken_apart(self, answer: object, said: list[tuple[str, object]]) -> list[tuple[str, Any]]:
        maker = next((plugin for plugin, answers in self._handed_on if any(each is answer for each in answers)), "")
        by_plugin: dict[str, list[Any]] = {}
        for part in _parts(answer):
            by_plugin.setdefault(_claim(said, partial(_equal, part)) or maker, []).append(part)
        made = dict if isinstance(answer, Mapping) else list
        return [(plugin, made(its)) for plugin, its in by_plugin.items()] or [(maker, answer)]


def _claim(said: list[tuple[str, object]], fits: Callable[[object], bool]) -> str | None:
    """Take what fits out of what plugins said, once: two may have said the same. Return whose it was."""
    for number, (plugin, each) in enumerate(said):
        if fits(each):
            del said[number]
            return plugin
    return None


def _parts(answer: object) -> list[object]:
    """Return what an answer consists of; nothing where it is none that a hook may give, or can be read only once."""
    if isinstance(answer, Mapping):
        return list(answer.items())
    if isinstance(answer, str | bytes | Iterator) or not isinstance(answer, Iterable):
        return []
    return list(answer)


def _equal(one: object, other: object) -> bool:
    """Compare two parts: import paths, folders, pairs of suffix and reader; what else there is, by identity."""
    if isinstance(one, tuple) and isinstance(other, tuple) and len(one) == len(other):
        return all(map(_equal, one, other))
    return one is other or (isinstance(one, str | PurePath) and isinstance(other, str | PurePath) and one == other)
