"""What a process of its own costs, as ratios against plain copies, a bare interpreter and a peer in the same run.

python benchmarks/processes.py [runs]

- 64 MB there and 64 MB back, against two plain copies of that size, and against the transfer of the same array by
  pyisolate, if its Python is named: PYISOLATE_PYTHON (an environment with `pip install pyisolate numpy torch uv`).
- A small call.
- From nothing to the first answer with a warm cache, against `python -c "import <plugin>"` in that environment.
- A pipeline with two busy nodes in two workers, against the same nodes in one.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from cuvis_ai_schemas.pipeline import PortSpec

from cuvis_ai_core import NodeRegistry, Pipeline
from cuvis_ai_core.node import ArrayNode

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


def large(echo: Any, runs: int) -> None:
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


def small(echo: Any) -> None:
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
    """Compare a pipeline with two busy nodes that need nothing of each other, in two workers and in one."""
    registries = [NodeRegistry(discover=False) for _ in range(2)]
    for each in registries:
        each.load_plugin("process_nodes", CONFIG)
    two, one = (both(registries[0].get("Busy")(), registries[number].get("Busy")()) for number in (1, 0))

    def in_two() -> object:
        return two.forward({"turns": 2_000_000})

    def in_one() -> object:
        return one.forward({"turns": 2_000_000})

    in_two(), in_one()
    at_once, in_turn = (statistics.median(seconds(each) for _ in range(runs)) for each in (in_two, in_one))
    print(f"pipeline, two busy nodes {at_once * 1e3:9.0f} ms   ratio {at_once / in_turn:.2f} to both in one worker")
    for each in registries:
        each.close()


def both(one: Any, other: Any) -> Pipeline:
    """Return a pipeline of two nodes, and one that waits for both."""
    total = Total()
    return Pipeline("busy").connect((one.outputs.total, total.inputs.one), (other.outputs.total, total.inputs.other))


class Total(ArrayNode):
    """Add two numbers."""

    INPUT_SPECS: ClassVar = {"one": PortSpec(int, ()), "other": PortSpec(int, ())}
    OUTPUT_SPECS: ClassVar = {"total": PortSpec(int, ())}

    def forward(self, one: int, other: int) -> dict[str, int]:
        """Return the sum."""
        return {"total": one + other}


PEER = """
import asyncio, os, statistics, sys, time
import numpy as np, pyisolate, torch

FACE = '''
import pyisolate
class Echo(pyisolate.ExtensionBase):
    async def on_module_loaded(self, module):
        pass
    async def echo(self, value):
        return value
'''

async def main(folder, runs, megabytes):
    os.makedirs(folder + "/extension")
    open(folder + "/extension/__init__.py", "w").close()
    open(folder + "/peer_face.py", "w").write(FACE)
    sys.path.insert(0, folder)
    os.environ["PYTHONPATH"] = folder
    from peer_face import Echo
    manager = pyisolate.ExtensionManager(Echo, pyisolate.ExtensionManagerConfig(venv_root_path=folder + "/venvs"))
    extension = manager.load_extension(pyisolate.ExtensionConfig(
        name="echo", module_path=folder + "/extension", isolated=True, dependencies=["numpy", "pyisolate"], apis=[],
        share_torch=True, sandbox_mode="disabled",
    ))
    cube = np.random.default_rng(0).random(megabytes * 2**17)
    for kind, value, often in (("tensor", torch.from_numpy(cube.copy()), runs), ("array", cube, 1)):
        times = []
        for _ in range(often):
            begun = time.perf_counter()
            answer = await extension.echo(value)
            times.append(time.perf_counter() - begun)
        seconds = statistics.median(times)
        print(f"pyisolate, as a {kind:6} {seconds * 1e3:17.1f} ms   (answer: {type(answer).__name__})", flush=True)
    extension.stop()

asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
"""


def peer(runs: int) -> None:
    """Time the transfer of the array by pyisolate, as an array of NumPy (once, since it takes so long) and of torch."""
    python = os.environ.get("PYISOLATE_PYTHON")
    if python is None:
        print("pyisolate was not measured: PYISOLATE_PYTHON names no Python that has it")
        return
    with tempfile.TemporaryDirectory() as folder:
        path = f"{Path(python).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            [python, "-c", PEER, folder, str(runs), str(MEGABYTES)],
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        print("\n".join(line for line in done.stdout.splitlines() if line.startswith("pyisolate")))
        if done.returncode:
            print(f"pyisolate failed: {(done.stderr.strip().splitlines() or ['it said nothing'])[-1]}")


def seconds(work: Callable[[], object]) -> float:
    """Return how long something takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
