"""What is said where plugins cannot live together: who asks what, and which copy is the second of its kind."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

from cuvis_ai_core.errors import DependencyConflictError, PluginLoadError
from cuvis_ai_core.plugins.cache.target_entry import Target
from cuvis_ai_core.plugins.dependencies.distribution import Distribution
from cuvis_ai_core.plugins.dependencies.requirements import conflict
from cuvis_ai_core.plugins.installing.conflicts import refuse_own_copy, with_all_demands


def target(plugin: str, *requires: str, needed: tuple[Distribution, ...] = ()) -> Target:
    """Return an installed plugin."""
    return Target(Path("/x"), Distribution(plugin, "1", requires), needed, {}, {}, ())


def test_all_plugins_that_have_a_say_are_named() -> None:
    """With what they ask, whoever in them asks it, and what they were given; those that ask nothing are not."""
    error = conflict("one-plugin", "My.Dep>2", "1", "in the host environment", "one")
    dep, user = (
        Distribution("my-dep", "1.5"),
        Distribution("user", "3", ("my_dep!=7; python_version>'3'", "not valid!")),
    )
    found = with_all_demands(
        error,
        {
            "one": target("one-plugin", "My.Dep>2", "other", "my-dep<1; python_version<'3'"),
            "two": target("two-plugin", "user", "my-dep; extra=='x'", needed=(dep, user)),
            "three": target("three-plugin", "numpy"),
        },
    )
    assert found.message == (
        f"{error.message}\nThe plugins of the manifest ask of my-dep:\n"
        "  plugin 'one': package one-plugin requires My.Dep>2\n"
        "  plugin 'two': package user requires my_dep!=7 and was given 1.5"
    )
    assert (found.hint, found.plugin, found.requirement, found.installed) == (error.hint, "one", "My.Dep>2", "1")


@pytest.mark.parametrize("other", [{}, {"two": target("two-plugin", "numpy")}])
def test_it_takes_two_to_disagree(other: dict[str, Target]) -> None:
    """Where one plugin alone asks, nothing is added."""
    error = conflict("one-plugin", "dep>2", "1", "here", "one")
    assert with_all_demands(error, {"one": target("one-plugin", "dep>2", "dep<9")} | other) is error


def failed(*modules: str) -> Exception:
    """Return an error that came through code of some modules, the innermost last."""
    code = "raise TypeError('twice')"
    for name in reversed(modules):
        code = f"exec({code!r}, {{'__name__': {name!r}}})"
    try:
        exec(code, {"__name__": "host"})
    except TypeError as error:
        return error
    raise AssertionError


REASON = conflict("user", "other>1", "1", "in the host environment", "echo")


OWN = (Distribution("my-alone", "4", roots=("alone",)), Distribution("my-dep", "2", roots=("gone", "dep")))
REASONS = {"my-alone": conflict("echo", "my-alone>3", "3", "here", "echo"), "my-dep": REASON}


@pytest.mark.parametrize(
    ("modules", "refused"),
    [
        (("scope.plugin", "scope.dep.sub"), True),
        (("scope.dep", "elsewhere"), True),
        (("scope.dep", "scope.plugin"), False),
        (("scope.depth",), False),
        (("dep",), False),
        (("scopes.dep",), False),
    ],
)
@pytest.mark.parametrize("second", [True, False])
def test_an_own_copy_that_cannot_be_imported_is_told_with_the_reason_for_it(
    monkeypatch: pytest.MonkeyPatch,
    modules: tuple[str, ...],
    refused: bool,  # noqa: FBT001
    second: bool,  # noqa: FBT001
) -> None:
    """Where the innermost code of the plugin's is of it: the plugin's author is not to look in code of his own."""
    monkeypatch.setitem(sys.modules, "dep" if second else "depth_of_another", ModuleType("dep"))
    error = failed(*modules)
    if not refused:
        refuse_own_copy(error, "scope", OWN, REASONS)
        return
    with pytest.raises(DependencyConflictError) as caught:
        refuse_own_copy(error, "scope", OWN, REASONS)
    assert caught.value.message == (
        "Dependency conflict: package user requires other>1, but 1 is installed (in the host environment).\n"
        "my-dep 2, which the plugin was given for itself therefore, cannot be imported like that: TypeError: twice"
    )
    found = caught.value
    assert (found.plugin, found.requirement, found.installed, found.hint) == ("echo", "other>1", "1", REASON.hint)
    assert caught.value.__cause__ is error


def test_what_an_own_copy_misses_may_be_missing_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no conflict, unless another copy is imported, whose parts may be what is missing."""
    error = ModuleNotFoundError("No module named 'x'")
    error.__traceback__ = failed("scope.dep").__traceback__
    refuse_own_copy(error, "scope", OWN, REASONS)
    monkeypatch.setitem(sys.modules, "dep", ModuleType("dep"))
    with pytest.raises(DependencyConflictError):
        refuse_own_copy(error, "scope", OWN, REASONS)


def test_an_error_of_ours_is_no_fault_of_an_own_copy() -> None:
    """It says what it means."""
    error = PluginLoadError("x", plugin="echo")
    error.__traceback__ = failed("scope.dep").__traceback__
    refuse_own_copy(error, "scope", OWN, REASONS)
