"""Many at once: one works, the others wait and say so, and nobody takes away what somebody uses."""

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from cuvis_ai_hookspecs import hookimpl

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.plugins.cache.store import Store
from cuvis_ai_core.plugins.installing.installer import Installer
from cuvis_ai_core.plugins.installing.uv_commands import Uv
from cuvis_ai_core.testing.git_host import GitHost

LOAD = """\
import logging, sys
from cuvis_ai_core import NodeRegistry

class Count(logging.Handler):
    programs = []
    def emit(self, record):
        if record.msg.startswith("running"):
            self.programs.append(record.getMessage())

logger = logging.getLogger("cuvis_ai_core")
logger.setLevel(logging.DEBUG)
logger.addHandler(Count())
registry = NodeRegistry(discover=False)
registry.load_plugin("echo", {"repo": sys.argv[1], "tag": sys.argv[2], "provides": ["echo_plugin.nodes.Echo"]})
print(registry.get("Echo").VERSION, len(Count.programs))
"""

AGAIN_AND_AGAIN = """\
import sys, time
from cuvis_ai_core import NodeRegistry
for _ in range(int(sys.argv[2])):
    with NodeRegistry(discover=False) as registry:
        registry.load_plugin("echo", {"repo": sys.argv[1], "tag": "v1.0.0", "provides": ["echo_plugin.nodes.Echo"]})
        print(registry.get("Echo")().VERSION)
    time.sleep(0.05)  # now and then nobody uses it
"""

CLEAR_AND_PRUNE = """\
import sys
from select import select
from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.plugins.cache.housekeeping import prune
from cuvis_ai_core.plugins.cache.store import Store
from cuvis_ai_core.plugins.installing.installer import Installer
from cuvis_ai_core.plugins.installing.uv_commands import Uv
removed = 0
while not select([sys.stdin], [], [], 0.02)[0]:
    removed += len(prune(Store(NodeRegistry.get_cache_dir()), max_size=0))
    NodeRegistry.clear_plugin_cache("echo")
print(removed)
"""

SIXTEEN = 16


def config(url: str, tag: str = "v1.0.0") -> dict[str, object]:
    """Return a manifest entry."""
    return {"repo": url, "tag": tag, "provides": ["echo_plugin.nodes.Echo"]}


def start(code: str, *arguments: str, cache: Path) -> "subprocess.Popen[str]":
    """Start a process with a plugin cache."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "CUVIS_PLUGINS_DIR": str(cache)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def answers(processes: Sequence["subprocess.Popen[str]"]) -> list[list[str]]:
    """Return the words that processes printed in the end, after all have succeeded."""
    ended = [(*process.communicate(), process.returncode) for process in processes]
    assert [status for *_, status in ended] == [0] * len(ended), "".join(error for _, error, _ in ended)
    return [output.split() for output, *_ in ended]


@pytest.mark.slow
def test_sixteen_processes_and_one_missing_plugin(
    git_plugin: Callable[..., str], git_host: GitHost, cache: Path
) -> None:
    """One fetches and builds, with as many requests and programs as a process alone; all succeed."""
    url, before = git_plugin(), git_host.requests
    ((_, programs),) = answers([start(LOAD, url, "v1.0.0", cache=cache.with_name("of its own"))])
    alone = git_host.requests - before
    said = answers([start(LOAD, url, "v1.0.0", cache=cache) for _ in range(SIXTEEN)])
    assert [version for version, _ in said] == ["1.0.0"] * SIXTEEN
    assert sum(int(count) for _, count in said) == int(programs)
    assert git_host.requests - before == 2 * alone
    assert len(list(cache.glob(".targets/*/*"))) == 1
    assert list((cache / ".tmp").iterdir()) == []


def test_sixteen_threads_and_one_missing_plugin(
    git_plugin: Callable[..., str], git_host: GitHost, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As processes, each with a registry of its own; the class is one."""
    url, before, barrier = git_plugin(), git_host.requests, threading.Barrier(SIXTEEN)
    caplog.set_level(logging.DEBUG, "cuvis_ai_core")
    caplog.clear()

    def load(_: int) -> tuple[NodeRegistry, type]:
        registry = NodeRegistry(discover=False)
        barrier.wait()
        registry.load_plugin("echo", config(url))
        return registry, registry.get("Echo")

    with ThreadPoolExecutor(SIXTEEN) as pool:
        loaded = list(pool.map(load, range(SIXTEEN)))
    assert len({found for _, found in loaded}) == 1
    assert git_host.requests - before == 3
    started = [line for line in caplog.messages if line.startswith("running ")]
    for step in ("fetch --quiet", "checkout --quiet", "uv build", "uv pip install"):
        assert sum(step in line for line in started) == 1, step
    assert len(list(cache.glob(".targets/*/*"))) == 1
    for registry, _ in loaded:
        registry.close()


