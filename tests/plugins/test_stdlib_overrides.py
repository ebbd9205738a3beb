"""Standard modules as a plugin's code sees them are the modules themselves, but for a few functions."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from cuvis_ai_core.plugins.isolation.private_names import CALLING_PLUGIN, LIVE_PLUGINS, private_package


@pytest.fixture
def seen(load_code: Callable[..., Any]) -> Any:
    """Return a plugin's module that imports standard modules."""
    return load_code("cuvis_test_seeing", "\nimport importlib, logging, subprocess, sys\nfrom importlib import util\n")


@pytest.mark.parametrize("name", ["importlib", "logging", "subprocess"])
def test_a_stand_in_says_of_itself_what_the_module_says(seen: Any, name: str) -> None:
    """So that whoever asks where a module is from finds it."""
    real, stand_in = sys.modules[name], getattr(seen, name)
    assert stand_in is not real
    assert (stand_in.__name__, stand_in.__doc__, stand_in.__file__) == (real.__name__, real.__doc__, real.__file__)
    assert stand_in.__spec__ is real.__spec__
    assert seen.util.find_spec(name) is not None


def test_what_is_set_on_a_stand_in_is_set_on_the_module(seen: Any) -> None:
    """And goes again from both; a function that was replaced is then the one that was set."""
    seen.logging.cuvis_test_value = 1
    assert logging.cuvis_test_value == 1  # type: ignore[attr-defined]
    del seen.logging.cuvis_test_value
    assert not hasattr(logging, "cuvis_test_value")
    real: Any = subprocess
    before = real.run
    try:
        seen.subprocess.run = len
        assert seen.subprocess.run is len
        assert real.run is len
    finally:
        real.run = before
    assert seen.subprocess.run is before


def test_programs_that_a_plugin_starts_get_what_they_are_given(seen: Any) -> None:
    """Arguments and environment, whoever starts them."""
    code = "import os; print(os.environ.get('CUVIS_TEST_VALUE'))"
    for given, said in (({"env": {"CUVIS_TEST_VALUE": "1"}}, "1"), ({}, "None")):
        done = seen.subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, **given)
        assert done.stdout.strip() == said


@pytest.mark.parametrize("live", [None, "some"])
def test_programs_that_a_plugin_starts_are_told_who_it_is(
    seen: Any, monkeypatch: pytest.MonkeyPatch, live: str | None
) -> None:
    """And what is loaded, also where it chose their environment, by its name or by its place."""
    monkeypatch.delenv(LIVE_PLUGINS, raising=False)
    if live is not None:
        monkeypatch.setenv(LIVE_PLUGINS, live)
    monkeypatch.setenv(CALLING_PLUGIN, "another")
    told = {CALLING_PLUGIN: private_package(seen.__name__), **({} if live is None else {LIVE_PLUGINS: live})}
    places = tuple(range(10))
    for name in ("run", "call", "check_call", "check_output"):
        call = getattr(seen.subprocess, name)
        assert (call.__name__, call.__doc__) == (name, getattr(subprocess, name).__doc__)
        monkeypatch.setattr(subprocess, name, lambda *args, **options: (args, options))
        assert call("x") == (("x",), {"env": {**os.environ, **told}})
        assert call(*places, cwd="y") == (places, {"cwd": "y", "env": {**os.environ, **told}})
        assert call("x", env={"A": "1"}) == (("x",), {"env": {"A": "1", **told}})
        assert call("x", env={LIVE_PLUGINS: "mine"})[1]["env"] == {**told, LIVE_PLUGINS: "mine"}
        assert call(*places, {"A": "1"}, "more", cwd="y") == ((*places, {"A": "1", **told}, "more"), {"cwd": "y"})
