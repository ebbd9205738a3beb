"""What every test gets: a plugin cache of its own, and a process that is afterwards as it was before."""

import contextlib
import faulthandler
import gc
import importlib.util
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any, Final
from uuid import uuid4

import psutil
import pytest
from hypothesis import HealthCheck, settings

from cuvis_ai_core.plugins.isolation.private_names import PREFIX
from cuvis_ai_core.registry import NodeRegistry
from cuvis_ai_core.testing.git_host import GitHost
from tests.warm_process import WarmProcess

ANY_MACHINE: Final = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("exploring", ANY_MACHINE)  # for --hypothesis-profile
settings.register_profile("the same each time", ANY_MACHINE, derandomize=True)

_UV_CACHE = os.environ.get("UV_CACHE_DIR") or str(Path("~/.cache/uv").expanduser())

# pytest-timeout ends a test by a signal. Code that holds the interpreter never hears it, and a teardown that waits for
# what hung waits again: then this ends the process, and says where every thread was.
_POPEN: Final = subprocess.Popen
_HANGS_AFTER: Final = 420.0
_STDERR: Final = pytest.StashKey[int]()


NODE = """\
import numpy as np
from cuvis_ai_core.node import ArrayNode
from cuvis_ai_schemas.pipeline import PortSpec


class {name}(ArrayNode):
    INPUT_SPECS = {{"cube": PortSpec(np.float32, (-1, -1, -1, -1))}}
    OUTPUT_SPECS = {{"cube": PortSpec(np.float32, (-1, -1, -1, -1))}}
    VERSION = {version!r}

    def forward(self, cube):
        return {{"cube": cube}}
"""
"""A node class as a plugin writes it; fill in `name` and `version`."""


Files = dict[str, str]


def _project_files(
    package: str = "echo_plugin",
    *,
    version: str = "1.0.0",
    dependencies: tuple[str, ...] = (),
    node: str = "Echo",
    extra: str = "",
) -> Files:
    """Return the files of a small plugin project: a package with one node class, built by a fast back-end.

    Args:
        package: Its package; the distribution has the same name with hyphens.
        version: Its version, also the class attribute `VERSION`.
        dependencies: Its requirements.
        node: Name of the class, in `<package>.nodes`.
        extra: Lines to add to pyproject.toml.
    """
    needs = ", ".join(f'"{each}"' for each in dependencies)
    return {
        "pyproject.toml": (
            f'[build-system]\nrequires = ["uv_build"]\nbuild-backend = "uv_build"\n\n'
            f'[project]\nname = "{package.replace("_", "-")}"\nversion = "{version}"\ndependencies = [{needs}]\n{extra}'
        ),
        f"src/{package}/__init__.py": "",
        f"src/{package}/nodes.py": NODE.format(name=node, version=version),
    }


