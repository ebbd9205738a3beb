"""Workers of Ray, in the place of which stands what notes what it is asked for; the cluster is tested elsewhere."""

import os
import socket
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cuvis_ai_core.batch import on_ray, worker, worker_memory
from cuvis_ai_core.batch.engine import Event, Setup
from cuvis_ai_core.batch.job import Job
from cuvis_ai_core.batch.job_cubes import Unit
from cuvis_ai_core.errors import BatchError, MissingExtraError
from cuvis_ai_core.plugins.isolation.private_names import LIVE_PLUGINS

JOB = Job("p.yaml", keep=("a.b",))


class RayError(Exception):
    """An error of Ray."""


class Stand:
    """Stands for the module `ray`: notes its calls, and gives what is laid into `answers`."""

    exceptions = SimpleNamespace(RayError=RayError)

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.answers: dict[tuple[Any, ...], Any] = {}
        self.running = False

    def is_initialized(self) -> bool:
        """Tell whether a cluster is known."""
        return self.running

    def init(self, **options: Any) -> None:
        """Note with what it is begun; some addresses have no cluster."""
        self.calls.append(("init", options))
        if options["address"] == "nobody":
            raise OSError("nobody is there")

    def shutdown(self) -> None:
        """Note the end."""
        self.calls.append(("shutdown",))

    def put(self, content: bytes) -> tuple[str, bytes]:
        """Return what stands for a content."""
        return "put", content

    def remote(self, kind: type) -> Any:
        """Return what makes actors of a class."""
        assert kind is on_ray.RayWorker

        def make(data: dict[str, Any], bundle: Any) -> Any:
            self.calls.append(("actor", data, bundle))
            name = data["name"]
            asked = {key: SimpleNamespace(remote=lambda *a, k=key: (name, k, *a)) for key in ("set_up", "run")}
            return SimpleNamespace(name=name, **asked)

        def options(**given: Any) -> Any:
            self.calls.append(("options", given))
            return SimpleNamespace(remote=make)

        return SimpleNamespace(options=options)

    def wait(self, waiting: list[Any], timeout: float) -> tuple[list[Any], list[Any]]:
        """Return what has an answer, if anything."""
        self.calls.append(("wait", waiting, timeout))
        ready = [each for each in waiting if each in self.answers]
        return ready[:1], ready[1:]

    def get(self, reference: tuple[Any, ...]) -> Any:
        """Return an answer, or raise it."""
        answer = self.answers[reference]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def kill(self, actor: Any) -> None:
        """Note whose end it is, which Ray may not find."""
        self.calls.append(("kill", actor.name))
        raise RayError("it is gone")


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Stand:
    """Return what stands for Ray, in an environment with some variables of ours and none of Ray's."""
    stand = Stand()
    monkeypatch.setitem(sys.modules, "ray", stand)
    monkeypatch.setattr(os, "environ", {"CUVIS_OFFLINE": "1", LIVE_PLUGINS: "some", "HOME": "here"})
    return stand


def test_an_actor_is_given_all_by_its_arguments(ray: Stand, tmp_path: Path) -> None:
    """And what it says of its cubes is heard until it is ended; the cluster ends with its workers."""
    bundle = tmp_path / "plugins.bundle"
    bundle.write_bytes(b"all")
    crew = on_ray.Ray(None, cpus=3, gpus=0.5, memory=2**30, bundle=bundle).crew(Setup(JOB, tmp_path, "print"))
    crew.start(4)
    assert os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] == "0"
    told = {
        "job": asdict(JOB),
        "output": str(tmp_path),
        "fingerprint": "print",
        "name": "ray-4",
        "folder": str(Path.cwd()),
        "threads": 3,
        "memory": 2**30,
        "variables": {"CUVIS_OFFLINE": "1"},
    }
    begun = {"address": "local", "include_dashboard": False, "log_to_driver": False, "logging_level": 40}
    assert [*map(tuple, ray.calls)] == [
        ("init", begun),
        ("options", {"num_cpus": 3, "num_gpus": 0.5, "max_restarts": 0, "max_task_retries": 0}),
        ("actor", told, ("put", b"all")),
    ]
    ray.calls.clear()
    assert crew.next(2.5) is None
    ray.answers["ray-4", "set_up"] = {"nodes": []}
    assert crew.next(2.5) == Event(4, "ready", {"nodes": []})
    assert crew.next(2.5) is None
    assert ray.calls == [("wait", [("ray-4", "set_up")], 2.5)] * 2
    crew.give(4, Unit("cubes/a.npy", "a"), 2)
    ray.answers["ray-4", "run", "cubes/a.npy", "a", 2] = {"error": "it is bad"}
    assert crew.next(0) == Event(4, "done", {"error": "it is bad"})
    crew.give(4, Unit("cubes/b.npy", "b"), 1)
    ray.answers["ray-4", "run", "cubes/b.npy", "b", 1] = RayError("\n it died\nask your administrator")
    assert crew.next(0) == Event(4, "died", {"error": "Its worker ended: it died", "kind": "RayError"})
    ray.calls.clear()
    crew.close()
    crew.close()
    assert ray.calls == [("kill", "ray-4"), ("shutdown",), ("shutdown",)]


