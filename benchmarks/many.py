"""What many cubes cost beside the work on them: `python benchmarks/many.py [records] [cubes]`.

The way of a cube to a worker and back (an empty unit: a cube that is not there), looking back at what is done, the
driver's memory, and how the cubes per second grow with workers beside a plain loop that writes the same results. That
loop has one core: else it reads, hashes and writes on others too, and no number of workers is linear to it. Where other
programs run, cubes per second say little; the processor's time for a cube still does.
"""

import functools
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.batch import Local, Ray, run_cubes
from cuvis_ai_core.batch.cube_records import Records
from cuvis_ai_core.batch.engine import Crew, Setup
from cuvis_ai_core.batch.job import fingerprint, make_job
from cuvis_ai_core.batch.job_cubes import Unit, find_units

PIPELINE = "nodes:\n  - {name: rx, class_name: RXDetector}\n"
ROUND_TRIPS = 500
DIFFERENT = 24
"""Large cubes that are not the same file under another name."""


def main(count: int = 10_000, large: int = 120) -> None:
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
        _throughput(folder, large)


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
        record = {"written": {"outputs.npz": "0" * 64}, "sizes": {"outputs.npz": 0}, "batch": batch, "files": []}
        (results / "run.json").write_text(json.dumps(record, indent=2) + " " * 3000)
    for name in (count // 100, count):
        begun = time.perf_counter()
        units = find_units(str(cubes / "*.npy"), suffixes)[:name]
        found, computed = time.perf_counter(), time.process_time()
        done = sum(known is not None for _, known in Records(output, print_).known(units))
        assert done == name
        seconds, computed = time.perf_counter() - found, time.process_time() - computed
        print(f"find all                      {found - begun:8.2f} s", flush=True)
        print(f"look back at {name:<6}           {seconds:8.2f} s; {computed:.2f} s of processor", flush=True)
    for number in (count // 100, count):
        code = (
            "import re, sys; from cuvis_ai_core.batch import run_cubes\n"
            f"run_cubes({str(folder / 'p.yaml')!r}, {str(cubes)!r} + sys.argv[1], {str(output)!r})\n"
            "status = open('/proc/self/status').read()\n"  # what getrusage says begins with that of a large parent
            "print(int(re.search(r'VmHWM:\\s+(\\d+)', status)[1]) / 1024)"
        )
        pattern = "/c0000*.npy" if number < count else "/*.npy"
        _claim(folder, output, print_)
        done_ = subprocess.run([sys.executable, "-c", code, pattern], capture_output=True, text=True, check=True)
        print(f"driver's memory, {pattern:12} {float(done_.stdout):8.1f} MiB", flush=True)


def _claim(folder: Path, output: Path, print_: str) -> None:
    from cuvis_ai_core.batch.folder_ownership import claim

    with NodeRegistry() as registry:
        contents = make_job(registry, folder / "p.yaml", None, {}).contents()
    assert fingerprint(contents) == print_
    claim(output, contents)


def _throughput(folder: Path, count: int) -> None:
    """Compare a plain loop on one core with one and two workers, on cubes that are large enough to take some time."""
    cubes = folder / "large"
    cubes.mkdir()
    for number in range(count):
        if number < DIFFERENT:
            np.save(cubes / f"c{number}.npy", np.random.default_rng(number).random((400, 400, 60), np.float32))
        else:
            os.link(cubes / f"c{number % DIFFERENT}.npy", cubes / f"c{number}.npy")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    plain = _rate("plain loop, one core", folder / "plain", count, functools.partial(_plain, folder, cubes))
    for workers in (1, 2):
        output, engine = folder / f"by{workers}", Local(workers, threads=1)
        run = functools.partial(run_cubes, folder / "p.yaml", str(cubes / "*.npy"), output, engine=engine)
        rate = _rate(f"{workers} workers", output, count, run)
        print(f"{'':29} {rate / plain / workers:8.2f} x linear", flush=True)


def _rate(name: str, output: Path, count: int, run: Callable[[], object]) -> float:
    """Run cubes, print how many there are in a second and what each costs, and return the rate without the start."""
    before, begun = _processor(), time.perf_counter()
    run()
    whole, cost = count / (time.perf_counter() - begun), (_processor() - before) / count
    records = [(file.stat().st_mtime, json.loads(file.read_text())["batch"]) for file in output.glob("*/run.json")]
    assert len(records) == count
    steady: float = count / (max(end for end, _ in records) - min(end - about["seconds"] for end, about in records))
    print(f"{name:29} {steady:8.2f} cubes/s, {whole:.2f} with its start; {cost:.3f} s of processor each", flush=True)
    return steady


def _processor() -> float:
    """Return the seconds that this process and its children that ended have computed."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _plain(folder: Path, cubes: Path) -> None:
    """Run cube after cube, in a process of its own that has one core."""
    code = (
        "import os, sys; from pathlib import Path; from cuvis_ai_core import NodeRegistry\n"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from cuvis_ai_core.batch.job import make_job; from cuvis_ai_core.batch.job_cubes import Unit\n"
        "from cuvis_ai_core.batch.worker import Worker\n"
        "folder, cubes = map(Path, sys.argv[1:])\n"
        "job = make_job(NodeRegistry(), folder / 'p.yaml', None, {})\n"
        "worker = Worker(job, folder / 'plain', '0' * 32, 'plain')\n"
        "for file in sorted(cubes.iterdir()): assert 'error' not in worker.run(Unit(str(file), file.stem))\n"
    )
    subprocess.run([sys.executable, "-c", code, str(folder), str(cubes)], check=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
