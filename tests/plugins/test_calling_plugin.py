"""Whose code asks: told by the stack, or by who started the process."""

import builtins
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cuvis_ai_core.plugins.isolation import calling_plugin
from cuvis_ai_core.plugins.isolation.calling_plugin import StartedBy, answering_scope, asking_scope, lending_scope
from cuvis_ai_core.plugins.isolation.scope import MARK, Scope


def scope(*tops: str, lent: tuple[str, ...] = ()) -> Scope:
    """Return a scope that owns some names."""
    return cast(
        "Scope",
        SimpleNamespace(answers=lambda public: public.partition(".")[0] in tops, lent=frozenset(lent), tops=tops),
    )


def within(owner: Scope | None, text: str) -> Callable[..., Any]:
    """Return a function `asked` of a plugin's code, or of somebody else's."""
    marked = {**vars(builtins)} if owner is None else {**vars(builtins), MARK: owner}
    names: dict[str, Any] = {"__builtins__": marked, "__name__": "somebody", "answering_scope": answering_scope}
    exec(compile(text, "somebody.py", "exec"), names)
    return cast("Callable[..., Any]", names["asked"])


CALLS = "def asked(call, *words):\n    return call(*words)\n"


def test_the_nearest_plugin_on_the_stack_asks() -> None:
    """Also where somebody else's code lies between; without one nobody does."""
    first, second = scope("one"), scope("two")
    of_first, of_second, of_other = within(first, CALLS), within(second, CALLS), within(None, CALLS)
    assert asking_scope() is None
    assert of_other(asking_scope) is None
    assert of_first(asking_scope) is first
    assert of_first(of_second, asking_scope) is second
    assert of_first(of_other, asking_scope) is first


def test_it_answers_for_names_of_its_own_only() -> None:
    """Where the name was given to it, not stated by a library."""
    own = scope("one", lent=("three",))
    of_own = within(own, CALLS)
    given = within(
        None, "def asked(name):\n    return find(name)\n\n\ndef find(name):\n    return answering_scope(name)\n"
    )
    assert of_own(given, "one.part") is own
    assert of_own(given, "two") is None
    assert given("one") is None
    both = scope("one", "three", lent=("three",))
    lends = within(both, CALLS)
    assert [lends(lending_scope, name) for name in ("three.x", "one")] == [both, None]
    assert of_own(lending_scope, "three") is None
    assert lending_scope("three") is None


@pytest.mark.parametrize("runs", [True, False])
def test_in_a_process_that_a_plugin_started_it_asks(monkeypatch: pytest.MonkeyPatch, *, runs: bool) -> None:
    """Its names are found there: before those of the environment where the program is its own, else after these."""
    own = scope("mine", "json")
    monkeypatch.setattr(calling_plugin, "_started_by", StartedBy(own, runs))
    assert asking_scope() is own
    assert answering_scope("mine.part") is own
    assert answering_scope("other") is None
    assert answering_scope("json") is (own if runs else None)
    other = scope("mine")
    assert within(other, CALLS)(asking_scope) is other
    monkeypatch.setattr(calling_plugin, "_started_by", None)
    assert (asking_scope(), answering_scope("mine")) == (None, None)


def test_a_folder_of_that_name_is_no_module_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Any folder on the path is found as a namespace package."""
    own = scope("mine")
    monkeypatch.setattr(calling_plugin, "_started_by", StartedBy(own, runs=False))
    (tmp_path / "mine").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert answering_scope("mine") is own
    (tmp_path / "mine/__init__.py").touch()
    sys.path_importer_cache.pop(str(tmp_path), None)
    assert answering_scope("mine") is None
