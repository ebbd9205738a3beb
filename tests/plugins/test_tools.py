"""Tracebacks, warnings, debuggers, coverage and pytest show a plugin's own files and lines."""

import bdb
import logging
import os
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from cuvis_ai_core import NodeRegistry

Files = dict[str, str]

TOOLS = """
import logging
import warnings


def fail(value):
    assert value == 1
    raise ValueError("of the plugin")


def warn():
    warnings.warn("of the plugin", stacklevel=1)


def log():
    logging.getLogger(__name__).warning("of the plugin")
"""

FILTERS = """
import logging
import warnings


def quiet(*options, **more):
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        warnings.filterwarnings(*options, **more)
        warnings.warn("of the plugin", stacklevel=1)
    return not heard


def wrap(module, name):
    heard = []
    module = logging if module == "logging" else warnings
    original = getattr(module, name)

    def mine(*options):
        heard.extend(options)
        return original(*options)

    setattr(module, name, mine)
    return heard
"""


@pytest.fixture
def folder(tmp_path: Path, project_files: Callable[..., Files], write_files: Callable[..., Path]) -> Path:
    """Return the folder of a plugin."""
    files = project_files("tools_plugin")
    files["src/tools_plugin/nodes.py"] += (
        "from tools_plugin import filters, tools\nEcho.tools, Echo.filters = tools, filters\n"
    )
    files["src/tools_plugin/filters.py"] = FILTERS
    return write_files(tmp_path / "tools", {**files, "src/tools_plugin/tools.py": TOOLS})


@pytest.fixture
def tools(registry: NodeRegistry, folder: Path) -> Any:
    """Return a module of the loaded plugin."""
    registry.load_plugin("tools", {"path": str(folder), "provides": ["tools_plugin.nodes.Echo"]})
    return registry.get("Echo").tools  # type: ignore[attr-defined]


def line_of(text: str) -> int:
    """Return the number of a line of the module."""
    return next(number for number, line in enumerate(TOOLS.splitlines(), 1) if text in line)


@pytest.fixture
def filters(registry: NodeRegistry, folder: Path) -> Any:
    """Return another module of the loaded plugin."""
    registry.load_plugin("tools", {"path": str(folder), "provides": ["tools_plugin.nodes.Echo"]})
    return registry.get("Echo").filters  # type: ignore[attr-defined]


