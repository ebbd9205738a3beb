"""Sixteen threads that load, unload, run and import late, over several versions, in a random order."""

import faulthandler
import os
import pickle
import random
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.plugins.isolation.private_names import LIVE_PLUGINS

Files = dict[str, str]

SEED = 20261125
SHORT, LONG = 8, 30
"""Seconds of the processor; the long ones with new cases of properties."""
OFTEN = 1e-6
"""Seconds after which the interpreter goes to another thread: as often as it can."""
THREADS = 16
LATE = 30

WEAVE = """
import pickle, random
from importlib import import_module, resources
import crossroads
from weave import ring

VERSION = {version!r}

class Point:
    pass

def plain(n):
    return __import__(f"weave.late{{n}}", fromlist=["WHO"]).WHO

def by_name(n):
    return import_module(f"weave.late{{n}}").WHO

def relative(n):
    return import_module(f".late{{n}}", __package__).WHO

def through_the_host(n):
    return crossroads.bring(f"weave.late{{n}}").WHO

def by_public_name(n):
    return VERSION if type(pickle.loads(b"cweave\\nPoint\\n)R.")) is Point else "another class"

def data(n):
    return resources.files("weave").joinpath("data.txt").read_text()

def circular(n):
    return crossroads.bring("weave.ring.one").WHO

def foreign(n):
    try:
        return crossroads.bring(OTHER).__path__ and "found another plugin"
    except (ModuleNotFoundError, AttributeError):
        return VERSION

FORMS = [plain, by_name, relative, through_the_host, by_public_name, data, circular, foreign]
"""

OTHERS = {"weave": "knit", "knit": "weave"}

RING = {
    "ring/__init__.py": "",
    "ring/one.py": "import crossroads\ncrossroads.bring('weave.ring.two')\nfrom weave.late0 import WHO\n",
    "ring/two.py": "import weave.ring.one\nfrom weave.late0 import WHO\n",
}


@pytest.fixture
def folders(
    cache: Path,
    tmp_path: Path,
    project_files: Callable[..., Files],
    write_files: Callable[[Path, Files], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[dict[str, tuple[str, Path]]]:
    """Return plugin and folder by version: three of one plugin, and another one with which they share a friend."""
    write_files(tmp_path, {"host/crossroads.py": "from importlib import import_module as bring\n"})
    monkeypatch.syspath_prepend(str(tmp_path / "host"))
    found = {}
    for version, package in (("w1", "weave"), ("w2", "weave"), ("w3", "weave"), ("k1", "knit")):
        modules = {"__init__.py": WEAVE.format(version=version), "data.txt": version, **RING}
        modules |= {f"late{number}.py": f"import weave\nWHO = {version!r}\n" for number in range(LATE)}
        files = project_files(package)
        files[f"src/{package}/nodes.py"] += f"import {package}\nEcho.package = {package}\n"
        files |= {f"src/{package}/{name}": text.replace("weave", package) for name, text in modules.items()}
        files[f"src/{package}/__init__.py"] += f"OTHER = {OTHERS[package]!r}\n"
        found[version] = package, write_files(tmp_path / version, files)
    yield found
    sys.modules.pop("crossroads", None)


def load(registry: NodeRegistry, plugin: str, folder: Path) -> Any:
    """Load one of the plugins and return its package."""
    registry.load_plugin(plugin, {"path": str(folder), "provides": [f"{plugin}.nodes.Echo"]})
    return registry.get(f"{plugin}.nodes.Echo").package  # type: ignore[attr-defined]


def use(package: Any, version: str, choose: random.Random) -> Iterator[object]:
    """Import late in some of the ways, and return what is wrong."""
    for form in choose.choices(package.FORMS, k=choose.randrange(6)):
        answer = form(choose.randrange(LATE))
        if answer != version:
            yield form.__name__, version, answer
    if type(pickle.loads(pickle.dumps(package.Point()))) is not package.Point:
        yield "pickle", version


@contextmanager
def switched(interval: float) -> Iterator[None]:
    """Have the interpreter go to another thread after some seconds."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(interval)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


# A missing lock is found at once where threads change often, and a name that is gone too early where they do not.
@pytest.mark.slow
@pytest.mark.parametrize("interval", [sys.getswitchinterval(), OFTEN], ids=["as-usual", "often"])
def test_everything_at_once(folders: dict[str, tuple[str, Path]], pytestconfig: pytest.Config, interval: float) -> None:
    """No deadlock, no wrong module, no error; a living object of an unloaded plugin goes on as it was."""
    for plugin, folder in folders.values():
        with NodeRegistry(discover=False) as registry:
            load(registry, plugin, folder)
    exploring = pytestconfig.getoption("--hypothesis-profile") == "exploring"
    end, latest = time.process_time() + (LONG if exploring else SHORT), time.monotonic() + 180
    wrong: list[object] = []
    rounds: list[int] = []

    def work(number: int) -> None:
        choose = random.Random(SEED + number)
        while time.process_time() < end and time.monotonic() < latest and not wrong:
            version = choose.choice(list(folders))
            with NodeRegistry(discover=False) as registry:
                package = load(registry, *folders[version])
                wrong.extend(use(package, version, choose))
            wrong.extend(use(package, version, choose))
            rounds.append(1)

    def guarded(number: int) -> None:
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001 - a thread's error would be lost
            wrong.append("".join(traceback.format_exception(error)))

    threads = [threading.Thread(target=guarded, args=[number], daemon=True) for number in range(THREADS)]
    with switched(interval):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0, latest + 60 - time.monotonic()))
    if any(thread.is_alive() for thread in threads):
        faulthandler.dump_traceback()
    assert not any(thread.is_alive() for thread in threads)
    assert not wrong, "\n".join(map(str, wrong))
    assert len(rounds) > THREADS


@pytest.mark.slow
def test_threads_unload_at_once(local_plugin: Callable[..., Path], cache: Path) -> None:
    """What other processes are told of is given up once, whoever of them comes last."""
    config = {"path": str(local_plugin()), "provides": ["echo_plugin.nodes.Echo"]}
    wrong: list[BaseException] = []
    together = threading.Barrier(4)

    def work() -> None:
        try:
            for _ in range(600):
                with NodeRegistry(discover=False) as registry:
                    registry.load_plugin("echo", config)
                    together.wait(30)
        except BaseException as error:  # noqa: BLE001 - a thread's error would be lost
            wrong.append(error)
            together.abort()

    threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
    with switched(OFTEN):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
    assert not wrong, wrong
    assert LIVE_PLUGINS not in os.environ
