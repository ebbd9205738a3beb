"""What many cubes cost beside the work on them: `python benchmarks/many.py [cubes]`.

The way of a cube to a worker and back (an empty unit: a cube that is not there), looking back at what is done, the
driver's memory, and how the cubes per second grow with workers beside a plain loop that writes the same results.
"""

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.batch import Local, Ray, run_cubes
from cuvis_ai_core.batch.engine import Crew, Setup
from cuvis_ai_core.batch.job import fingerprint, make_job
from cuvis_ai_core.batch.records import Records
from cuvis_ai_core.batch.units import Unit, find_units
from cuvis_ai_core.batch.worker import Worker

PIPELINE = "nodes:\n  - {name: rx, class_name: RXDetector}\n"
ROUND_TRIPS = 500


def main(count: int) -> None:
    """Measure, and print a line for each."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "p.yaml").write_text(PIPELINE, encoding="utf-8")
        with NodeRegistry() as registry:
            job = make_job(registry, folder / "p.yaml", None, {})
        setup = Setup(job, folder / "empty", "0" * 32)
        print(f"empty unit, local             {round_trip(Local().crew(setup)) * 1e3:8.2f} ms", flush=True)
        if importlib.util.find_spec("ray") is not None:
            os.environ["RAY_AUTH_MODE"] = "disabled"  # else a token comes to lie in the home folder
            print(f"empty unit, Ray               {round_trip(Ray(workers=1).crew(setup)) * 1e3:8.2f} ms", flush=True)
        _look_back(folder, count)
        _throughput(folder)


def round_trip(crew: Crew) -> float:
    """Return the seconds of a cube's way to a worker and back, the median of many."""
    crew.start(0)
    while (event := crew.next(1)) is None or event.kind != "ready":
        pass
    times = []
    for _ in range(ROUND_TRIPS):
        begun = time.perf_counter()
        crew.give(0, Unit("/none.npy", "none"), 1)
        while crew.next(1) is None:
            pass
        times.append(time.perf_counter() - begun)
    crew.close()
    return statistics.median(times)


def _look_back(folder: Path, count: int) -> None:
    """Have the records of many cubes, and look at them as the same command does that goes on."""
    cubes, output = folder / "cubes", folder / "out"
    cubes.mkdir()
    with NodeRegistry() as registry:
        job = make_job(registry, folder / "p.yaml", None, {})
        suffixes = list(registry.cube_readers())
    print_ = fingerprint(job.contents())
    for number in range(count):
        cube, results = cubes / f"c{number:06}.npy", output / f"c{number:06}"
        results.mkdir(parents=True)
        cube.write_bytes(b"x")
        (results / "outputs.npz").write_bytes(b"")
        state = Unit(str(cube), cube.stem).state()
        batch = {"fingerprint": print_, "cube_state": state, "seconds": 1.0, "worker": "local-0", "tries": 1}
        record = {"written": {"outputs.npz": "0" * 64}, "batch": batch, "files": []}
        (results / "run.json").write_text(json.dumps(record, indent=2) + " " * 3000)
    for name in (count // 100, count):
        begun = time.perf_counter()
        units = find_units(str(cubes / "*.npy"), suffixes)[:name]
        found = time.perf_counter()
        done = sum(known is not None for _, known in Records(output, print_).known(units))
        assert done == name
        print(
            f"find all, look back at {name:6}  {found - begun:8.2f} s {time.perf_counter() - found:8.2f} s", flush=True
        )
    for number in (count // 100, count):
        code = (
            "import resource, sys; from cuvis_ai_core.batch import run_cubes\n"
            f"run_cubes({str(folder / 'p.yaml')!r}, {str(cubes)!r} + sys.argv[1], {str(output)!r})\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
        )
        pattern = "/c0000*.npy" if number < count else "/*.npy"
        _claim(folder, output, print_)
        done_ = subprocess.run([sys.executable, "-c", code, pattern], capture_output=True, text=True, check=True)
        print(f"driver's memory, {pattern:12} {float(done_.stdout):8.1f} MiB", flush=True)


def _claim(folder: Path, output: Path, print_: str) -> None:
    from cuvis_ai_core.batch.place import claim

    with NodeRegistry() as registry:
        contents = make_job(registry, folder / "p.yaml", None, {}).contents()
    assert fingerprint(contents) == print_
    claim(output, contents)


def _throughput(folder: Path) -> None:
    """Compare a plain loop with one and two workers, on cubes that are large enough to take some time."""
    cubes = folder / "large"
    cubes.mkdir()
    for number in range(24):
        np.save(cubes / f"c{number}.npy", np.random.default_rng(number).random((400, 400, 60), np.float32))
    with NodeRegistry() as registry:
        job = make_job(registry, folder / "p.yaml", None, {})
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    worker = Worker(job, folder / "plain", "0" * 32, "plain")
    units = [Unit(str(file), file.stem) for file in sorted(cubes.iterdir())]
    worker.run(units[0])
    begun = time.perf_counter()
    for unit in units:
        worker.run(unit)
    plain = len(units) / (time.perf_counter() - begun)
    print(f"plain loop                    {plain:8.2f} cubes/s", flush=True)
    for workers in (1, 2):
        begun = time.perf_counter()
        run_cubes(folder / "p.yaml", str(cubes / "*.npy"), folder / f"by{workers}", engine=Local(workers, threads=1))
        rate = len(units) / (time.perf_counter() - begun)
        print(
            f"{workers} workers, start included      {rate:8.2f} cubes/s   {rate / plain / workers:.2f} x linear",
            flush=True,
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