@pytest.mark.slow
def test_two_tags_and_two_plugins_at_once(git_plugin: Callable[..., str], cache: Path) -> None:
    """Nobody waits for, or gets, what is not asked for."""
    url = git_plugin("1.0.0", "2.0.0")
    said = answers([start(LOAD, url, f"v{which}.0.0", cache=cache) for which in (1, 2, 1, 2, 1, 2)])
    assert [version for version, _ in said] == ["1.0.0", "2.0.0"] * 3
    assert sorted(path.name for path in cache.glob("echo@*")) == ["echo@v1.0.0", "echo@v2.0.0"]


@pytest.mark.slow
def test_nothing_is_taken_away_from_those_who_load(git_plugin: Callable[..., str], cache: Path) -> None:
    """Four processes load twenty times each while one clears and prunes all the time: all succeed."""
    url = git_plugin()
    remover = start(CLEAR_AND_PRUNE, cache=cache)
    loaders = [start(AGAIN_AND_AGAIN, url, "20", cache=cache) for _ in range(4)]
    assert answers(loaders) == [["1.0.0"] * 20] * 4
    (said,) = answers([remover])
    assert int(said[-1]) > 0


def test_a_load_that_waits_says_for_what(registry: NodeRegistry, git_plugin: Callable[..., str], cache: Path) -> None:
    """Observers hear that another process builds it, and then what happens next."""
    url, heard, waiting = git_plugin(), [], threading.Event()

    class Observer:
        @hookimpl
        def cuvis_ai_plugin_state(self, plugin: str, state: str, detail: str) -> None:
            heard.append((plugin, state, detail))
            waiting.set()

    registry.register_hooks(Observer())
    with Store(cache).lock("echo@v1.0.0"):
        loading = threading.Thread(target=registry.load_plugin, args=("echo", config(url)))
        loading.start()
        waiting.wait()
    loading.join()
    assert heard[0] == ("echo", "downloading", "waiting for another process that builds echo@v1.0.0")
    assert heard[1] == ("echo", "downloading", f"{url} v1.0.0")
    assert heard[-1] == ("echo", "active", "Echo")


def test_a_builder_that_was_killed_is_not_waited_for(cache: Path, git_plugin: Callable[..., str]) -> None:
    """The system lets go of its lock."""
    holding = start(
        "import sys\nfrom pathlib import Path\nfrom cuvis_ai_core.plugins.cache.store import Store\n"
        "with Store(Path(sys.argv[1])).lock('echo@v1.0.0'):\n    print(flush=True)\n    sys.stdin.read()\n",
        str(cache),
        cache=cache,
    )
    assert holding.stdout is not None
    holding.stdout.readline()
    waiter = start(LOAD, git_plugin(), "v1.0.0", cache=cache)
    holding.kill()
    holding.communicate()
    ((version, _),) = answers([waiter])
    assert version == "1.0.0"


def test_what_another_installed_while_one_waited_is_taken(
    registry: NodeRegistry, local_plugin: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever gets the lock looks again, and runs nothing."""
    entry = {"path": local_plugin(), "provides": ["echo_plugin.nodes.Echo"]}
    lock, waited = Store.lock, list[str]()

    @contextmanager
    def behind_another(store: Store, name: str, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
        if name.startswith("resolution-") and not waited:
            waited.append(name)
            NodeRegistry(discover=False).load_plugin("echo", entry)
            monkeypatch.setattr(Uv, "call", None)
            monkeypatch.setattr(Installer, "read_projects", None)
        with lock(store, name, waiting):
            yield

    monkeypatch.setattr(Store, "lock", behind_another)
    registry.load_plugin("echo", entry)
    assert len(waited) == 1
    assert registry.get("Echo").VERSION == "1.0.0"  # type: ignore[attr-defined]