def _write_files(folder: Path, files: Files) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def pytest_configure(config: pytest.Config) -> None:
    """Let hypothesis try the same cases each time, where no other profile is asked for."""
    settings.load_profile("the same each time")
    config.stash[_STDERR] = os.dup(2)  # what is printed during a test is captured


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Have no garbage collections while tests are found, and what was imported by then left out of later ones.

    Tests run hundreds, of a million objects each; and of what is made until then, nothing is given up.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None]:
    """End the process if this hangs where no signal reaches."""
    yield from _watched(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """End the process if this hangs where no signal reaches."""
    yield from _watched(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    """End the process if this hangs where no signal reaches."""
    yield from _watched(item)


def _watched(item: pytest.Item) -> Generator[None]:
    faulthandler.dump_traceback_later(_HANGS_AFTER, exit=True, file=item.config.stash[_STDERR])
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    """Write file names that are no text so that a report can be sent: pytest-xdist ends where one cannot."""
    report = yield
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report


@pytest.fixture(scope="session")
def own_world(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], AbstractContextManager[None]]:
    """Return what keeps the user's home and plugin cache out of reach, for fixtures that outlive a test."""

    @contextmanager
    def enter() -> Iterator[None]:
        home = tmp_path_factory.mktemp("home")
        with pytest.MonkeyPatch.context() as patch:
            for variable in [name for name in os.environ if name.startswith("CUVIS_")]:
                patch.delenv(variable)
            patch.setenv("HOME", str(home))
            patch.setenv("USERPROFILE", str(home))
            patch.setenv("UV_CACHE_DIR", _UV_CACHE)
            patch.setattr(NodeRegistry, "_cache_dir", None)
            patch.setattr(NodeRegistry, "_builtin_registry", dict(NodeRegistry._builtin_registry))
            yield

    return enter


@pytest.fixture(scope="session")
def warm_process(own_world: Callable[[], AbstractContextManager[None]]) -> Iterator[WarmProcess | None]:
    """Have a process that has imported what commands import, but for what trains."""
    yield from _warm(own_world, trains=False)


@pytest.fixture(scope="session")
def warm_trainer(
    own_world: Callable[[], AbstractContextManager[None]], pytestconfig: pytest.Config
) -> Iterator[WarmProcess | None]:
    """Have one with Lightning, which takes ten times as long as all else; commands of quick tests hardly ever train."""
    yield from _warm(own_world, trains=pytestconfig.getoption("markexpr") != "not slow")


def _warm(own_world: Callable[[], AbstractContextManager[None]], *, trains: bool) -> Iterator[WarmProcess | None]:
    if sys.platform != "linux":
        yield None
        return
    with own_world(), WarmProcess(trains=trains) as process:
        yield process


@pytest.fixture
def warm_commands(warm_process: WarmProcess | None) -> Iterator[None]:
    """Have commands of this interpreter that are started here be forks of a process with all imports, where it can be.

    Not for tests of a start: of what is imported, and when, or of what an interpreter itself does.
    """
    with nullcontext() if warm_process is None else warm_process.starts_commands():
        yield


@pytest.fixture
def warm_trainings(warm_trainer: WarmProcess | None) -> Iterator[None]:
    """Have the same of commands that train."""
    with nullcontext() if warm_trainer is None else warm_trainer.starts_commands():
        yield


@pytest.fixture
def new_interpreters(request: pytest.FixtureRequest) -> Iterator[None]:
    """Have commands start as for users, in a file in which others are forks."""
    for name in {"warm_commands", "warm_trainings"}.intersection(request.fixturenames):
        request.getfixturevalue(name)
    with pytest.MonkeyPatch.context() as patch:  # undone first, unlike the fixture, which is there before those are
        patch.setattr(subprocess, "Popen", _POPEN)
        yield


@pytest.fixture(autouse=True)
def _own_world(own_world: Callable[[], AbstractContextManager[None]]) -> Iterator[None]:
    """Keep the user's home and plugin cache out of reach."""
    _seed()
    with own_world():
        yield


def _seed() -> None:
    """Have a test that takes numbers by chance take the same ones whatever ran before it."""
    random.seed(0)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(0)
    if torch := sys.modules.get("torch"):
        # Of processors alone: to ask each other kind of device takes half a millisecond, before each of all tests.
        torch.default_generator.manual_seed(0)


@pytest.fixture
def same_process() -> Iterator[None]:
    """Prove that search path, finders and environment are afterwards as they were."""

    def state() -> tuple[object, ...]:
        environment = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
        return list(sys.path), list(sys.meta_path), environment

    before = state()
    yield
    assert state() == before


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Have interrupts arrive as in a terminal, here and in what a test starts: under `nohup` they are ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def no_private_modules() -> Iterator[None]:
    """Prove that nothing of a plugin is left in `sys.modules` once nobody holds its objects."""
    yield
    gc.collect()
    assert [name for name in sys.modules if name.startswith(PREFIX)] == []


@pytest.fixture(scope="module")
def quick_collections() -> None:
    """Have what there is by now left out of garbage collections, in a file whose tests each ask for one.

    What files before it imported is as much again as what was there when the tests were found.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def load_tool() -> Callable[[str], ModuleType]:
    """Return a function that imports a script of `tools/` as a module of its own."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[1] / "tools" / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # its dataclasses look there
        try:
            spec.loader.exec_module(module)
        finally:
            del sys.modules[name]
        return module

    return load


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Return the folder of the plugin cache, set for this test."""
    folder = tmp_path / "plugin cache"
    NodeRegistry.set_cache_dir(folder)
    return folder


@pytest.fixture(scope="session")
def git_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitHost]:
    """Serve Git repositories on loopback for the whole session; every test uses names of its own."""
    with GitHost(tmp_path_factory.mktemp("git")) as host:
        yield host


@pytest.fixture
def registry(cache: Path) -> Iterator[NodeRegistry]:
    """Return a registry with a cache of its own, without discovered plugins, closed in the end."""
    with NodeRegistry(discover=False) as registry:
        yield registry


@pytest.fixture
def strays(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Return a function that names the processes started by this test that live on, after giving them time to end.

    They are known by a variable that all of them inherit, however they were started.
    """
    mark = uuid4().hex
    monkeypatch.setenv("TORCH_STARTED_BY_TEST", mark)
    return lambda: _living(mark)


@pytest.fixture
def living() -> Callable[[str], list[str]]:
    """Return a function that does the same for processes whose variable `TORCH_STARTED_BY_TEST` has some value."""
    return _living


def _living(mark: str) -> list[str]:
    found: list[str] = []
    for _ in range(1000):
        found = [command for process in psutil.process_iter() if (command := _command(process, mark))]
        if not found:
            break
        time.sleep(0.02)
    return found


def _command(process: psutil.Process, mark: str) -> str | None:
    """Return the command of a process that still runs, inherited a mark, and is not this process itself."""
    try:
        ours = process.pid != os.getpid() and process.environ().get("TORCH_STARTED_BY_TEST") == mark
        return " ".join(process.cmdline()) if ours else None
    except psutil.Error:
        return None


@pytest.fixture(scope="session")
def project_files() -> Callable[..., Files]:
    """Return a function that gives the files of a small plugin project (see `_project_files`)."""
    return _project_files


@pytest.fixture(scope="session")
def node_source() -> Callable[..., str]:
    """Return a function that gives the source of a module with one node class."""
    return lambda name="Echo", version="1": NODE.format(name=name, version=version)


@pytest.fixture(scope="session")
def write_files() -> Callable[[Path, Files], Path]:
    """Return a function that writes files below a folder and returns the folder."""
    return _write_files


@pytest.fixture
def local_plugin(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a plugin project and returns its folder."""

    def write(folder: str = "echo", **options: Any) -> Path:
        return _write_files(tmp_path / folder, _project_files(**options))

    return write


@pytest.fixture
def git_plugin(git_host: GitHost, request: pytest.FixtureRequest) -> Callable[..., str]:
    """Return a function that serves a plugin project of its own for this test and returns the address.

    Every version given is a commit with an annotated tag `v<version>`.
    """

    def serve(*versions: str, **options: Any) -> str:
        name = re.sub(r"\W+", "-", request.node.nodeid)[-60:].strip("-")
        first, *others = versions or ("1.0.0",)
        url = git_host.add(name, _project_files(version=first, **options), tag=f"v{first}")
        for version in others:
            git_host.commit(name, _project_files(version=version, **options), tag=f"v{version}", annotated=True)
        return url

    return serve


@pytest.fixture
def pipe() -> Iterator[Callable[[Path], None]]:
    """Return a function that makes a pipe, at which nobody waits longer than a minute."""
    made: list[Path] = []
    ended = threading.Event()

    def make(path: Path) -> None:
        os.mkfifo(path)
        made.append(path)

    def give_up() -> None:
        while not ended.wait(60):
            for path in made:
                with contextlib.suppress(OSError):
                    os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))

    thread = threading.Thread(target=give_up, daemon=True)
    thread.start()
    try:
        yield make
    finally:
        ended.set()
        thread.join()
