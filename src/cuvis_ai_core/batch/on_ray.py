"""Workers that are actors of Ray, on as many machines as its cluster has.

An actor is given all that it needs by its arguments, and no runtime environment: plugins come from the plugin cache of
its machine, which the first actor there fills, from a bundle where there is one. Actors are plain, with one cube in
flight each, so that what dies costs one cube a try.
"""

import hashlib
import logging
import os
import socket
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from filelock import FileLock

from cuvis_ai_core.batch.engine import Event, Setup
from cuvis_ai_core.batch.job import Job, job_data
from cuvis_ai_core.batch.job_cubes import Unit
from cuvis_ai_core.errors import BatchError, MissingExtraError
from cuvis_ai_core.plugins.isolation.private_names import LIVE_PLUGINS

_STARTS: Final = "ready"
_PLACES: Final = {"CUVIS_PLUGINS_DIR", "CUVIS_SHARED_STORE"}
"""Variables that name folders: a machine that has them set knows better than the driver's."""


@dataclass(frozen=True, slots=True)
class Ray:
    """Actors of a cluster of Ray; the results go to a folder that all its machines have.

    Attributes:
        address: Of the cluster, `auto` for the one that this machine belongs to; None means the one that `RAY_ADDRESS`
            names, and starts one here where it names none.
        workers: How many actors.
        cpus: Cores for each, also the threads that it computes with.
        gpus: GPUs for each.
        memory: Bytes that each may take; a cube that takes more fails. None: as much as its machine has.
        bundle: A bundle of the plugins, which is unpacked once on each machine that has them not.
    """

    address: str | None = None
    workers: int = 2
    cpus: int = 1
    gpus: float = 0
    memory: int | None = None
    bundle: Path | None = None
    shares_memory = False

    def crew(self, setup: Setup) -> "RayCrew":
        """Return the workers for a job, none of them started."""
        return RayCrew(setup, self)


class RayCrew:
    """Actors that run cubes.

    Args:
        setup: What they are told.
        engine: How they are set up.

    Raises:
        MissingExtraError: Ray is not installed.
        BatchError: There is no such cluster.
    """

    def __init__(self, setup: Setup, engine: Ray) -> None:
        try:
            import ray
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                "The engine 'ray' needs Ray, which is not installed.",
                hint="Install the extra: pip install 'cuvis-ai-core[ray]'",
                extra="ray",
            ) from error
        self._ray: Any = ray
        self._setup = setup
        self._engine = engine
        # Ray that the caller had started is the caller's, and is not shut down
        self._own = not ray.is_initialized()
        if self._own:
            os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")  # else it wraps workers in `uv run`
            # Without an address Ray takes whichever cluster was started here last, though it be another's or gone
            address = engine.address or os.environ.get("RAY_ADDRESS") or "local"
            try:
                _see_answering(address)
                ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
            except Exception as error:  # nothing more special where a node starts too slowly
                raise BatchError(
                    f"There is no cluster of Ray at '{address}': {error}",
                    hint="Name the one that ray start said, as --ray-address HOST:PORT.",
                ) from error
        self._actors: dict[int, Any] = {}
        self._waiting: dict[Any, tuple[int, str]] = {}
        # Put once: as a plain argument it were copied into the store again for each actor
        self._bundle = ray.put(engine.bundle.read_bytes()) if engine.bundle is not None else None

    def start(self, worker: int) -> None:
        """Start a worker; it will be ready, or broken."""
        # Not a decorator of the class: this module is imported where Ray is not installed
        actor = self._ray.remote(RayWorker).options(
            # Tries are counted by the driver; what Ray tried again by itself would not be known of
            num_cpus=self._engine.cpus,
            num_gpus=self._engine.gpus,
            max_restarts=0,
            max_task_retries=0,
        )
        data = {
            "job": job_data(self._setup.job),
            "output": str(self._setup.output),
            "fingerprint": self._setup.fingerprint,
            "name": f"ray-{worker}",
            "folder": str(Path.cwd()),
            "threads": self._engine.cpus,
            "memory": self._engine.memory,
            "variables": {
                key: value for key, value in os.environ.items() if key.startswith("CUVIS_") and key != LIVE_PLUGINS
            },
        }
        self._actors[worker] = actor.remote(data, self._bundle)
        self._expect(worker, _STARTS, self._actors[worker].set_up.remote())

    def give(self, worker: int, unit: Unit, tries: int) -> None:
        """Have a worker that is ready run a cube."""
        self._expect(worker, "done", self._actors[worker].run.remote(unit.cube, unit.name, tries))

    def next(self, seconds: float) -> Event | None:
        """Return what a worker says next, None if nobody says anything in so many seconds."""
        ready, _ = self._ray.wait(list(self._waiting), timeout=seconds) if self._waiting else ([], [])
        if not ready:
            return None
        worker, kind = self._waiting.pop(ready[0])
        try:
            data = self._ray.get(ready[0])
        except self._ray.exceptions.RayError as error:
            # The rest is Ray's own trace and advice, of many lines
            first = str(error).strip().splitlines()[0]
            return Event(worker, "died", {"error": f"Its worker ended: {first}", "kind": type(error).__name__})
        return Event(worker, "broken" if kind == _STARTS and "error" in data else kind, data)

    def end(self, worker: int) -> None:
        """End a worker at once, whatever it does; nothing more is heard of it."""
        actor = self._actors.pop(worker, None)
        if actor is not None:
            for reference in [key for key, (number, _) in self._waiting.items() if number == worker]:
                del self._waiting[reference]
            with suppress(self._ray.exceptions.RayError):
                self._ray.kill(actor)

    def close(self) -> None:
        """End all of them, and the cluster if it was started for them."""
        for worker in list(self._actors):
            self.end(worker)
        if self._own:
            self._ray.shutdown()

    def _expect(self, worker: int, kind: str, reference: Any) -> None:
        self._waiting[reference] = worker, kind


