"""Actors of a real cluster of Ray with two nodes: the same results, and nothing lost with a node."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from cuvis_ai_core.batch import Limits, Local, Ray, run_cubes
from cuvis_ai_core.errors import BatchError

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


def test_a_run_without_an_address_joins_no_cluster_of_somebody_else(folder: Path, cubes: Callable[..., None]) -> None:
    """Ray remembers which one was started here last, also one that is gone."""
    pytest.importorskip("ray")
    cubes("fine")
    code = "from cuvis_ai_core.batch import Ray, run_cubes\n"
    code += "print(run_cubes('rx.yaml', 'cubes/*.npy', 'out', engine=Ray(workers=1)).done)"
    with tempfile.TemporaryDirectory(dir="/tmp") as place:  # sockets have no longer path
        (Path(place) / "ray").mkdir()
        (Path(place) / "ray" / "ray_current_cluster").write_text("127.0.0.1:9")
        variables = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
        variables |= {"RAY_TMPDIR": place, "RAY_AUTH_MODE": "disabled", "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
        done = subprocess.run(
            [sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=False, timeout=300
        )
    assert done.stdout.strip() == "1", done.stderr


def test_an_address_where_nobody_answers_is_said_at_once(folder: Path, cubes: Callable[..., None]) -> None:
    """Ray itself tries for minutes."""
    cubes("fine")
    with pytest.raises(BatchError, match=r"no cluster of Ray at '127\.0\.0\.1:9': .*refused"):
        run_cubes("rx.yaml", "cubes/*.npy", "out", engine=Ray("127.0.0.1:9"))


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


def test_a_machine_that_joins_takes_part(folder: Path, cubes: Callable[..., None], cluster: Any) -> None:
    """The worker that waited for it gets cubes, and the others did not wait."""
    cubes("slow", 60)
    cluster.remove_node(cluster.list_all_nodes()[-1])
    reports = []

    def work() -> None:
        engine = Ray(cluster.address, workers=2)
        reports.append(run_cubes("moody.yaml", "cubes/*.npy", "out", plugins="plugins.yaml", engine=engine))

    thread = threading.Thread(target=work)
    thread.start()
    while thread.is_alive() and not list((folder / "out").glob("*/run.json")):
        time.sleep(0.1)
    cluster.add_node(num_cpus=1)  # which Ray does in the main thread only
    thread.join()
    assert [(each.done, each.failed) for each in reports] == [(60, 0)]
    records = (json.loads(file.read_text())["batch"] for file in (folder / "out").glob("*/run.json"))
    assert {each["worker"] for each in records} == {"ray-0", "ray-1"}


def test_a_cube_that_lets_no_other_thread_run_is_ended_in_time(
    folder: Path, cubes: Callable[..., None], cluster: Any
) -> None:
    """As one that hangs: its actor is ended, and another one takes the others."""
    cubes("holds")
    cubes("hangs")
    cubes("fine", 4)
    engine = Ray(cluster.address, workers=2)
    limits = Limits(timeout=5)
    report = run_cubes("moody.yaml", "cubes/*.npy", "out", plugins="plugins.yaml", engine=engine, limits=limits)
    assert (report.done, report.failed) == (4, 2)
    assert [each.tries for each in report.failures] == [1, 1]
    assert all("longer than 5 s" in str(each.error) for each in report.failures)
    _, alive = psutil.wait_procs(actors(), timeout=20)
    assert not alive


def test_what_misbehaves_fails_alone(folder: Path, cubes: Callable[..., None], cluster: Any) -> None:
    """A cube that raises, crashes its actor, or eats memory; the others are done."""
    bad = ("raises", "aborts", "killed", "nameless", "memory", "eats")
    for mood in bad:
        cubes(mood)
    cubes("fine", 5)
    engine = Ray(cluster.address, workers=2, memory=2**31)
    report = run_cubes("moody.yaml", "cubes/*.npy", "out", plugins="plugins.yaml", engine=engine)
    assert (report.done, report.failed, report.left) == (5, 6, 0)
    why = {each.unit.name: each for each in report.failures}
    assert set(why) == {f"{mood}0" for mood in bad}
    assert {name: why[f"{name}0"].tries for name in bad} == {
        **dict.fromkeys(("raises", "memory", "eats"), 1),
        **dict.fromkeys(("aborts", "killed", "nameless"), 2),
    }
    assert "MemoryError" in str(why["eats0"].error)
    assert why["eats0"].node == "moody"


def test_actors_end_with_their_driver(folder: Path, cubes: Callable[..., None], cluster: Any) -> None:
    """Though it was killed, and they let no other thread run."""
    cubes("holds", 2)
    engine = f"Ray({cluster.address!r}, workers=2)"
    call = f"run_cubes('moody.yaml', 'cubes/*.npy', 'out', plugins='plugins.yaml', engine={engine})"
    code = f"from cuvis_ai_core.batch import Ray, run_cubes; {call}"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def busy() -> list[psutil.Process]:
        return [each for each in actors() if "RayWorker.run" in " ".join(each.cmdline())]

    end = time.monotonic() + 60
    while len(working := busy()) < 2 and time.monotonic() < end:
        time.sleep(0.1)
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(working, timeout=30)
    assert len(working) == 2
    assert not alive


def actors() -> list[psutil.Process]:
    """Return the processes of actors that this one's cluster has."""
    found = []
    for each in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if "ray::RayWorker" in " ".join(each.cmdline()):
                found.append(each)
    return found
