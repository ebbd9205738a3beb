"""Standard modules as a plugin's code sees them are the modules themselves, but for a few functions."""

import logging
import os
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from cuvis_ai_core.plugins.isolation.private_names import CALLING_PLUGIN, LIVE_PLUGINS, private_package
from cuvis_ai_core.plugins.isolation.scope import Scope


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


LOOKING = """\
import importlib
import logging
import subprocess
import sys
import warnings


def say():
    warnings.warn("said")
"""


@pytest.fixture
def looking(scope_of: Callable[..., Scope]) -> Any:
    """Return a module of a plugin."""
    return scope_of({"lookover/__init__.py": "", "lookover/deep.py": LOOKING, "lookover/late.py": ""}).import_module(
        "lookover.deep"
    )


def test_a_plugin_sees_its_modules_under_their_public_names(looking: Any) -> None:
    """Reads, puts and takes away its own there, and all others as they are."""
    modules, private = looking.sys.modules, looking.__name__.removesuffix("deep")
    assert modules["lookover.deep"] is looking
    assert modules["os"] is os
    assert ("lookover.deep" in modules, "lookover.late" in modules) == (True, False)
    assert modules.get("lookover.never") is None
    modules["lookover.late"] = looking
    assert sys.modules[f"{private}late"] is looking
    assert "lookover.late" not in sys.modules
    del modules["lookover.late"]
    assert f"{private}late" not in sys.modules
    modules["cuvis_test_elsewhere"] = looking
    assert sys.modules.pop("cuvis_test_elsewhere") is looking
    assert (len(modules), list(modules), repr(modules)) == (len(sys.modules), list(sys.modules), repr(sys.modules))
    assert modules.copy() == dict(sys.modules)
    assert looking.sys.path is sys.path


def test_a_plugin_imports_and_logs_by_public_names(looking: Any) -> None:
    """Its own version, by a relative name too; a logger is the one that people configure."""
    private = looking.__name__.removesuffix("deep")
    for name, package in (("lookover.late", None), (".late", looking.__package__)):
        assert looking.importlib.import_module(name, package) is sys.modules[f"{private}late"]
    assert looking.importlib.import_module("os") is os
    assert looking.logging.getLogger(looking.__name__) is logging.getLogger("lookover.deep")
    assert looking.logging.getLogger("os") is logging.getLogger("os")
    assert looking.logging.getLogger() is logging.getLogger()
    assert dir(looking.logging) == dir(logging)
    assert pickle.loads(pickle.dumps(looking.logging)) is logging


@pytest.mark.parametrize(
    ("module", "is_shown"),
    [
        ("lookover", False),
        ("^lookover", False),
        (r"\Alookover\.deep", False),
        ("(?i)LOOKOVER", False),
        ("other|lookover", False),
        ("deep", True),
        ("", False),
    ],
)
def test_a_filter_of_warnings_knows_modules_by_their_public_names(looking: Any, module: str, *, is_shown: bool) -> None:
    """From their beginning, with flags and all."""
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        looking.warnings.filterwarnings("ignore", "sa", UserWarning, module)
        looking.say()
    assert bool(shown) is is_shown


def test_a_program_that_a_plugin_opens_is_one_of_the_standard_class(looking: Any) -> None:
    """And is told who started it."""
    code = f"import os; print(os.environ[{CALLING_PLUGIN!r}])"
    kind = looking.subprocess.Popen
    with kind([sys.executable, "-S", "-c", code], stdout=subprocess.PIPE, text=True) as opened:
        assert opened.communicate()[0].strip() == private_package(looking.__name__)
    assert isinstance(opened, subprocess.Popen)
    assert (kind.__module__, kind.__qualname__, kind.__doc__) == ("subprocess", "Popen", subprocess.Popen.__doc__)
