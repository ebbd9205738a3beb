"""Kill what works on many cubes at random instants, and see that nothing is lost: `python tools/kills.py local 50`.

`local` kills drivers and workers, fills the disk (where a small one can be mounted) and starts a second driver into the
same folder; `ray` kills drivers, workers and raylets of a cluster of three nodes on loopback, that of the head too. The
plugin comes from a Git tag. After each instant:

- every result that is there is whole, with the hashes of its record;
- no cube was begun again that had its results, and what was begun twice in one run is said to have been;
- the run goes on, or the same command does, until every cube is done.
"""

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

NODES = """\
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
        handle = os.open(BEGUN, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(handle, f"{number}\\n".encode())
        os.close(handle)
        time.sleep(0.05 + number % 7 / 20)
        return {"cube": cube * 2}
"""
PROJECT = '[project]\nname = "slow"\nversion = "1.0.0"\ndependencies = ["numpy"]\n'
RANDOM = random.Random()  # noqa: S311 - no secrets
CUBES = 40
NOTHING_BEGUN = 2
BLOCK = bytes(4096)
ROUND = 240.0
"""Seconds that a run may take that nobody disturbs any more."""

Victims = dict[str, Callable[["subprocess.Popen[str]"], bool]]
"""What is done at a random instant, by name; each returns whether it could be done."""


class Job:
    """Cubes, a pipeline, and the command that runs it; what was begun stands in a file.

    Args:
        folder: Where all of it is.
        host: Serves the plugin.
        options: Further ones of the command.
    """

    def __init__(self, folder: Path, host: GitHost, options: list[str]) -> None:
        self.folder = folder
        self.out = folder / "out"
        self._begun = folder / "begun.txt"
        self._options = options
        nodes = NODES.replace("BEGUN", repr(str(self._begun)))
        url = host.add("slow", {"slow.py": nodes, "pyproject.toml": PROJECT}, tag="v1.0.0")
        entry = {"repo": url, "tag": "v1.0.0", "provides": ["slow.Slow"]}
        (folder / "plugins.yaml").write_text(json.dumps({"plugins": {"slow": entry}}))
        (folder / "p.yaml").write_text("nodes:\n  - {name: slow, class_name: Slow}\n")
        (folder / "cubes").mkdir()
        for number in range(CUBES):
            np.save(folder / "cubes" / f"c{number:03}.npy", np.full((6, 5, 4), number, np.float32))

    def start(self) -> "subprocess.Popen[str]":
        """Start the command, with what it says in one text."""
        command = [sys.executable, "-c", "import cuvis_ai_core.cli.restore_pipeline as r; r.main()"]
        command += ["--pipeline-path", "p.yaml", "--plugins-path", "plugins.yaml", "--cube-path", "cubes/*.npy"]
        command += ["--output-dir", "out", "--workers", "2", "--retry-failed", *self._options]
        return subprocess.Popen(
            command, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )

    def begun(self) -> list[str]:
        """Return the names of the cubes in the order in which they were begun."""
        lines = self._begun.read_text().split() if self._begun.exists() else []
        return [f"c{int(line):03}" for line in lines]

    def results(self) -> dict[str, dict[str, Any]]:
        """Return the records of all results, each of them seen to be whole."""
        found = {}
        for file in self.out.glob("[!.]*/*"):
            record = json.loads((file.parent / "run.json").read_text())
            for name, content in record["written"].items():
                assert hashlib.sha256((file.parent / name).read_bytes()).hexdigest() == content, f"half: {file.parent}"
            with np.load(file.parent / "outputs.npz") as written:
                assert written["slow.cube"].flat[0] == 2 * int(file.parent.name[1:]), f"another's: {file.parent}"
            found[file.parent.name] = record
        return found

    def forget(self) -> None:
        """Begin anew."""
        for each in self.out.iterdir() if self.out.exists() else ():
            shutil.rmtree(each) if each.is_dir() else each.unlink()
        self._begun.unlink(missing_ok=True)


