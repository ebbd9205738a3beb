"""Which tests are tried first where a file has a fault, and which faults there are: `tools/mutants.py`."""

import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

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


@pytest.mark.slow
def test_only_tests_that_fail_in_time_have_noticed(mutants: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Quick tests of near files run first, slow ones of them next, others last; no failure in time is none."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", "xdist.plugin,pytest_timeout")
    passing, failing, slow = Path("test_a.py"), Path("test_b.py"), Path("test_c.py")
    Path("pytest.ini").write_text("[pytest]\nmarkers = slow\n")
    passing.write_text("def test_a(): pass\n")
    failing.write_text("def test_b(): assert False\n")
    slow.write_text("import pytest\n@pytest.mark.slow\ndef test_c(): assert False\n")
    in_time = time.monotonic() + 10_000
    assert "test_c" in mutants._first_failure([passing, slow], in_time)
    assert mutants._first_failure([failing], 0.0) == ""
    monkeypatch.setattr(mutants, "NEAR", 1)
    assert "test_b" in mutants._first_failure([passing, failing], in_time)
    assert mutants._first_failure([passing, slow], in_time) == ""