def test_of_a_worker_that_was_ended_nothing_more_is_heard(ray: Stand, tmp_path: Path) -> None:
    """Of the others it is; a worker that cannot be set up is broken."""
    ray.running = True
    crew = on_ray.Ray().crew(Setup(JOB, tmp_path, "print"))
    for number in (0, 1):
        crew.start(number)
    ray.answers["ray-0", "set_up"] = ray.answers["ray-1", "set_up"] = {"error": "no such node"}
    crew.end(0)
    assert crew.next(0) == Event(1, "broken", {"error": "no such node"})
    crew.close()
    assert [call for call in ray.calls if call[0] in {"init", "kill", "shutdown"}] == [
        *(("kill", "ray-0"), ("kill", "ray-1"))
    ]


@pytest.mark.parametrize(
    ("given", "variable", "address"),
    [("ray://a", "b", "ray://a"), (None, "b", "b"), (None, None, "local"), ("auto", "b", "auto")],
)
def test_a_cluster_is_that_of_the_address(
    ray: Stand, tmp_path: Path, given: str | None, variable: str | None, address: str
) -> None:
    """Or of the variable, or one that is begun here."""
    if variable is not None:
        os.environ["RAY_ADDRESS"] = variable
    on_ray.Ray(given).crew(Setup(JOB, tmp_path, "print"))
    assert ray.calls[0][1]["address"] == address


def test_a_cluster_that_is_not_there_is_said(ray: Stand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once where it is an address with a port; and Ray itself may not be installed."""
    with pytest.raises(BatchError, match="There is no cluster of Ray at 'nobody': nobody is there"):
        on_ray.Ray("nobody").crew(Setup(JOB, tmp_path, "print"))
    ray.calls.clear()
    asked: list[tuple[Any, ...]] = []

    def refuse(place: tuple[str, int], timeout: float) -> None:
        asked.append((place, timeout))
        raise ConnectionRefusedError("refused")

    monkeypatch.setattr(socket, "create_connection", refuse)
    for address in ("ray://[::1]:10001", "far.example:6379"):
        with pytest.raises(BatchError, match="refused"):
            on_ray.Ray(address).crew(Setup(JOB, tmp_path, "print"))
    assert (asked, ray.calls) == ([(("::1", 10001), 10), (("far.example", 6379), 10)], [])
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match="needs Ray, which is not installed") as caught:
        on_ray.Ray().crew(Setup(JOB, tmp_path, "print"))
    assert caught.value.extra == "ray"


Told = Callable[..., dict[str, Any]]


@pytest.fixture
def made(ray: Stand, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Return with what workers were made in actors, and to how much memory they were limited."""
    found: list[tuple[Any, ...]] = []

    def make(job: Job, *rest: Any) -> Any:
        found.append((job, *rest))
        if job.pipeline == "gone.yaml":
            raise SystemExit("no such file")
        return SimpleNamespace(nodes=[{"name": "a"}], run=lambda unit, tries: {"ran": (unit, tries)})

    monkeypatch.setattr(worker, "Worker", make)
    monkeypatch.setattr(worker_memory, "limit_memory", lambda most: found.append(("limit", most)))
    monkeypatch.setattr(worker_memory, "peak_memory", lambda: 77)
    monkeypatch.setattr(on_ray, "_carried", lambda job, bundle: Job(job.pipeline, manifest=bundle.decode()))
    return found


@pytest.mark.parametrize("bundle", [None, b"carried.yaml"])
def test_an_actor_sets_itself_up_as_it_is_told(
    made: list[tuple[Any, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bundle: bytes | None
) -> None:
    """In the folder of the driver and with its variables, but for places that its machine knows better."""
    monkeypatch.chdir(Path.cwd())
    os.environ["CUVIS_PLUGINS_DIR"] = "of this machine"
    del os.environ["CUVIS_OFFLINE"]
    given = {"CUVIS_PLUGINS_DIR": "theirs", "CUVIS_SHARED_STORE": "theirs", "CUVIS_X": "1"}
    about = {"fingerprint": "print", "name": "ray-0", "threads": 5, "memory": 9, "output": "out"}
    data = {"job": {"pipeline": "p.yaml"}, "folder": str(tmp_path), "variables": given, **about}
    actor = on_ray.RayWorker(data, bundle)
    assert actor.set_up() == {"nodes": [{"name": "a"}], "peak": 77}
    job = Job("p.yaml", manifest=bundle.decode() if bundle else None)
    assert made == [("limit", 9), (job, Path("out"), "print", "ray-0")]
    assert Path.cwd() == tmp_path
    os.environ.pop("PYTEST_CURRENT_TEST", None)
    assert dict(os.environ) == {
        **given,
        "HOME": "here",
        "CUVIS_PLUGINS_DIR": "of this machine",
        "OMP_NUM_THREADS": "5",
        "OPENBLAS_NUM_THREADS": "5",
        **({"CUVIS_OFFLINE": "1"} if bundle else {}),
    }
    assert actor.run("a.npy", "a", 2) == {"ran": (Unit("a.npy", "a"), 2)}
    broken = on_ray.RayWorker({**data, "job": {"pipeline": "gone.yaml"}}, None).set_up()
    assert broken == {"error": "SystemExit: no such file", "kind": "SystemExit", "node": None}
