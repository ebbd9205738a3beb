"""Tests that fail are tried once more alone, where they are few: `tools/suite.py`."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]

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


@pytest.fixture(scope="module")
def suite() -> ModuleType:
    """Return the tool."""
    spec = importlib.util.spec_from_file_location("suite", ROOT / "tools" / "suite.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("number", "always", "passes", "said"),
    [
        (0, False, True, ""),
        (2, False, True, "failed once, and passed alone"),
        (1, True, False, "once more, alone"),
        (3, False, False, ""),
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
    assert ("once more" in printed) == bool(said)
