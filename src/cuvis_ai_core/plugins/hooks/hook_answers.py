"""Answers of plugins to hooks: whose each is, and whether it is what the hook wants.

pluggy hands on answers without names, and wrappers may make new ones of them.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import chain
from operator import is_
from typing import Any, cast

from cuvis_ai_core.errors import HookError
from cuvis_ai_core.node.base import is_node_class
from cuvis_ai_core.plugins.hooks.discovery import is_path
from cuvis_ai_core.plugins.hooks.exception_guard import Heard
from cuvis_ai_core.plugins.isolation.private_names import class_path, without_private_names
from cuvis_ai_core.plugins.missing_plugin_classes import no_node


def of_plugins(heard: Heard, result: object) -> list[tuple[str, Any]]:
    """Return the answers in the result of a call, each with the name of its plugin.

    What a wrapper made of answers is taken apart: what another plugin said stays its own, the rest is the wrapper's.

    Args:
        heard: What was heard while the hook was called.
        result: What the call returned.

    Raises:
        HookError: A wrapper handed on what is no list of answers.
    """
    for plugin, made in heard.handed_on:
        if not isinstance(made, list | tuple):
            raise _no_list(plugin, heard.hook, made)
    said = list(heard.answered)
    # By identity: two plugins may give equal answers, and `==` of an array is no truth value.
    found = [(_claim(said, partial(is_, answer)), answer) for answer in cast("list[object]", result)]
    said += [(plugin, answer) for plugin, answers in heard.handed_on for answer in cast("list[object]", answers)]
    parts = [(plugin, part) for plugin, answer in said for part in _parts(answer)]
    claimed = ([(who, answer)] if who is not None else _taken_apart(answer, parts, heard) for who, answer in found)
    return list(chain.from_iterable(claimed))


def _taken_apart(answer: object, said: list[tuple[str, object]], heard: Heard) -> list[tuple[str, Any]]:
    makers = (plugin for plugin, made in heard.handed_on if any(each is answer for each in cast("list[object]", made)))
    maker = next(makers, heard.handed_on[-1][0])
    by_plugin: dict[str, list[Any]] = {}
    for part in _parts(answer):
        by_plugin.setdefault(_claim(said, partial(_equal, part)) or maker, []).append(part)
    kind = dict if isinstance(answer, Mapping) else list
    return [(plugin, kind(its)) for plugin, its in by_plugin.items()] or [(maker, answer)]


def _no_list(plugin: str, hook: str, made: object) -> HookError:
    return HookError(
        f"Plugin '{plugin}': its wrapper of hook {hook} handed on {without_private_names(repr(made))}; "
        "it must return a list, of the answers of several plugins.",
        hint="A wrapper ends like this: answers = yield; return answers",
        plugin=plugin,
        hook=hook,
    )


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
    # An iterator would be used up by the look.
    if isinstance(answer, str | bytes | Iterator) or not isinstance(answer, Iterable):
        return []
    return list(answer)


def _equal(one: object, other: object) -> bool:
    """Compare two parts: import paths, folders, pairs of suffix and reader; what else there is, by identity."""
    if isinstance(one, tuple) and isinstance(other, tuple) and len(one) == len(other):
        return all(map(_equal, one, other))
    return one is other or (
        isinstance(one, str | os.PathLike) and isinstance(other, str | os.PathLike) and one == other
    )


def checked_nodes(plugin: str, answer: object) -> Iterator[type | str]:
    """Return the node classes and import paths that a plugin's hook `cuvis_ai_nodes` answered.

    Raises:
        HookError: The answer is no collection of classes and dotted import paths.
        InvalidNodeError: One of the classes is no node.
    """
    if not isinstance(answer, Iterable) or isinstance(answer, str | bytes | Mapping):
        raise _no_nodes(plugin, answer)
    for node in answer:
        if isinstance(node, str) and is_path(node):
            yield node
        elif not isinstance(node, type):
            raise _no_nodes(plugin, node)
        elif not is_node_class(node):
            raise no_node(class_path(node), plugin, node)
        else:
            yield node


def wrong_answer(
    plugin: str,
    hook: str,
    answer: object,
    wanted: str,
    hint: str = "The hooks and what they return: docs/reference/hooks.md",
) -> HookError:
    """Return the error for a plugin's answer to a hook that is not what is wanted."""
    return HookError(
        f"Plugin '{plugin}': hook {hook} answered {without_private_names(repr(answer))}; it must return {wanted}.",
        hint=hint,
        plugin=plugin,
        hook=hook,
    )


def _no_nodes(plugin: str, answer: object) -> HookError:
    hint = 'For example: return ["my_plugin.nodes.VegetationIndex"]'
    return wrong_answer(plugin, "cuvis_ai_nodes", answer, "node classes or import paths", hint)
