"""Nodes of one pipeline that go on at once, each worker in a thread of its own."""

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from cuvis_ai_schemas.pipeline import PortSpec

from cuvis_ai_core import NodeRegistry, Pipeline
from cuvis_ai_core.errors import NodeRunError, WorkerCrashError
from cuvis_ai_core.node import ArrayNode
from cuvis_ai_core.pipeline.profiler import Profiler
from cuvis_ai_core.training import StatisticalTrainer

CUBES = PortSpec(np.float32, (-1, -1, -1, 3))
CUBE = np.arange(12, dtype=np.float32).reshape(1, 2, 2, 3)

Load = Callable[[], NodeRegistry]


class Both(ArrayNode):
    """Collect two answers."""

    INPUT_SPECS: ClassVar = {"one": PortSpec("any", ()), "other": PortSpec("any", ())}
    OUTPUT_SPECS: ClassVar = {"both": PortSpec(list, ())}

    def forward(self, one: object, other: object) -> dict[str, Any]:
        """Return both."""
        return {"both": [one, other]}


class Add(ArrayNode):
    """Add two cubes."""

    INPUT_SPECS: ClassVar = {"one": CUBES, "other": CUBES}
    OUTPUT_SPECS: ClassVar = {"cube": CUBES}

    def forward(self, one: Any, other: Any) -> dict[str, Any]:
        """Return the sum."""
        return {"cube": one + other}


class Meet(ArrayNode):
    """Wait in this process until another one waits too."""

    OUTPUT_SPECS: ClassVar = {"answer": PortSpec(str, ())}

    def forward(self) -> dict[str, Any]:
        """Touch a file, and wait for a second one."""
        place = Path(os.environ["TMPDIR"])
        (place / "here-host").touch()
        while len(list(place.glob("here-*"))) < 2:
            threading.Event().wait(0.005)
        return {"answer": "met"}


@pytest.fixture
def meeting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a place where those meet that run at once; who is alone there waits until its time is up."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("CUVIS_WORKER_TIMEOUT", "60")


def both_of(one: Any, other: Any, registry: NodeRegistry | None = None) -> Pipeline:
    """Return a pipeline in which two nodes need nothing of each other, and a third one needs both."""
    sink = Both()
    connections = [(one.outputs.answer, sink.inputs.one), (other.outputs.answer, sink.inputs.other)]
    return Pipeline("both", node_registry=registry).connect(*connections)


@pytest.mark.usefixtures("meeting")
def test_nodes_of_two_workers_run_at_once(load: Load) -> None:
    """Each of two waits for the other."""
    pipeline = both_of(load().get("Misbehaving")(), load().get("Misbehaving")())
    assert pipeline.forward({"what": "meet"})["Both", "both"] == ["met", "met"]


@pytest.mark.usefixtures("meeting")
def test_nodes_of_the_host_run_beside_those_of_a_worker(load: Load) -> None:
    """A node of this process waits for one in another, and the other way round; with observers just as without."""
    registry = load()
    profiler = Profiler()
    registry.register_hooks(profiler)
    pipeline = both_of(registry.get("Misbehaving")(), Meet(), registry)
    assert pipeline.forward({"what": "meet"})["Both", "both"] == ["met", "met"]
    assert {node for _, node in profiler.times} == {"Misbehaving", "Meet", "Both"}


@pytest.mark.slow
def test_the_first_of_several_failures_is_told(load: Load) -> None:
    """First in the order of the pipeline; what depends on it is not begun, and the pipeline runs again."""
    pipeline = both_of(load().get("Misbehaving")(), load().get("Misbehaving")())
    for _ in range(2):
        with pytest.raises(NodeRunError, match=r"Node 'Misbehaving' failed .*too bright"):
            pipeline.forward({"Misbehaving.what": "raise_error", "Misbehaving-1.what": "raise_own"})
    assert pipeline.forward({"what": "fine"})["Both", "both"] == ["fine", "fine"]


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_ends_what_several_workers_do(load: Load) -> None:
    """Ctrl-C is not kept waiting; the next run is right."""
    pipeline = both_of(load().get("Misbehaving")(), load().get("Misbehaving")())
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        pipeline.forward({"what": "loop"})
    timer.join()
    assert pipeline.forward({"what": "fine"})["Both", "both"] == ["fine", "fine"]


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_is_not_kept_waiting_by_several_steps_of_this_process(load: Load) -> None:
    """Each of which waits for a worker of its own."""
    sinks = [Both() for _ in range(2)]
    nodes = [load().get("Misbehaving")() for _ in range(2)]
    pipeline = Pipeline("waiting").connect(
        *(
            (node.outputs.answer, getattr(sink.inputs, port))
            for node, sink in zip(nodes, sinks, strict=True)
            for port in ("one", "other")
        )
    )
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        pipeline.forward({"what": "loop"})
    timer.join()


@pytest.mark.slow
def test_one_crash_of_two_workers_names_its_node(load: Load) -> None:
    """The other one's answer is waited for."""
    pipeline = both_of(load().get("Misbehaving")(), load().get("Misbehaving")())
    with pytest.raises(NodeRunError, match="Node 'Misbehaving-1'") as caught:
        pipeline.forward({"Misbehaving.what": "fine", "Misbehaving-1.what": "exit"})
    assert isinstance(caught.value.__cause__, WorkerCrashError)


@pytest.mark.slow
def test_nodes_learn_from_streams_that_their_own_worker_takes_part_in(load: Load) -> None:
    """While a node of it learns, another thread has another node of it compute the next batch."""
    one, other = load(), load()
    first, beside, last, add = one.get("Scale")(), other.get("Scale")(), one.get("Scale")(), Add()
    pipeline = Pipeline("learning").connect(
        (first.outputs.cube, add.inputs.one),
        (beside.outputs.cube, add.inputs.other),
        (add.outputs.cube, last.inputs.cube),
    )
    StatisticalTrainer(pipeline).fit([{"cube": CUBE}, {"cube": CUBE}])
    assert [float(node.state_dict()["mean"]) for node in (first, beside, last)] == [5.5, 5.5, 22.0]


def test_a_batch_may_come_from_another_thread_that_uses_the_worker(load: Load) -> None:
    """As data loaders compute ahead."""
    registry = load()
    scale, learner = registry.get("Scale")(), registry.get("Scale")()

    def stream() -> Any:
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(scale.forward(cube=CUBE)["cube"]))
        thread.start()
        thread.join(30)
        yield {"cube": found[0]}

    learner.statistical_initialization(stream())
    assert learner.state_dict()["mean"] == 11.0
