"""Processes that a plugin or the program starts find the right version of the plugin, and what it depends on."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cuvis_ai_core.plugins import children
from cuvis_ai_core.plugins.dependencies.search_path import interpreter
from cuvis_ai_core.plugins.isolation.private_names import CALLING_PLUGIN, LIVE_PLUGINS

Run = Callable[..., Any]

WORK = """
import asyncio, concurrent.futures, dataclasses, multiprocessing, os, subprocess, sys
import cuvis_test_kin

VERSION = {version!r}

@dataclasses.dataclass
class Point:
    x: int

def square(point):
    import kids.late
    assert type(point) is Point
    return [kids.late.WHO, cuvis_test_kin.VERSION, point.x ** 2]

def in_pool(method):
    with multiprocessing.get_context(method).Pool(2) as pool:
        return pool.map(square, [Point(2), Point(3)])

def in_executor(method):
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as executor:
        return executor.submit(square, Point(2)).result()

def dependency_in_pool(method):
    with multiprocessing.get_context(method).Pool(1) as pool:
        return pool.apply(cuvis_test_kin.version)

def started(*arguments, **options):
    done = subprocess.run([sys.executable, *arguments], stdout=subprocess.PIPE, text=True, check=True, **options)
    return done.stdout.split()

def opened(*arguments):
    with subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True) as process:
        return process.communicate()[0].split()

def checked(*arguments):
    return subprocess.check_output([sys.executable, *arguments], text=True).split()

def by_shell(out):
    os.system(f'"{{sys.executable}}" -m kids.worker > "{{out}}"')
    return open(out).read().split()

def by_asyncio():
    async def run():
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", "kids.worker", stdout=subprocess.PIPE)
        return (await process.communicate())[0].decode().split()
    return asyncio.run(run())
"""

WORKER = """
import multiprocessing, sys
from importlib.metadata import version
from . import late
import kids.late as again
from kids.work import Point, square

if __name__ == "__main__":
    if sys.argv[1:] == ["pool"]:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            print(*pool.apply(square, [Point(2)]))
    else:
        print(late.WHO, again.WHO, version("kids"))
"""

NODES = """
from cuvis_ai_core.node import ArrayNode
from kids import work

class Kids(ArrayNode):
    INPUT_SPECS = {}
    OUTPUT_SPECS = {}
    def forward(self):
        return {}
"""

PRELUDE = """
import json, os, sys
from cuvis_ai_core import NodeRegistry

registries = []

def load(version):
    registry = NodeRegistry(discover=False)
    registries.append(registry)
    registry.load_plugin("kids", {"path": os.path.join(FOLDER, version), "provides": ["kids.nodes.Kids"]})
    return sys.modules[registry.get("Kids").__module__].work