class RayWorker:
    """A worker in an actor.

    Args:
        data: What it is told.
        bundle: The bytes of a bundle of plugins, if there is one.
    """

    def __init__(self, data: dict[str, Any], bundle: bytes | None) -> None:
        self._data = data
        self._bundle = bundle
        self._worker: Any = None

    def set_up(self) -> dict[str, Any]:
        """Load plugins and pipeline; `error` says why that failed."""
        from cuvis_ai_core.batch.worker import Worker, told
        from cuvis_ai_core.batch.worker_memory import limit_memory, peak_memory

        os.environ.pop(LIVE_PLUGINS, None)  # of the driver, where Ray was started by it
        given = self._data["variables"]
        os.environ.update({key: given[key] for key in given if key not in _PLACES or key not in os.environ})
        os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(self._data["threads"])))
        limit_memory(self._data["memory"])
        try:
            # Paths of the job are as the driver's caller wrote them, from there
            os.chdir(self._data["folder"])
            job = Job.from_dict(self._data["job"])
            if self._bundle is not None:
                job = _carried(job, self._bundle)
                os.environ["CUVIS_OFFLINE"] = "1"  # it has all; who asks the index, waits for one that is not there
            self._worker = Worker(job, Path(self._data["output"]), self._data["fingerprint"], self._data["name"])
        except (Exception, SystemExit) as error:  # told to the driver
            return told(error)
        return {"nodes": self._worker.nodes, "peak": peak_memory()}

    def run(self, cube: str, name: str, tries: int) -> dict[str, Any]:
        """Run one cube, and return what became of it."""
        found: dict[str, Any] = self._worker.run(Unit(cube, name), tries)
        return found


def _see_answering(address: str) -> None:
    """See that somebody answers at an address, if it is one with a port: Ray itself tries for minutes.

    Raises:
        OSError: Nobody does.
    """
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def _carried(job: Job, bundle: bytes) -> Job:
    """Return the job with the manifest of a bundle, which is unpacked on this machine if it was not yet."""
    from cuvis_ai_core.plugins.bundle.unpacking import open_bundle
    from cuvis_ai_core.plugins.cache.store import Store
    from cuvis_ai_core.registry import NodeRegistry

    # By content: an actor that starts again, and the next job, find what is unpacked
    folder = NodeRegistry.get_cache_dir() / ".carried" / hashlib.sha256(bundle).hexdigest()[:32]
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Several actors of a machine start at once, and one unpacks for all
    with FileLock(folder.with_suffix(".lock")):
        if not any(folder.glob("*.yaml")):
            archive = folder.with_suffix(".bundle")
            archive.write_bytes(bundle)
            # Whoever gave the bundle to the driver believes it.
            with open_bundle(archive, Store(NodeRegistry.get_cache_dir())) as opened:
                opened.unpack(folder)
            archive.unlink()
    return replace(job, manifest=str(next(folder.glob("*.yaml"))))
