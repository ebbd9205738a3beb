"""Tests that fail are tried once more alone, where they are few: `tools/suite.py`."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

TESTS = """
import pathlib, pytest

@pytest.mark.parametrize("number", range({number}))
def test_fails(number):
    seen = pathlib.Path(__file__).with_name(f"seen{{number}}")
    if {always} or not seen.exists():
        seen.touch()
        raise AssertionError

def test_passes():
    pass
"""


@pytest.fixture(autouse=True)
def _few_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the tests that are run here begin without all the plugins of pytest that are installed."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", "xdist.plugin")


@pytest.fixture(scope="module")
def suite(load_tool: Callable[[str], ModuleType]) -> ModuleType:
    """Return the script as a module."""
    return load_tool("suite")


@pytest.mark.parametrize(
    ("number", "always", "passes", "said"),
    [
        pytest.param(0, False, True, "", marks=pytest.mark.slow),
        (2, False, True, "failed once, and passed alone"),
        pytest.param(1, True, False, "once more, alone", marks=pytest.mark.slow),
        pytest.param(3, False, False, "", marks=pytest.mark.slow),
    ],
)
def test_few_failures_are_tried_once_more(
    suite: ModuleType,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    number: int,
    always: bool,  # noqa: FBT001 - a case
    passes: bool,  # noqa: FBT001
    said: str,
) -> None:
    """What passes then is named, and no failure; many failures, or the same again, are one."""
    tests = tmp_path / "test_some.py"
    tests.write_text(TESTS.format(number=number, always=always))
    options = ["-c", "/dev/null", "--rootdir", str(tmp_path), "-p", "no:randomly", str(tests)]
    assert suite.passes(sys.executable, options) is passes
    printed = capfd.readouterr().out
    assert said in printed
    assert re.search(r"^== \d+ s by the clock, \d+ s of processors$", printed, re.MULTILINE)
    assert ("once more" in printed) == bool(said)


def test_tests_may_write_bytecode(suite: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the environment forbids it, processes that tests start would compile the same modules again and again."""
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    tests = tmp_path / "test_some.py"
    tests.write_text("import sys\n\ndef test_some():\n    assert not sys.dont_write_bytecode\n")
    options = ["-c", "/dev/null", "--rootdir", str(tmp_path), *suite.IN_ORDER, str(tests)]
    assert suite.passes(sys.executable, options)


def test_what_is_chosen_by_chance_can_be_had_again(suite: ModuleType) -> None:
    """An order and a choice of files are the same for one number, and the number is for one commit."""
    files = [Path(f"test_{number}.py") for number in range(40)]
    assert suite.seed() == suite.seed()
    assert suite.shuffled(7) == ("--randomly-seed=7",)
    assert suite.sampled(files, 5, 7) == suite.sampled(files, 5, 7) != suite.sampled(files, 5, 8)
    assert len(set(suite.sampled(files, 5, 7))) == 5
    assert suite.sampled(files, 99, 7) == sorted(files)


@pytest.mark.slow
def test_tests_that_are_all_left_out_are_a_failure_but_for_a_file(suite: ModuleType, tmp_path: Path) -> None:
    """One may need a library that is not here; that none is found at all is no success."""
    tests = tmp_path / "test_some.py"
    tests.write_text("import pytest\n\npytest.importorskip('nothing_of_this_name')\n")
    options = ["-c", "/dev/null", "--rootdir", str(tmp_path), *suite.IN_ORDER, str(tests)]
    assert suite.passes(sys.executable, options, may_be_none=True)
    assert not suite.passes(sys.executable, options)


def test_one_environment_of_the_newest_and_one_of_the_oldest_take_a_random_order(
    load_tool: Callable[[str], ModuleType], suite: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """And say how it is had again."""
    monkeypatch.setitem(sys.modules, "suite", suite)
    interpreters = load_tool("interpreters")
    newest = interpreters.promised()[-1]
    assert interpreters._order("3.12") == suite.IN_ORDER
    assert interpreters._order(newest) == interpreters._order("lowest") == (f"--randomly-seed={suite.seed()}",)
    assert f".venvs/{newest}/bin/python -m pytest -m 'not slow' --randomly-seed=" in capsys.readouterr().out
