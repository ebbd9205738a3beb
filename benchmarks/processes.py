"""What a process of its own costs, as ratios against plain copies, a bare interpreter and a peer in the same run.

python benchmarks/processes.py [runs]

- 64 MB there and 64 MB back, against two plain copies of that size, and against the transfer of the same array by
  pyisolate, if its Python is named: PYISOLATE_PYTHON (an environment with `pip install pyisolate numpy`).
- A small call.
- From nothing to the first answer with a warm cache, against `python -c "import <plugin>"` in that environment.
- Calls of two workers at once, against one after the other.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cuvis_ai_core import NodeRegistry

PROJECT = Path(__file__).resolve().parents[1] / "tests/projects/process_nodes"
NODES = ["Echo", "Busy"]
CONFIG = {
    "path": str(PROJECT),
    "provides": [f"process_nodes.nodes.{name}" for name in NODES],
    "isolation": "process",
}
MEGABYTES = 64


def main(runs: int) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as cache:
        NodeRegistry.set_cache_dir(cache)
        with NodeRegistry(discover=False) as registry:
            registry.load_plugin("process_nodes", CONFIG)
            echo: Any = registry.get("Echo")()
            large(echo, runs)
            small(echo)
            python = registry.plugin_info("process_nodes").target / "bin/python"
        start(python, runs)
        several(runs)
    peer(runs)


def large(echo: Any, runs: int) -> None:  # noqa: ANN401 - a class of the plugin
    """Compare a round trip with two copies, alternating, so that both meet the same machine."""
    cube = np.random.default_rng(0).random(MEGABYTES * 2**17)
    into = np.empty_like(cube)

    def there_and_back() -> object:
        return echo.forward(value=cube)

    def fresh() -> None:
        cube.copy(), cube.copy()

    def warm() -> None:
        np.copyto(into, cube)
        np.copyto(into, cube)

    for _ in range(3):
        there_and_back()
        fresh()
        warm()
    times: dict[str, list[float]] = {each.__name__: [] for each in (there_and_back, fresh, warm)}
    for _ in range(runs):
        for each in (there_and_back, fresh, warm):
            times[each.__name__].append(seconds(each))
    trip = statistics.median(times["there_and_back"])
    print(f"{MEGABYTES} MB there and back      {trip * 1e3:8.1f} ms")
    for name in ("fresh", "warm"):
        base = statistics.median(times[name])
        print(f"  two copies, {name:5} memory {base * 1e3:8.1f} ms   ratio {trip / base:.2f}")


def small(echo: Any) -> None:  # noqa: ANN401
    """Time a call with an array of twelve numbers."""
    cube = np.ones((1, 2, 2, 3), np.float32)
    times = sorted(seconds(lambda: echo.forward(value=cube)) for _ in range(3000))
    print(f"small call                {times[1500] * 1e6:8.0f} µs   (fastest {times[0] * 1e6:.0f} µs)")


def start(python: Path, runs: int) -> None:
    """Compare the way from a loaded registry to the first answer with a bare import."""
    ours, bare = [], []
    for _ in range(runs):
        bare.append(seconds(lambda: subprocess.run([python, "-I", "-c", "import process_nodes.nodes"], check=True)))
        with NodeRegistry(discover=False) as registry:
            ours.append(seconds(lambda: first_answer(registry)))
    ratio = statistics.median(ours) / statistics.median(bare)
    print(f"warm start to first answer {statistics.median(ours) * 1e3:7.0f} ms   ratio {ratio:.2f} to a bare import")


def first_answer(registry: NodeRegistry) -> None:
    """Load the plugin and run a node."""
    registry.load_plugin("process_nodes", CONFIG)
    registry.get("Echo")().forward(value=1)


def several(runs: int) -> None:
    """Compare busy workers at once with the same ones in turn."""
    registries = [NodeRegistry(discover=False) for _ in range(2)]
    for each in registries:
        each.load_plugin("process_nodes", CONFIG)
    nodes: list[Any] = [each.get("Busy")() for each in registries]
    work: list[Callable[[], object]] = [partial(node.forward, turns=2_000_000) for node in nodes]

    def at_once() -> None:
        threads = [threading.Thread(target=each) for each in work]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def in_turn() -> None:
        for each in work:
            each()

    in_turn()
    once, turn = (statistics.median(seconds(each) for _ in range(runs)) for each in (at_once, in_turn))
    print(f"two busy workers at once  {once * 1e3:8.0f} ms   ratio {once / turn:.2f} to one after the other")
    for each in registries:
        each.close()


PEER = """
import asyncio, os, statistics, sys, time
import numpy as np
import pyisolate

EXTENSION = '''
from pyisolate import ExtensionBase
class Echo(ExtensionBase):
    async def echo(self, value):
        return value
'''

async def main(folder, runs, megabytes):
    os.makedirs(folder + "/extension", exist_ok=True)
    open(folder + "/extension/__init__.py", "w").write(EXTENSION)
    manager = pyisolate.ExtensionManager(
        pyisolate.ExtensionBase, pyisolate.ExtensionManagerConfig(venv_root_path=folder + "/venvs")
    )
    extension = manager.load_extension(pyisolate.ExtensionConfig(
        name="echo", module_path=folder + "/extension", isolated=True, dependencies=["numpy"], apis=[],
        share_torch=False, sandbox_mode="disabled",
    ))
    cube = np.random.default_rng(0).random(megabytes * 2**17)
    times = []
    for _ in range(runs):
        begun = time.perf_counter()
        answer = await extension.echo(cube)
        times.append(time.perf_counter() - begun)
    print(f"pyisolate, the same array {statistics.median(times) * 1e3:8.1f} ms   (answer: {type(answer).__name__})")
    await extension.stop()

asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
"""


def peer(runs: int) -> None:
    """Time the transfer of the array by pyisolate."""
    python = os.environ.get("PYISOLATE_PYTHON")
    if python is None:
        print("pyisolate was not measured: PYISOLATE_PYTHON names no Python that has it")
        return
    with tempfile.TemporaryDirectory() as folder:
        path = f"{Path(python).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            [python, "-c", PEER, folder, str(max(3, runs // 4)), str(MEGABYTES)],
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        lines = (done.stdout + done.stderr).strip().splitlines() or ["it said nothing"]
        print(done.stdout.strip() if done.returncode == 0 else f"pyisolate failed: {lines[-1]}")


def seconds(work: Callable[[], object]) -> float:
    """Return how long something takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
