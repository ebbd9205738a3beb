"""Kill what works on many cubes at random instants, and see that nothing is lost: `python tools/kills.py local 50`.

`local` kills drivers and workers, fills the disk (where a small one can be mounted) and starts a second driver into the
same folder; `ray` kills drivers, workers and raylets of a cluster on loopback. The plugin comes from a Git tag; more
kinds of plugins may follow it in the pipeline. After each instant:

- every result that is there is whole, with the hashes of its record;
- no cube was begun again that had its results, and what was begun twice in one run is said to have been;
- the run goes on, or the same command does, until every cube is done, or has failed that is faulty.

Ten thousand cubes, one in a hundred faulty, a driver killed ten times and gone on with:
`python tools/kills.py local 10 --cubes 10000 --faulty 0.01 --every 30 --pause 0 --victims driver`.
"""

import argparse
import csv
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from cuvis_ai_core.testing import GitHost

FIRST = """\
import os
import time

import numpy as np
from cuvis_ai_core.node import ArrayNode, PortSpec

SPEC = PortSpec(np.floating, (-1, -1, -1, -1))


class Slow(ArrayNode):
    INPUT_SPECS = {"cube": SPEC}
    OUTPUT_SPECS = {"cube": SPEC}

    def forward(self, cube):
        number = int(np.asarray(cube[0, 0, 0, 0]))
        if number < 0:
            raise ValueError("this cube is not liked")
        handle = os.open(BEGUN, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(handle, f"{number}\\n".encode())
        os.close(handle)
        if cube.shape[1] == CRASHES:
            os.abort()
        time.sleep(PAUSE * (1 + number % 7))
        return {"cube": cube * 2}
"""
ALONE = """\
import numpy as np
from cuvis_ai_core.node import ArrayNode, PortSpec

SPEC = PortSpec(np.floating, (-1, -1, -1, -1))


class Alone(ArrayNode):
    INPUT_SPECS = {"cube": SPEC}
    OUTPUT_SPECS = {"cube": SPEC}

    def forward(self, cube):
        return {"cube": cube + 1}
"""
LAYER = """\
import torch
from cuvis_ai_core.node import Node, PortSpec

SPEC = PortSpec(torch.float32, (-1, -1, -1, -1))


class Layer(Node):
    INPUT_SPECS = {"cube": SPEC}
    OUTPUT_SPECS = {"cube": SPEC}

    def forward(self, cube, **_):
        return {"cube": torch.nn.functional.relu(cube)}
"""
PLUGINS = {"slow": FIRST, "alone": ALONE, "layer": LAYER}
"""Code of the plugins: one from a Git tag, one in a process of its own, one with torch."""

PROJECT = '[project]\nname = "{0}"\nversion = "1.0.0"\ndependencies = ["numpy"]\n'
RANDOM = random.Random()  # noqa: S311 - no secrets
CRASHES = 9
"""Height of the cubes on which the first plugin crashes its process."""

NOTHING_BEGUN = 2
FITTING = 500
"""Cubes whose results fit a small disk, that can be filled."""

BLOCK = bytes(4096)
ROUND = 240.0
"""Seconds that a run may take that nobody disturbs any more."""

Victims = dict[str, Callable[["subprocess.Popen[str]"], bool]]
"""What is done at a random instant, by name; each returns whether it could be done."""


