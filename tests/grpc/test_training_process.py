"""A training has a process of its own: what it does, and how it ends, is not felt by the calls of others."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
import psutil
import pytest

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.errors import ServiceError
from cuvis_ai_core.grpc.messages.schema_generations import messages
from cuvis_ai_core.grpc.server.open_sessions import Session
from cuvis_ai_core.grpc.server.training.session_trainings import training_of

pytestmark = pytest.mark.usefixtures("warm_trainings")

RUNNING, COMPLETE, ERROR, CANCELLED = 1, 2, 3, 4
STATISTICAL = 1
PROGRAM = "cuvis_ai_core.grpc.server.training.trainer_program"


@pytest.fixture
def begin(stub: Any, learner: str, shared_root: Path) -> Callable[..., threading.Thread]:
    """Return a function that begins a training and waits until its node learns; `words` gets what is said of it."""
    np.savez(shared_root / "one.npz", cube=np.zeros((2, 2, 4), np.float32))

    def start(words: list[Any], errors: list[Any], pause: float = 0.0, **graph: Any) -> threading.Thread:
        pipeline = graph or {"nodes": [{"name": "centre", "class_name": "Centre", "params": {"pause": pause}}]}
        content = {"name": "run", "data": {"cubes": [str(shared_root / "one.npz")]}}
        stub.LoadPipeline(session_id=learner, pipeline=packed("PipelineConfig", pipeline))
        stub.SetTrainRunConfig(session_id=learner, config=packed("TrainRunConfig", content))

        def train() -> None:
            try:
                words.extend(stub.Train(session_id=learner, trainer_type=STATISTICAL, timeout=120))
            except Exception as error:  # noqa: BLE001 - looked at by the test
                errors.append(error)

        thread = threading.Thread(target=train)
        thread.start()
        wait_until(lambda: latest(stub, learner).event.node == "centre" or not thread.is_alive())
        return thread

    return start


def packed(kind: str, content: Any) -> Any:
    """Return a message that holds JSON."""
    return getattr(messages(), kind)(config_bytes=json.dumps(content).encode())


def latest(stub: Any, session: str) -> Any:
    """Return what was said last of a session's training."""
    return stub.GetTrainStatus(session_id=session).latest_progress


def wait_until(is_true: Callable[[], bool]) -> None:
    """Wait until something is true, for half a minute."""
    for _ in range(600):
        if is_true():
            return
        time.sleep(0.05)
    raise AssertionError("it did not become true")


def trainers() -> list[psutil.Process]:
    """Return the processes that train for this one."""
    return [each for each in psutil.Process().children() if PROGRAM in each.cmdline()]


@pytest.mark.slow
def test_a_node_that_lets_nobody_else_run_keeps_no_call_waiting(
    stub: Any, learner: str, begin: Callable[..., threading.Thread]
) -> None:
    """Calls of others are answered, its own status too, and StopTrain ends it within seconds."""
    words: list[Any] = []
    thread = begin(words, [], pause=-1.0)
    other = stub.CreateSession(timeout=5).session_id
    assert stub.ListAvailableNodes(session_id=other, timeout=5).nodes
    assert latest(stub, learner).status == RUNNING
    assert stub.StopTrain(session_id=learner, timeout=5).accepted
    thread.join(30)
    assert words[-1].status == CANCELLED
    assert trainers() == []
    stub.CloseSession(session_id=other)


@pytest.mark.slow
def test_a_training_whose_process_is_killed_fails_and_can_begin_again(
    stub: Any, learner: str, begin: Callable[..., threading.Thread]
) -> None:
    """The stream says so, in words and by its status; the server and the session go on."""
    errors: list[Any] = []
    thread = begin([], errors, pause=30.0)
    trainers()[0].kill()
    thread.join(30)
    assert errors[0].code().name == "RESOURCE_EXHAUSTED"
    assert "SIGKILL" in errors[0].details()
    assert latest(stub, learner).status == ERROR
    words: list[Any] = []
    begin(words, []).join(30)
    assert words[-1].status == COMPLETE


@pytest.mark.slow
def test_what_is_trained_is_the_code_that_the_session_loaded(
    stub: Any, learner: str, begin: Callable[..., threading.Thread], tmp_path: Path
) -> None:
    """Where a plugin's folder was changed since, the training is refused, and says what to do."""
    words: list[Any] = []
    begin(words, []).join(30)
    source = tmp_path / "centre" / "src" / "centre" / "nodes.py"
    source.write_text(source.read_text().replace("cube - self", "cube + self"))
    with pytest.raises(grpc.RpcError) as caught:
        list(stub.Train(session_id=learner, trainer_type=STATISTICAL))
    assert caught.value.code().name == "FAILED_PRECONDITION"
    assert "'centre'" in caught.value.details()
    assert "has changed" in caught.value.details()


@pytest.mark.slow
def test_times_of_nodes_are_taken_of_a_training_too(
    stub: Any, learner: str, begin: Callable[..., threading.Thread]
) -> None:
    """SetProfiling before it, GetProfilingSummary after it."""
    nodes = [{"name": "first", "class_name": "Centre"}, {"name": "centre", "class_name": "Centre"}]
    edges = [{"source": "first.cube", "target": "centre.cube"}]
    stub.SetProfiling(session_id=learner, enabled=True)
    begin([], [], nodes=nodes, edges=edges).join(30)
    stats = {each.node_name: each.count for each in stub.GetProfilingSummary(session_id=learner).node_stats}
    assert stats == {"first": 1}


def test_a_process_that_cannot_begin_is_a_bug_that_the_log_has(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The session can train again, and knows that it failed."""
    session = Session(registry=lambda: NodeRegistry(discover=False))
    training = training_of(session)
    assert training_of(session) is training
    task: Any = SimpleNamespace(folder=str(tmp_path), to_json=lambda: b"junk\n")
    context = SimpleNamespace(add_callback=lambda _: True, is_active=lambda: True)
    said: list[Any] = []
    with pytest.raises(ServiceError, match="The process of the training ") as caught:
        said.extend(training.run(session, task, context))
    assert caught.value.code == "INTERNAL"
    assert (training.latest.status, training.latest.message) == (ERROR, str(caught.value))
    assert not training.is_running
    assert not training.stop()
    assert "JSONDecodeError" in caplog.text


def test_a_training_that_nobody_waits_for_does_not_begin(tmp_path: Path) -> None:
    """Its call was over before its process was there."""
    session = Session(registry=lambda: NodeRegistry(discover=False))
    training = training_of(session)
    task: Any = SimpleNamespace(folder=str(tmp_path), to_json=lambda: b"junk\n")
    context = SimpleNamespace(add_callback=lambda _: False, is_active=lambda: False)
    begins, last = training.run(session, task, context)
    assert begins.status == RUNNING
    assert (last.status, last.message) == (CANCELLED, "stopped before it began")
    assert training.latest == last
    assert not training.is_running