if __name__ == "__main__":
    both = [load("1"), load("2")]
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, make_wheel: Callable[..., None]) -> Run:
    """Return a function that runs lines in a fresh process with two versions of a plugin; their `answer` comes back."""
    base = tmp_path_factory.mktemp("kids")
    for version in "12":
        kin = {
            "cuvis_test_kin/__init__.py": f"VERSION = '{version}.0'\ndef version():\n    return VERSION\n",
            "cuvis_test_kin/__main__.py": "import cuvis_test_kin\nprint(cuvis_test_kin.VERSION)\n",
        }
        make_wheel(base / "wheels", "cuvis-test-kin", f"{version}.0", kin)
        _write_plugin(base / version, version)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("CUVIS_")},
        "UV_FIND_LINKS": str(base / "wheels"),
        "CUVIS_PLUGINS_DIR": str(base / "cache"),
    }

    def run(lines: str, *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Any:
        script = base / "script.py"
        text = "if __name__ == '__main__':\n" + "".join(f"    {line}\n" for line in lines.strip().splitlines())
        text += "    print(json.dumps(answer))\n"
        script.write_text(PRELUDE.replace("FOLDER", repr(str(base))) + text)
        done = subprocess.run(
            [sys.executable, str(script)],
            cwd=cwd or base,
            env={**environment, **(env or {})},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return json.loads(done.stdout)

    return run


def _write_plugin(folder: Path, version: str) -> None:
    who = f"WHO = {version!r}\n"
    files = {
        "pyproject.toml": '[build-system]\nrequires = ["uv_build"]\nbuild-backend = "uv_build"\n[project]\n'
        f'name = "kids"\nversion = "{version}"\ndependencies = ["cuvis-test-kin=={version}.0"]\n',
        "src/kids/__init__.py": "",
        "src/kids/nodes.py": NODES,
        "src/kids/work.py": WORK.format(version=version),
        "src/kids/late.py": who,
        "src/kids/worker.py": WORKER,
        "src/kids/__main__.py": "from kids.late import WHO\nprint('main of', WHO)\n",
        "src/kids/script.py": "from kids.late import WHO\nprint('script of', WHO)\n",
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_workers_of_a_pool_run_the_version_whose_code_was_handed_over(run: Run, method: str) -> None:
    """From the plugin's own code, two versions at once; late imports and private dependencies included."""
    answer = run(f"answer = [work.in_pool({method!r}) for work in both]")
    assert answer == [[["1", "1.0", 4], ["1", "1.0", 9]], [["2", "2.0", 4], ["2", "2.0", 9]]]


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_an_executor_and_a_function_of_a_dependency(run: Run, method: str) -> None:
    """`concurrent.futures`, and a function that a worker finds by the name of a library."""
    answer = run(f"answer = [[work.in_executor({method!r}), work.dependency_in_pool({method!r})] for work in both]")
    assert answer == [[["1", "1.0", 4], "1.0"], [["2", "2.0", 4], "2.0"]]


def test_a_pool_of_the_programs_own(run: Run) -> None:
    """The program hands functions of both versions to one pool."""
    answer = run(
        "from multiprocessing import get_context\n"
        "with get_context('spawn').Pool(1) as pool:\n"
        "    answer = [pool.apply(work.square, [work.Point(5)]) for work in both]"
    )
    assert answer == [["1", "1.0", 25], ["2", "2.0", 25]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("started('-m', 'kids.worker')", "{0} {0} {0}"),
        ("started('-Bm', 'kids.worker')", "{0} {0} {0}"),
        ("started('-X', 'utf8', '-W', 'error', '-mkids.worker')", "{0} {0} {0}"),
        ("opened('-m', 'kids.worker')", "{0} {0} {0}"),
        ("checked('-m', 'kids.worker')", "{0} {0} {0}"),
        ("started('-m', 'kids')", "main of {0}"),
        ("started('-c', 'import kids.late; print(kids.late.WHO)')", "{0}"),
        ("started(work.__file__.replace('work.py', 'script.py'))", "script of {0}"),
        ("started('-m', 'kids.worker', env={'A': 'B'})", "{0} {0} {0}"),
        ("started('-m', 'cuvis_test_kin')", "{0}.0"),
        ("started('-m', 'kids.worker', 'pool')", "{0} {0}.0 4"),
    ],
)
def test_a_program_that_a_plugin_starts_is_its_own_version(run: Run, call: str, expected: str) -> None:
    """`python -m`, a file of its, code that it wrote, a dependency; and workers that such a program starts."""
    answer = run(f"answer = [work.{call} for work in both]")
    assert [" ".join(words) for words in answer] == [expected.format(version) for version in "12"]


@pytest.mark.parametrize("call", ["by_asyncio()", "by_shell('out.txt')"])
def test_where_one_version_is_loaded_any_way_of_starting_its_module_works(run: Run, call: str) -> None:
    """Nobody says who starts the program, but only one plugin has that module."""
    assert run(f"registries[0].close()\nanswer = both[1].{call}") == ["2", "2", "2"]


def test_a_program_of_somebody_else_keeps_its_own_modules(run: Run, tmp_path: Path) -> None:
    """A script beside which lies a module of a name that the plugin owns."""
    (tmp_path / "kids.py").write_text("WHO = 'of the script'")
    (tmp_path / "script.py").write_text("import kids; print(kids.WHO)")
    answer = run(f"answer = [work.started({str(tmp_path / 'script.py')!r}) for work in both]")
    assert answer == [["of", "the", "script"]] * 2


def test_a_folder_in_the_working_directory_does_not_stand_for_the_plugin(run: Run, tmp_path: Path) -> None:
    """`python -m` puts the working directory first."""
    (tmp_path / "kids.py").write_text("raise AssertionError('imported')")
    (tmp_path / "cuvis_test_kin").mkdir()
    answer = run("answer = [work.started('-m', 'kids.worker') + work.started('-m', 'cuvis_test_kin') for work in both]")
    assert answer == [["1", "1", "1", "1.0"], ["2", "2", "2", "2.0"]]


def test_an_interpreter_without_the_variable_imports_nothing_of_ours(run: Run) -> None:
    """Before a load and after an unload, a process that is started costs nothing."""
    code = (
        "import sys; print(sorted(name for name in sys.modules if name.startswith(('cuvis', 'json', 'importlib.me'))))"
    )
    answer = run(
        f"import subprocess\nstart = lambda: subprocess.check_output([sys.executable, '-c', {code!r}], text=True)\n"
        "loaded = start()\n"
        "for registry in registries: registry.close()\n"
        "answer = [loaded != '[]\\n', start(), 'CUVIS_LIVE_PLUGINS' in os.environ]"
    )
    assert answer == [True, "[]\n", False]


def test_another_interpreter_is_not_given_what_was_built_for_this_one(run: Run) -> None:
    """A variable of another Python is passed over."""
    other = json.dumps(["cpython-27-some", [["cuvis_ai_core.scoped.x", "/nowhere", []]], {"/nowhere": ["x"]}])
    assert run("del both\nanswer = 1", env={"CUVIS_LIVE_PLUGINS": other}) == 1


@pytest.fixture
def adopted(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[str, bool] | None]:
    """Return a function that begins a process of a command, which one of several plugins may have started.

    Whose it is comes back, and whether its program is that plugin's own.
    """

    def scope(name: str, top: str) -> Any:
        return SimpleNamespace(
            name=name,
            owns=lambda module: module.partition(".")[0] == top,
            holds_file=lambda file: file == f"/code/{name}.py",
        )

    scopes = {each.name: each for each in (scope("one", "kids"), scope("two", "twins"), scope("three", "twins"))}
    found: list[tuple[str, bool]] = []
    monkeypatch.setattr(children, "install_finder", lambda: None)
    monkeypatch.setattr(children, "living_scopes", scopes.values)
    monkeypatch.setattr(children, "scope_named", scopes.get)
    monkeypatch.setattr(children, "process_started_by", lambda scope, *, runs: found.append((scope.name, runs)))
    monkeypatch.setenv(LIVE_PLUGINS, repr([interpreter(), [], {}]))

    def begin(*command: str, caller: str | None = None) -> tuple[str, bool] | None:
        monkeypatch.setattr(sys, "orig_argv", ["python", *command])
        if caller is not None:
            monkeypatch.setenv(CALLING_PLUGIN, caller)
        children.adopt()
        return found.pop() if found else None

    return begin


@pytest.mark.parametrize(
    "command",
    [
        ("-m", "kids.worker"),
        ("-mkids",),
        ("-Bm", "kids.worker", "-c", "pass"),
        ("-B", "-Imkids"),
        ("-X", "utf8", "-W", "error", "-m", "kids"),
        ("-Xutf8", "-Werror", "-m", "kids"),
        ("-BX", "utf8", "-m", "kids"),
        ("--check-hash-based-pycs", "always", "-m", "kids"),
    ],
)
def test_the_module_of_one_plugin_is_its_program(adopted: Callable[..., Any], command: tuple[str, ...]) -> None:
    """However the command says so, and whoever started it without telling."""
    assert adopted(*command) == ("one", True)
    assert adopted(*command, caller="one") == ("one", True)
    assert adopted(*command, caller="two") == ("two", False)


@pytest.mark.parametrize(
    ("command", "runs"),
    [
        (("-m", "twins"), False),
        (("-m",), False),
        (("-W", "-m", "kids"), False),
        (("-c", "import kids"), True),
        (("-Ic", "import kids"), True),
        (("-c", "from multiprocessing.spawn import spawn_main; spawn_main()"), False),
        (("/code/one.py", "-m", "kids"), True),
        (("script.py", "-m", "kids"), False),
        (("-", "-m", "kids"), False),
        ((), False),
        (("-B",), False),
    ],
)
def test_another_program_is_of_the_plugin_that_started_it(
    adopted: Callable[..., Any], command: tuple[str, ...], *, runs: bool
) -> None:
    """Its names come first where the plugin wrote the program; without a caller that lives it is nobody's."""
    assert adopted(*command) is None
    assert adopted(*command, caller="gone") is None
    assert adopted(*command, caller="one") == ("one", runs)