class Job:
    """Cubes, a pipeline, and the command that runs it; what was begun stands in a file.

    Args:
        folder: Where all of it is.
        host: Serves the first plugin.
        options: Further ones of the command.
        given: The cubes, and the plugins after the first one.
    """

    def __init__(self, folder: Path, host: GitHost, options: list[str], given: argparse.Namespace) -> None:
        self.folder = folder
        self.out = folder / "out"
        self.cubes = {f"c{number:05}" for number in range(given.cubes)}
        self.faulty = set(sorted(self.cubes)[:: round(1 / given.faulty)]) if given.faulty else set[str]()
        self._begun = folder / "begun.txt"
        self._said = folder / "said.txt"
        self._options = options if given.faulty else [*options, "--retry-failed"]
        self._names = ["slow", *given.then]
        self._write_plugins(host, given.pause)
        (folder / "cubes").mkdir()
        for at, name in enumerate(sorted(self.cubes)):
            file = folder / "cubes" / f"{name}.npy"
            np.save(file, np.full((6, 5, 4), at, np.float32))
            if name in self.faulty:
                _damage(file, at // round(1 / given.faulty))

    def _write_plugins(self, host: GitHost, pause: float) -> None:
        plugins: dict[str, Any] = {}
        for name in self._names:
            code = PLUGINS[name].replace("BEGUN", repr(str(self._begun))).replace("PAUSE", str(pause))
            files = {f"{name}.py": code.replace("CRASHES", str(CRASHES)), "pyproject.toml": PROJECT.format(name)}
            plugins[name] = {"provides": [f"{name}.{name.title()}"]}
            if name == "slow":
                plugins[name] |= {"repo": host.add(name, files, tag="v1.0.0"), "tag": "v1.0.0"}
                continue
            plugins[name] |= {"path": name} | ({"isolation": "process"} if name == "alone" else {})
            (self.folder / name).mkdir()
            for file, content in files.items():
                (self.folder / name / file).write_text(content)
        nodes = [{"name": name, "class_name": name.title()} for name in self._names]
        pairs = zip(self._names, self._names[1:], strict=False)
        edges = [{"source": f"{one}.outputs.cube", "target": f"{other}.inputs.cube"} for one, other in pairs]
        (self.folder / "plugins.yaml").write_text(json.dumps({"plugins": plugins}))
        (self.folder / "p.yaml").write_text(json.dumps({"nodes": nodes, "connections": edges}))

    def start(self) -> "subprocess.Popen[str]":
        """Start the command, with what it says in one text."""
        command = [sys.executable, "-c", "import cuvis_ai_core.cli.restore.restore_pipeline as r; r.main()"]
        command += ["--pipeline-path", "p.yaml", "--plugins-path", "plugins.yaml", "--cube-path", "cubes/*.npy"]
        command += ["--output-dir", "out", "--workers", "2", *self._options]
        with self._said.open("w") as said:
            return subprocess.Popen(command, cwd=self.folder, stdout=said, stderr=subprocess.STDOUT, text=True)

    def said(self) -> str:
        """Return what the command said that was started last."""
        return self._said.read_text(errors="replace")

    def begun(self) -> list[str]:
        """Return the names of the cubes in the order in which they were begun."""
        lines = self._begun.read_text().split() if self._begun.exists() else []
        return [f"c{int(line):05}" for line in lines]

    def failed(self) -> dict[str, str]:
        """Return the cubes that are noted as failed, with the reasons."""
        records = (json.loads(each.read_text()) for each in self.out.glob(".cuvis-batch/failed/*.json"))
        return {each["name"]: each["error"] for each in records}

    def results(self) -> dict[str, dict[str, Any]]:
        """Return the records of all results, each of them seen to be whole."""
        found = {}
        for file in self.out.glob("[!.]*/run.json"):
            record = json.loads((file.parent / "run.json").read_text())
            for name, content in record["written"].items():
                assert hashlib.sha256((file.parent / name).read_bytes()).hexdigest() == content, f"half: {file.parent}"
            with np.load(file.parent / "outputs.npz") as written:
                value = 2 * int(file.parent.name[1:]) + ("alone" in self._names)
                assert written[f"{self._names[-1]}.cube"].flat[0] == value, f"another's: {file.parent}"
            found[file.parent.name] = record
        return found

    def forget(self) -> None:
        """Begin anew."""
        for each in self.out.iterdir() if self.out.exists() else ():
            shutil.rmtree(each) if each.is_dir() else each.unlink()
        self._begun.unlink(missing_ok=True)


def _damage(file: Path, number: int) -> None:
    """Make a cube one that fails: no cube at all, cut off, not liked by a node, one in ten crashes its worker."""
    match number % 10:
        case 0 | 3 | 6:
            file.write_bytes(b"no cube")
        case 1 | 4 | 7:
            os.truncate(file, file.stat().st_size - 10)
        case 9:
            np.save(file, np.full((CRASHES, 5, 4), int(file.stem[1:]), np.float32))
        case _:
            np.save(file, np.full((6, 5, 4), -1, np.float32))


class Trial:
    """Kills, counted.

    Args:
        job: What is disturbed.
        victims: What is done at a random instant.
        kills: How many times.
        every: Seconds between two, about.
    """

    def __init__(self, job: Job, victims: Victims, kills: int, every: float) -> None:
        self._job = job
        self._victims = victims
        self._kills = kills
        self._every = every
        self._memory = 0
        self.counts: Counter[str] = Counter()

    def run(self) -> None:
        """Disturb runs so many times, and let the last one come to its end."""
        while self.counts.total() < self._kills or not self._is_done():
            self._one_run()
        self._check_end()
        print(f"{self.counts.total()} in all: {dict(self.counts)}", flush=True)

    def _is_done(self) -> bool:
        return not self._job.cubes - set(self._job.results()) - set(self._job.failed())

    def _check_end(self) -> None:
        """See that good cubes are done, faulty ones failed with a reason, and the summary says the same."""
        job, results, failed = self._job, self._job.results(), self._job.failed()
        assert not job.faulty & set(results), "faulty cubes have results"
        assert all(failed[name] for name in job.faulty), "faulty cubes have no reason"
        for name in failed.keys() - job.faulty:
            assert "SIGKILL" in failed[name], f"{name}: {failed[name]}"
        with (job.out / "cubes.csv").open(newline="") as file:
            rows = [(row["cube"], row["state"], bool(row["error"])) for row in csv.DictReader(file)]
        states = [(name, "done", False) if name in results else (name, "failed", True) for name in sorted(job.cubes)]
        assert rows == states, "cubes.csv"
        summary = json.loads((job.out / "run.json").read_text())
        found = [summary[key] for key in ("total", "failed", "left", "ended")]
        assert found == [len(job.cubes), len(failed), 0, True], found
        assert summary["done"] + summary["skipped"] == len(results)
        assert "ended; " in (job.out / "report.html").read_text(), "report.html"
        print(f"all {len(results)} good cubes are done, {len(failed)} failed", flush=True)

    def _one_run(self) -> None:
        job = self._job
        if self._is_done():
            job.forget()
        before, mark = set(job.results()), len(job.begun())
        process = job.start()
        try:
            said = self._disturb(process, mark)
        finally:
            process.kill()
            process.wait()
        after, begun = job.results(), job.begun()[mark:]
        again = before & set(begun)
        assert not again, f"done before and begun again: {again}"
        failed = job.failed()
        for name, count in Counter(begun).items():
            tries = after[name]["batch"]["tries"] if name in after else 2
            assert count <= tries or name in failed, f"{name} was begun {count} times and says {tries}\n{said}"
        state = f"{len(before)} -> {len(after)} of {len(job.cubes)}, {len(failed)} failed"
        print(f"    {state}, exit status {process.returncode}, driver {self._memory >> 20} MiB", flush=True)

    def _disturb(self, process: "subprocess.Popen[str]", mark: int) -> str:
        """Do something at random instants until the driver has ended; return what it said."""
        end = time.monotonic() + ROUND
        while len(self._job.begun()) == mark and process.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        end += len(self._job.cubes) / 10
        while process.poll() is None and time.monotonic() < end:
            self._wait(process, RANDOM.uniform(0.0, 2 * self._every))
            name = RANDOM.choice(list(self._victims))
            more = self.counts.total() < self._kills
            if more and process.poll() is None and self._victims[name](process):
                self.counts[name] += 1
                state = f"{len(self._job.results())} done, {len(self._job.begun())} begun"
                print(f"{self.counts.total():4} {name:12} {state}", flush=True)
        assert process.poll() is not None, f"the run did not end; it is at {len(self._job.results())} cubes"
        said = self._job.said()
        assert "Traceback" not in said, said
        if process.returncode not in {0, 1, -signal.SIGKILL}:
            print("    said: " + " | ".join(said.strip().splitlines()[-6:]), flush=True)
        return said

    def _wait(self, process: "subprocess.Popen[str]", seconds: float) -> None:
        """Wait, and see how much memory the driver had at most; what it inherits of a large parent does not count."""
        end = time.monotonic() + seconds
        while process.poll() is None and time.monotonic() < end:
            with suppress(OSError, StopIteration):
                lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
                self._memory = next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))
            time.sleep(0.05)


