"""Which tests are tried first where a file has a fault, and which faults there are: `tools/mutants.py`."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

coverage = pytest.importorskip("coverage")

SOURCE = Path("src/cuvis_ai_core")

FILES = {
    "src/cuvis_ai_core/__init__.py": "from .shop.selling import sell as sell\n",
    "src/cuvis_ai_core/shop/__init__.py": "from .selling import sell\n",
    "src/cuvis_ai_core/shop/selling.py": "from ..shop.till import Till\n\ndef sell(): ...\n",
    "src/cuvis_ai_core/shop/till.py": "from ._drawer import Drawer\n\nclass Till: ...\n",
    "src/cuvis_ai_core/shop/_drawer.py": "class Drawer: ...\n",
    "src/cuvis_ai_core/shop/window.py": "",
    "src/cuvis_ai_core/shop/cellar/deep.py": "",
    "src/cuvis_ai_core/other.py": "from cuvis_ai_core.shop import Till\n",
    "tests/test_other.py": "import cuvis_ai_core.other\n",
    "tests/other/test_till.py": "",
    "tests/other/test_window_panes.py": "",
    "tests/other/test_bread.py": "from cuvis_ai_core.shop.till import Till\n",
    "tests/other/test_handed_on.py": "from cuvis_ai_core.shop import sell\n",
    "tests/other/test_far.py": "",
    "tests/shop/test_bread.py": "from cuvis_ai_core.shop import selling\n",
    "tests/shop/test_apples.py": "",
    "tests/shop/test_window.py": "",
    "tests/shop/cellar/test_wine.py": "",
}


@pytest.fixture
def mutants(
    load_tool: Callable[[str], ModuleType],
    tmp_path: Path,
    write_files: Callable[[Path, dict[str, str]], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> ModuleType:
    """Return the script as a module, in the folder of a small project."""
    monkeypatch.chdir(write_files(tmp_path, FILES))
    return load_tool("mutants")


@pytest.mark.parametrize(
    ("source", "tests"),
    [
        pytest.param(
            "shop/selling.py",
            ["shop/test_bread", "other/test_handed_on", "shop/test_apples", "shop/test_window"],
            id="those that import it or get it from its package, then its room",
        ),
        pytest.param(
            "shop/till.py",
            ["other/test_till", "other/test_bread", "shop/test_bread", "shop/test_apples"],
            id="its name elsewhere, imports, and few imports between before many",
        ),
        pytest.param("shop/window.py", ["shop/test_window", "other/test_window_panes", "shop/test_apples"], id="name"),
        pytest.param(
            "shop/cellar/deep.py",
            ["shop/cellar/test_wine", "shop/test_apples", "shop/test_bread", "shop/test_window"],
            id="the folder of its own, then the folder around it",
        ),
        pytest.param("other.py", ["test_other"], id="at the top no folder below"),
    ],
)
def test_the_nearest_tests_come_first(mutants: ModuleType, source: str, tests: list[str]) -> None:
    """The name of a file, what imports it and the folder that mirrors its room say which tests are near."""
    nearest = mutants.nearest_tests(SOURCE / source)
    found = [test.with_suffix("").relative_to("tests").as_posix() for test in nearest]
    assert found[: len(tests)] == tests
    assert "other/test_far" not in found


def test_tests_that_execute_a_line_come_in_the_order_of_their_files(mutants: ModuleType) -> None:
    """A map gives the tests of a line, each once; a line in the middle of a statement has those of its beginning."""
    source = SOURCE / "shop/window.py"
    data = coverage.CoverageData("map")
    for context, lines in {
        "": [1, 2, 3],
        "tests/other/test_far.py::test_c[a|b]|run": [2],
        "tests/other/test_window_panes.py::test_b|setup": [2],
        "tests/other/test_window_panes.py::test_b|run": [2],
        "tests/shop/test_window.py::test_a": [2, 5],
    }.items():
        data.set_context(context)
        data.add_lines({str(source): lines})
    data.write()
    saved = coverage.CoverageData("map")
    saved.read()

    def tests(line: int, path: Path = source) -> list[str]:
        return mutants.executing_tests(mutants.Fault(path, line, 0, 0, "", ""), saved)  # type: ignore[no-any-return]

    of_two = ["shop/test_window.py::test_a", "other/test_window_panes.py::test_b", "other/test_far.py::test_c[a|b]"]
    assert tests(1) == []
    assert tests(2) == tests(3) == tests(4) == [f"tests/{each}" for each in of_two]
    assert tests(5) == ["tests/shop/test_window.py::test_a"]
    assert tests(2, SOURCE / "shop/till.py") == []


@pytest.mark.slow
def test_only_tests_that_fail_in_time_have_noticed(mutants: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests of the line run first, quick ones of near files next, then slow ones, others last; none in time is none."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", "xdist.plugin,pytest_timeout")
    passing, failing, slow = Path("test_a.py"), Path("test_b.py"), Path("test_c.py")
    Path("pytest.ini").write_text("[pytest]\nmarkers = slow\n")
    passing.write_text("def test_a(): pass\n")
    failing.write_text("def test_b(): assert False\n")
    slow.write_text("import pytest\n@pytest.mark.slow\ndef test_c(): assert False\n")

    def said(tests: list[Path], limit: float = 10_000.0, executing: tuple[str, ...] = ()) -> str:
        return mutants._first_failure(tests, limit, executing)[0]  # type: ignore[no-any-return]

    assert "test_c" in said([passing, slow])
    assert "test_c" in said([failing], executing=("test_a.py::test_a", "test_c.py::test_c"))
    assert "test_b" in said([failing], executing=("test_a.py::gone",))
    assert said([failing], 0.0) == ""
    monkeypatch.setattr(mutants, "NEAR", 1)
    assert "test_b" in said([passing, failing])
    assert said([passing, slow]) == ""


def test_only_processors_count(mutants: ModuleType) -> None:
    """A program that waits takes next to nothing; one that is busy, or whose children are, ends at the limit."""
    code, said, seconds = mutants._run([sys.executable, "-c", "import time; time.sleep(1); print(1); exit(3)"], 0.9)
    assert (code, said.split(), seconds < 0.9) == (3, ["1"], True)
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'while True: pass'])"
    code, _, seconds = mutants._run([sys.executable, "-c", child], 0.3)
    assert (code, seconds >= 0.3) == (None, True)


def test_what_waits_is_ended_by_the_clock(mutants: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though it takes no processor: outside a test, as in an import, pytest ends nothing; and it counts as noticed."""
    monkeypatch.setattr(mutants, "HANGS", 0.2)
    monkeypatch.setattr(mutants, "CROWDED", 0)
    waiting = "import time; time.sleep(20)"
    code, said, _ = mutants._run([sys.executable, "-c", waiting], 10_000.0)
    assert (code not in {None, 0}, "still waits" in said) == (True, True)
    Path("test_a.py").write_text(waiting)
    assert "still waits" in mutants._first_failure([Path("test_a.py")], 10_000.0)[0]
