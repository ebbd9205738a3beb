"""Actors of a real cluster of Ray with two nodes: the same results, and nothing lost with a node."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cuvis_ai_core.batch import Local, Ray, run_cubes

pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def hashes(folder: Path) -> dict[str, str]:
    """Return the hash of the arrays of each cube."""
    return {
        file.parent.name: json.loads(file.read_text())["written"]["outputs.npz"] for file in folder.glob("*/run.json")
    }


def test_a_cluster_gives_what_this_machine_gives(folder: Path, cubes: Callable[..., None], cluster: Any) -> None:
    """Bit for bit; cubes that fail and workers that die are noted the same way."""
    for mood in ("fine", "raises", "killed"):
        cubes(mood, 2)
    here = run_cubes("moody.yaml", "cubes/*.npy", "here", plugins="plugins.yaml", engine=Local(workers=2))
    engine = Ray(cluster.address, workers=2)
    there = run_cubes("moody.yaml", "cubes/*.npy", "there", plugins="plugins.yaml", engine=engine)
    assert (there.done, there.failed) == (here.done, here.failed) == (2, 4)
    assert hashes(folder / "there") == hashes(folder / "here")
    assert {each.unit.name for each in there.failures} == {each.unit.name for each in here.failures}


def test_a_machine_that_goes_costs_no_cube(folder: Path, cubes: Callable[..., None], cluster: Any) -> None:
    """Its cube is tried again elsewhere."""
    cubes("slow", 12)
    other = cluster.list_all_nodes()[-1]

    def take_away() -> None:
        while not list((folder / "out").glob("*/run.json")):
            time.sleep(0.1)
        cluster.remove_node(other, allow_graceful=False)

    thread = threading.Thread(target=take_away)
    thread.start()
    report = run_cubes(
        "moody.yaml", "cubes/*.npy", "out", plugins="plugins.yaml", engine=Ray(cluster.address, workers=2)
    )
    thread.join()
    assert (report.done, report.failed, report.left) == (12, 0, 0)