def kill(process: psutil.Process) -> bool:
    """End a process as the system does that has no memory left."""
    with suppress(psutil.NoSuchProcess):
        process.kill()
        return True
    return False


def kill_driver(process: "subprocess.Popen[str]") -> bool:
    """End the driver."""
    process.kill()
    return process.wait() == -signal.SIGKILL


def workers_of(parent: int, words: str) -> list[psutil.Process]:
    """Return the workers below a process."""
    found = []
    with suppress(psutil.Error):
        for each in psutil.Process(parent).children(recursive=True):
            with suppress(psutil.Error):
                if words in " ".join(each.cmdline()):
                    found.append(each)
    return found


def local(job: Job, stack: ExitStack) -> Victims:
    """Return what is done to a run on this machine."""

    def kill_worker(process: "subprocess.Popen[str]") -> bool:
        workers = workers_of(process.pid, "batch.worker")
        return bool(workers) and kill(RANDOM.choice(workers))

    def both(process: "subprocess.Popen[str]") -> bool:
        kill_worker(process)
        return kill_driver(process)

    def second(process: "subprocess.Popen[str]") -> bool:
        other = job.start()
        other.wait(timeout=ROUND)
        if process.poll() is None:
            assert other.returncode == NOTHING_BEGUN, job.said()
            assert "Another run works in" in job.said(), job.said()
        return process.poll() is None

    victims: Victims = {"driver": kill_driver, "worker": kill_worker, "both": both, "second": second}
    job.out.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(job.out)]
    if len(job.cubes) > FITTING:  # and its results are on a real disk
        return victims
    if subprocess.run(mount, capture_output=True, check=False).returncode == 0:
        stack.callback(subprocess.run, ["umount", "-l", str(job.out)], check=False)

        def fill(process: "subprocess.Popen[str]") -> bool:
            """Take all room for some time; the driver ends, and says why."""
            filler = job.out / ".filler"
            with suppress(OSError), filler.open("wb", buffering=0) as file:
                while file.write(BLOCK) == len(BLOCK):
                    pass
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=60)
            filler.unlink()
            return process.poll() is not None

        victims["full disk"] = fill
    return victims


