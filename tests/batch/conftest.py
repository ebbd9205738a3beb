"""Small cubes, and pipelines whose nodes misbehave on some of them."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

NODES = '''\
import os
import re
import signal
import time

import numpy as np
from cuvis_ai_core.node import ArrayNode, PortSpec

SPEC = PortSpec(np.floating, (-1, -1, -1, -1))


class Moody(ArrayNode):
    """Does to a cube what its first value says."""

    INPUT_SPECS = {"cube": SPEC}
    OUTPUT_SPECS = {"cube": SPEC}

    def forward(self, cube):
        mood = int(np.asarray(cube[0, 0, 0, 0]))
        os.write(1, b"what a node prints is no answer ")
        if mood == 1:
            raise ValueError("this cube is not liked")
        if mood == 2:
            os.abort()
        if mood == 3:
            time.sleep(600)
        if mood == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        if mood == 5:
            raise MemoryError
        if mood == 7:
            [np.ones(2**25) for _ in range(64)]
        if mood == 9:
            re.match("(a|a)+$", "a" * 60 + "b")
        if mood == 8:
            os.kill(os.getpid(), 35)
        if mood == 6:
            time.sleep(0.3)
        return {"cube": cube * 2}
'''
PROJECT = """\
[build-system]
requires = ["uv_build"]
build-backend = "uv_build"

[project]
name = "moody"
version = "1.0.0"
dependencies = ["numpy"]

[tool.uv.build-backend]
module-root = ""
"""
MOODS = {
    "fine": 0,
    "raises": 1,
    "aborts": 2,
    "hangs": 3,
    "killed": 4,
    "memory": 5,
    "slow": 6,
    "eats": 7,
    "nameless": 8,
    "holds": 9,
}
"""What a node does with a cube: `eats` 16 GiB of memory, `holds` the interpreter so that no other thread runs."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working directory, with a plugin and a pipeline."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "moody" / "moody").mkdir(parents=True)
    (tmp_path / "moody" / "moody" / "__init__.py").write_text(NODES)
    (tmp_path / "moody" / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "plugins.yaml").write_text("plugins:\n  moody: {path: moody, provides: [moody.Moody]}\n")
    (tmp_path / "moody.yaml").write_text("nodes:\n  - {name: moody, class_name: Moody}\n")
    (tmp_path / "rx.yaml").write_text("nodes:\n  - {name: rx, class_name: RXDetector}\n")
    (tmp_path / "cubes").mkdir()
    return tmp_path


@pytest.fixture
def cubes(folder: Path) -> Callable[..., None]:
    """Return a function that writes cubes: a mood, how many, in which folder below `cubes`."""

    def write(mood: str = "fine", count: int = 1, below: str = ".") -> None:
        place = folder / "cubes" / below
        place.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            cube = np.random.default_rng(number).random((6, 5, 4)).astype(np.float32) * 0.5
            cube[0, 0, 0] = MOODS[mood]
            np.save(place / f"{mood}{number}.npy", cube)

    return write


@contextmanager
def start_cluster() -> Iterator[Any]:
    """Start a cluster of two nodes, each with one core; the machines have the variables of this moment."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")  # else a token comes to lie in the home folder
        patch.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
        made = Cluster()
        try:
            add_node(made, include_dashboard=False)  # the first one is the head
            add_node(made)
            yield made
        finally:
            ray.shutdown()
            made.shutdown()  # type: ignore[no-untyped-call]


def add_node(cluster: Any, **options: Any) -> None:
    """Add a node with one core."""
    for left in (2, 1, 0):
        try:
            cluster.add_node(num_cpus=1, **options)
            break
        except Exception:  # Ray waits 30 s for a node, which is too short where much else runs
            if not left:
                raise


@pytest.fixture
def new_cluster() -> Callable[[], AbstractContextManager[Any]]:
    """Return a function that starts a cluster of two nodes which have the variables of that moment."""
    return start_cluster


@pytest.fixture(scope="module")
def _shared_cluster(own_world: Callable[[], AbstractContextManager[None]]) -> Iterator[Any]:
    """Have one cluster for the tests of a file: to start one takes longer than most of them."""
    with own_world(), start_cluster() as made:
        yield made


@pytest.fixture
def cluster(_shared_cluster: Any) -> Iterator[Any]:
    """Have a cluster of two nodes, each with one core, whatever the tests before did with it."""
    import ray

    for _ in range(2 - len(_shared_cluster.list_all_nodes())):
        add_node(_shared_cluster)
    yield _shared_cluster
    ray.shutdown()