def test_a_warning_about_an_import_names_the_line_that_imports(
    registry: NodeRegistry, folder: Path, write_files: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `pkg_resources` and modules that were moved warn; of the plugin's own modules and of the host's."""
    write_files(folder, {"host/moved_for_all.py": "import warnings\nwarnings.warn('for all', stacklevel=2)\n"})
    monkeypatch.syspath_prepend(folder / "host")
    package = folder / "src/tools_plugin"
    (package / "moved.py").write_text("import warnings\nwarnings.warn('moved', stacklevel=2)\n")
    with (package / "tools.py").open("a") as file:
        file.write("import tools_plugin.moved\nimport moved_for_all\n")
    with pytest.warns(UserWarning, match="moved|for all") as heard:
        registry.load_plugin("tools", {"path": str(folder), "provides": ["tools_plugin.nodes.Echo"]})
    end = len(TOOLS.splitlines())
    places = [(str(each.message), each.filename, each.lineno) for each in heard]
    assert places == [
        ("moved", str(package / "tools.py"), end + 1),
        ("for all", str(package / "tools.py"), end + 2),
    ]


@pytest.mark.parametrize("options", [("ignore", "", Warning, "tools_plugin"), ("ignore", "", UserWarning, r"tools_.*")])
def test_a_plugin_silences_warnings_by_public_names(filters: Any, options: tuple[Any, ...]) -> None:
    """A filter for a module means the one that its code knows by that name, and no other."""
    assert filters.quiet(*options)
    names = r"tools_plugin\.filters$", "^tools_plugin", r"\Atools_", "(?:other|tools_plugin)", "(?i)TOOLS", "a|tools"
    for module in names:
        assert filters.quiet("ignore", module=module), module
    assert not filters.quiet("ignore", module="tools_plugin$")
    assert not filters.quiet("ignore", module="plugin")
    with pytest.raises((AssertionError, ValueError), match="action"):  # the latter since Python 3.13
        filters.quiet("silence", module="tools_plugin")


@pytest.mark.parametrize(
    ("module", "name", "given"), [(warnings, "filterwarnings", "ignore"), (logging, "getLogger", "x")]
)
def test_a_plugin_may_wrap_functions_that_know_it(
    filters: Any, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, given: str
) -> None:
    """What it puts in their place, it puts there for all, and it calls what it found there."""
    monkeypatch.setattr(module, name, getattr(module, name))  # taken back afterwards
    heard = filters.wrap(module.__name__, name)
    with warnings.catch_warnings():
        getattr(module, name)(given)
    assert heard == [given]


def test_a_traceback_names_file_and_line(tools: Any, folder: Path) -> None:
    """And shows the line."""
    with pytest.raises(ValueError, match="of the plugin") as caught:
        tools.fail(1)
    frame = traceback.extract_tb(caught.tb)[-1]
    assert (frame.filename, frame.lineno) == (
        str(folder / "src/tools_plugin/tools.py"),
        line_of("raise ValueError"),
    )
    assert frame.line == 'raise ValueError("of the plugin")'


def test_a_warning_names_file_and_line(tools: Any, folder: Path) -> None:
    """Those of the code that warns."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        tools.warn()
    assert (seen[0].filename, seen[0].lineno) == (
        str(folder / "src/tools_plugin/tools.py"),
        line_of("warnings.warn("),
    )


def test_a_log_record_has_the_public_name(tools: Any, caplog: pytest.LogCaptureFixture, folder: Path) -> None:
    """And the file's path."""
    tools.log()
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("tools_plugin.tools", logging.WARNING)
    assert (record.pathname, record.lineno) == (
        str(folder / "src/tools_plugin/tools.py"),
        line_of(".warning("),
    )


def test_a_debugger_stops_at_a_breakpoint(tools: Any, folder: Path) -> None:
    """Given by file and line, as an editor gives it."""
    stopped: list[int] = []

    class Debugger(bdb.Bdb):
        def user_line(self, frame: FrameType) -> None:
            if self.break_here(frame):
                stopped.append(frame.f_lineno)

    debugger = Debugger()
    line = line_of("raise ValueError")
    assert debugger.set_break(str(folder / "src/tools_plugin/tools.py"), line) is None
    trace = sys.gettrace()
    try:
        with pytest.raises(ValueError, match="of the plugin"):
            debugger.runcall(tools.fail, 1)
    finally:
        sys.settrace(trace)
    assert stopped == [line]


LOADING = """
from cuvis_ai_core import NodeRegistry
import pytest

def load():
    registry = NodeRegistry(discover=False)
    registry.load_plugin("tools", {"path": PATH, "provides": ["tools_plugin.nodes.Echo"]})
    return registry, registry.get("Echo").tools
"""


@pytest.mark.slow
def test_coverage_by_path_counts_the_right_lines(folder: Path, tmp_path: Path, cache: Path) -> None:
    """`--include` with a path; `--source` takes public names, which are not imported."""
    script = tmp_path / "script.py"
    script.write_text(LOADING.replace("PATH", repr(str(folder))) + "registry, tools = load()\ntools.log()\n")

    def coverage(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "coverage", *arguments],
            cwd=tmp_path,
            env={**os.environ, "CUVIS_PLUGINS_DIR": str(cache)},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout + done.stderr

    coverage("run", "--include=*/tools_plugin/*", str(script))
    report = coverage("report", "--show-missing")
    missing = ", ".join((f"{line_of('assert value')}-{line_of('raise ValueError')}", str(line_of("warnings.warn("))))
    assert report.partition("tools.py")[2].splitlines()[0].endswith(missing)
    assert "Module tools_plugin was never imported" in coverage("run", "--source=tools_plugin", str(script))


@pytest.mark.slow
def test_pytest_shows_the_plugins_line(
    folder: Path, pytester: pytest.Pytester, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its assertion rewriting at work in the test that loads the plugin."""
    pytester.makepyfile(
        LOADING.replace("PATH", repr(str(folder)))
        + "def test_it():\n    registry, tools = load()\n    assert registry\n    tools.fail(2)\n"
    )
    monkeypatch.setenv("CUVIS_PLUGINS_DIR", str(cache))
    result = pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider")
    result.stdout.fnmatch_lines(
        ["*def fail(value):", ">       assert value == 1", f"*tools.py:{line_of('assert value')}: AssertionError"]
    )