def ray(stack: ExitStack, raylets: int) -> tuple[str, Victims]:
    """Start a cluster; return its address, and what is done to a run on it."""
    os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
    from ray.cluster_utils import Cluster

    cluster: Any = Cluster()
    stack.callback(cluster.shutdown)
    _add(cluster, include_dashboard=False)  # the first one is its head
    nodes = [_add(cluster) for _ in range(raylets - 1)]

    def kill_worker(_: "subprocess.Popen[str]") -> bool:
        workers = workers_of(os.getpid(), "ray::RayWorker")
        return bool(workers) and kill(RANDOM.choice(workers))

    def kill_raylet(_: "subprocess.Popen[str]") -> bool:
        at = RANDOM.randrange(len(nodes))
        cluster.remove_node(nodes[at], allow_graceful=False)
        nodes[at] = _add(cluster)
        return True

    return cluster.address, {"driver": kill_driver, "worker": kill_worker, "raylet": kill_raylet}


def _add(cluster: Any, **options: Any) -> Any:
    """Have another node, though the machine is so busy that Ray's own limit of 30 s is too short."""
    for _ in range(8):
        with suppress(Exception):
            return cluster.add_node(num_cpus=1, **options)
    return cluster.add_node(num_cpus=1, **options)


def main(given: argparse.Namespace) -> None:
    """Disturb an engine so many times."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        os.environ["CUVIS_PLUGINS_DIR"] = str(folder / "plugin cache")
        host = stack.enter_context(GitHost(folder / "git"))
        if given.engine == "ray":
            address, victims = ray(stack, given.raylets)
            job = Job(folder, host, ["--engine", "ray", "--ray-address", address], given)
        else:
            job = Job(folder, host, [], given)
            victims = local(job, stack)
        chosen = {name: victims[name] for name in given.victims or victims}
        Trial(job, chosen, given.kills, given.every).run()


def options() -> argparse.Namespace:
    """Return what is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("engine", choices=["local", "ray"])
    parser.add_argument("kills", type=int)
    parser.add_argument("--cubes", type=int, default=40)
    parser.add_argument("--faulty", type=float, default=0.0, help="share of the cubes")
    parser.add_argument("--every", type=float, default=0.75, help="seconds between two kills, about")
    parser.add_argument("--pause", type=float, default=0.05, help="seconds that a cube takes at least, of up to seven")
    parser.add_argument("--then", nargs="*", default=[], choices=["alone", "layer"], help="plugins after the first")
    parser.add_argument("--victims", nargs="*", default=[], help="what is killed, by default all that can be")
    parser.add_argument("--raylets", type=int, default=3, help="of the cluster, with that of its head")
    return parser.parse_args()


if __name__ == "__main__":
    main(options())