class Trial:
    """Kills, counted.

    Args:
        job: What is disturbed.
        victims: What is done at a random instant.
    """

    def __init__(self, job: Job, victims: Victims) -> None:
        self._job = job
        self._victims = victims
        self.counts: Counter[str] = Counter()

    def run(self, kills: int) -> None:
        """Disturb runs so many times."""
        while self.counts.total() < kills:
            self._one_run()
        print(f"{self.counts.total()} in all: {dict(self.counts)}", flush=True)

    def _one_run(self) -> None:
        job = self._job
        if len(job.results()) == CUBES:
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
        failed = {json.loads(each.read_text())["name"] for each in job.out.glob(".cuvis-batch/failed/*.json")}
        for name, count in Counter(begun).items():
            tries = after[name]["batch"]["tries"] if name in after else 2
            assert count <= tries or name in failed, f"{name} was begun {count} times and says {tries}\n{said}"
        print(f"    {len(before)} -> {len(after)} of {CUBES}, {len(failed)} failed, exit status {process.returncode}")

    def _disturb(self, process: "subprocess.Popen[str]", mark: int) -> str:
        """Do something at random instants until the driver has ended; return what it said."""
        end = time.monotonic() + ROUND
        while len(self._job.begun()) == mark and process.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        while process.poll() is None and time.monotonic() < end:
            time.sleep(RANDOM.uniform(0.0, 1.5))
            name = RANDOM.choice(list(self._victims))
            if process.poll() is None and self._victims[name](process):
                self.counts[name] += 1
                state = f"{len(self._job.results())} done, {len(self._job.begun())} begun"
                print(f"{self.counts.total():4} {name:12} {state}", flush=True)
        assert process.poll() is not None, f"the run did not end; it is at {len(self._job.results())} of {CUBES}"
        said, _ = process.communicate()
        assert "Traceback" not in said, said
        if process.returncode not in {0, -signal.SIGKILL}:
            print("    said: " + " | ".join(said.strip().splitlines()[-6:]), flush=True)
        return said


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
        said, _ = other.communicate(timeout=ROUND)
        if process.poll() is None:
            assert other.returncode == NOTHING_BEGUN, said
            assert "Another run works in" in said, said
        return process.poll() is None

    victims: Victims = {"driver": kill_driver, "worker": kill_worker, "both": both, "second": second}
    job.out.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(job.out)]
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


def ray(stack: ExitStack) -> tuple[str, Victims]:
    """Start a cluster; return its address, and what is done to a run on it."""
    os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
    from ray.cluster_utils import Cluster

    cluster: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    stack.callback(cluster.shutdown)
    nodes = [_add(cluster) for _ in range(2)]

    def kill_worker(_: "subprocess.Popen[str]") -> bool:
        workers = workers_of(os.getpid(), "ray::RayWorker")
        return bool(workers) and kill(RANDOM.choice(workers))

    def kill_raylet(_: "subprocess.Popen[str]") -> bool:
        at = RANDOM.randrange(len(nodes))
        cluster.remove_node(nodes[at], allow_graceful=False)
        nodes[at] = _add(cluster)
        return True

    return cluster.address, {"driver": kill_driver, "worker": kill_worker, "raylet": kill_raylet}


def _add(cluster: Any) -> Any:
    """Have another node, though the machine is so busy that Ray's own limit of 30 s is too short."""
    for _ in range(8):
        with suppress(Exception):
            return cluster.add_node(num_cpus=1)
    return cluster.add_node(num_cpus=1)


def main(engine: str, kills: int) -> None:
    """Disturb an engine so many times."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        os.environ["CUVIS_PLUGINS_DIR"] = str(folder / "plugin cache")
        host = stack.enter_context(GitHost(folder / "git"))
        if engine == "ray":
            address, victims = ray(stack)
            job = Job(folder, host, ["--engine", "ray", "--ray-address", address])
        else:
            job = Job(folder, host, [])
            victims = local(job, stack)
        trial = Trial(job, victims)
        trial.run(kills)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
