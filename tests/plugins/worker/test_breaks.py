"""Calls that are broken off, processes that share what they should not, states that got lost: never a wrong answer."""

import copy
import gc
import os
import pickle
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.errors import (
    PortError,
    RemoteError,
    WorkerCrashError,
    WorkerError,
    WorkerTimeoutError,
)
from cuvis_ai_core.node.base import overrides
from cuvis_ai_core.plugins.worker import proxy
from cuvis_ai_core.plugins.worker.connection import Connection
from cuvis_ai_core.plugins.worker.shared_memory import HostMemory

Construct = Callable[..., Any]
Load = Callable[[], NodeRegistry]


class TooLongError(Exception):
    """What the program's own alarm raises."""


@pytest.fixture
def alarm() -> Iterator[Callable[[float], object]]:
    """Return a function that has an exception raised in this thread after some seconds."""

    def ring(*_: object) -> None:
        raise TooLongError

    before = signal.signal(signal.SIGALRM, ring)
    yield partial(signal.setitimer, signal.ITIMER_REAL)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.slow
def test_a_call_that_is_broken_off_leaves_no_answer_behind(node: Construct, alarm: Callable[[float], object]) -> None:
    """Whatever exception of the program's own did it: the next calls get their own answers."""
    bad, echo = node("Misbehaving"), node("Echo")
    bad.forward(what="fine")
    alarm(0.3)
    with pytest.raises(TooLongError):
        bad.forward(what="sleep")
    assert [echo.forward(value=number)["value"] for number in range(5)] == list(range(5))


FORK = """
import os, sys
from cuvis_ai_core import NodeRegistry

NodeRegistry.set_cache_dir(sys.argv[1])
registry = NodeRegistry(discover=False)
entry = {"path": sys.argv[2], "provides": ["process_nodes.nodes.Echo"], "isolation": "process"}
registry.load_plugin("process_nodes", entry)
echo = registry.get("Echo")()
assert echo.forward(value=0)["value"] == 0
child = os.fork()
start = 1000 if child else 0
wrong = [number for number in range(start, start + 200) if echo.forward(value=number)["value"] != number]
if not child:
    registry.close()
    os._exit(bool(wrong))
_, status = os.waitpid(child, 0)
assert (wrong, status) == ([], 0), (wrong, status)
assert echo.forward(value=7)["value"] == 7
"""


@pytest.mark.usefixtures("registry")
def test_a_program_that_forks_shares_no_worker(shared_cache: Path, project: Path) -> None:
    """Parent and child have one each, and what the child closes is its own."""
    command = [sys.executable, "-W", "ignore", "-c", FORK, str(shared_cache), str(project)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


def test_a_state_that_was_loaded_and_then_lost_is_missed(node: Construct) -> None:
    """A worker that ends before it told what was loaded: the node does not go on with another state."""
    fragile = node("Fragile")
    fragile.load_state_dict({"number": 5.0})
    with pytest.raises(WorkerCrashError):
        fragile.load_state_dict({"number": -1.0})
    with pytest.raises(WorkerError, match="cannot be brought back as it was: its process ended before it told"):
        fragile.forward()


@pytest.mark.parametrize(
    ("table", "most", "said"),
    [
        ("odd", proxy._MOST_KEPT, r"an object of class builtins\.object cannot cross"),
        ("large", 2**19 - 1, "it has 0.0 GB, and more than 0 GB are not kept"),
        ("large", 2**19, None),
    ],
)
def test_a_state_that_is_not_kept_is_missed(
    node: Construct, monkeypatch: pytest.MonkeyPatch, table: str, most: int, said: str | None
) -> None:
    """Why is said only once it is needed; until then the node works."""
    monkeypatch.setattr(proxy, "_MOST_KEPT", most)
    fragile = node("Fragile", table)
    assert fragile.forward()["table"] == table
    fragile.cancel()
    if said is None:
        assert fragile.forward()["table"] == table
    else:
        with pytest.raises(WorkerError, match=f"cannot be brought back as it was: {said}"):
            fragile.forward()


@pytest.mark.parametrize("frozen", [True, False])
def test_a_node_that_comes_back_is_frozen_as_it_was(node: Construct, *, frozen: bool) -> None:
    """By what it was told last."""
    fragile = node("Fragile")
    (fragile.unfreeze if frozen else fragile.freeze)()
    (fragile.freeze if frozen else fragile.unfreeze)()
    assert fragile.frozen is frozen
    fragile.cancel()
    assert fragile.forward()["table"] == ()
    assert fragile.frozen is frozen


def test_a_node_that_did_not_come_back_comes_back_as_it_was_before(
    node: Construct, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it became half-way does not count."""
    scale = node("Scale")
    scale.load_state_dict({"mean": np.array(5.0)})
    scale.statistically_initialized = False
    scale.cancel()
    request = Connection.request

    def failing(connection: Connection, do: str, given: object, **more: Any) -> Any:
        if do == "initialized":
            raise WorkerError("no")
        return request(connection, do, given, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Connection, "request", failing)
        for _ in range(2):
            with pytest.raises(WorkerError, match="no"):
                scale.forward(cube=np.ones((1, 1, 1, 3), np.float32))
    assert scale.forward(cube=np.ones((1, 1, 1, 3), np.float32))["mean"] == 5.0
    assert scale.statistically_initialized is False


def test_what_a_reset_did_is_not_undone_by_a_crash(node: Construct) -> None:
    """The state that the node had last is that after it."""
    fragile = node("Fragile")
    fragile.load_state_dict({"number": 5.0})
    fragile.reset()
    fragile.cancel()
    assert fragile.forward()["number"] == 0.0


def test_a_node_that_comes_back_prepares_for_inference_again(node: Construct) -> None:
    """What it made for that was in the process that ended; a class that makes nothing is not asked."""
    keeper = node("Keeper")
    keeper.prepare_inference()
    before = keeper.forward(cube=np.zeros(1, np.float32))["first"]
    keeper.cancel()
    after = keeper.forward(cube=np.zeros(1, np.float32))["first"]
    assert before > 0
    assert after > 0
    assert after != before
    assert not overrides(type(node("Echo")), "prepare_inference")


def test_a_node_comes_back_with_the_arguments_that_it_was_given(node: Construct) -> None:
    """Not with what the caller made of them since."""
    table = [1, 2]
    fragile = node("Fragile", table=table)
    table.append(99)
    fragile.cancel()
    assert fragile.forward()["table"] == [1, 2]


def test_a_node_comes_back_with_what_it_chose_since(node: Construct) -> None:
    """Hyper-parameters that a calibration changed hold in another worker too, however they were handed over."""
    fragile = node("Fragile", [1])
    fragile.calibrate([7], limit=3.0)
    fragile.cancel()
    assert fragile.forward()["table"] == [7]
    assert fragile.hparams == {"table": [7], "limit": 3.0}


def test_what_a_node_is_told_in_another_worker_is_told_under_its_name(
    node: Construct, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its state, and what was set since: who waits for an answer to any of it can be told for which node."""
    scale = node("Scale", name="s")
    scale.load_state_dict({"mean": np.array(5.0)})
    scale.statistically_initialized = False
    scale.to("cuda:1")
    scale.cancel()
    told: list[tuple[str, str | None]] = []
    request = Connection.request

    def noted(connection: Connection, do: str, given: object, **more: Any) -> Any:
        told.append((do, more.get("name")))
        return request(connection, do, given, **more)

    monkeypatch.setattr(Connection, "request", noted)
    assert scale.forward(cube=np.ones((1, 1, 1, 3), np.float32))["mean"] == 5.0
    asked = ["construct", "load_state_dict", "initialized", "to", "forward"]
    assert told == [(each, "s") for each in asked]
    assert scale.statistically_initialized is False


@pytest.mark.parametrize("method", ["cleanup", "close"])
def test_what_ended_with_its_process_is_not_made_anew_to_be_closed(
    node: Construct, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    """It holds nothing any more."""
    fragile = node("Fragile")
    with pytest.raises(WorkerCrashError):
        node("Misbehaving").forward(what="exit")
    caplog.clear()
    getattr(fragile, method)()
    assert "starts anew" not in caplog.text


def test_an_attribute_that_the_real_node_would_not_hear_of_is_refused(node: Construct) -> None:
    """It would be a change that nothing shows."""
    with pytest.raises(WorkerError, match=r"Node 'Scale': 'factor' cannot be set from here"):
        node("Scale").factor = 100.0


@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_node_cannot_be_copied(node: Construct, make: Callable[[object], object]) -> None:
    """One clear error says what to do instead."""
    with pytest.raises(WorkerError, match="cannot be copied or pickled"):
        make(node("Scale"))


def test_closing_while_a_node_is_constructed_leaves_no_process(load: Load) -> None:
    """Whichever is first: the other one finds the plugin unloaded."""
    before = set(psutil.Process().children(recursive=True))
    for turn in range(8):
        registry = load()
        node_class = registry.get("Scale")
        thread = threading.Thread(target=_try, args=(node_class,))
        thread.start()
        time.sleep(0.01 * turn)
        registry.close()
        thread.join()
    assert set(psutil.Process().children(recursive=True)) == before


def _try(work: Callable[[], object]) -> None:
    try:
        work()
    except WorkerError:
        return


@pytest.mark.slow
def test_many_arrays_may_be_held(node: Construct) -> None:
    """Each costs an open file only up to some number of them."""
    echo = node("Echo")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(400, limits[1]), limits[1]))
    try:
        held = [echo.forward(value=np.full(9_000, number))["value"] for number in range(600)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert [int(each[0]) for each in held] == [int(each[-1]) for each in held] == list(range(600))


def test_an_answer_that_cannot_cross_leaves_no_memory(node: Construct) -> None:
    """What was made for its first half is used again."""
    bad, this = node("Misbehaving"), psutil.Process()
    for _ in range(5):
        _half(bad)
    before = this.num_fds()
    for _ in range(30):
        _half(bad)
    assert this.num_fds() <= before


@pytest.mark.parametrize("cause", [OSError("no memory"), MemoryError("no memory"), KeyError("no memory")])
def test_what_cannot_be_sent_for_want_of_room_says_so(
    node: Construct, monkeypatch: pytest.MonkeyPatch, cause: Exception
) -> None:
    """Another cause comes as it is; either way the next call works, in the same process."""
    echo, bad = node("Echo"), node("Misbehaving")
    pid = bad.forward(what="pid")["answer"]
    with monkeypatch.context() as patch:

        def room(*_: object) -> None:
            raise cause

        patch.setattr(HostMemory, "room", room)
        expected = KeyError if isinstance(cause, KeyError) else WorkerError
        with pytest.raises(expected, match="no memory") as caught:
            echo.forward(value=np.zeros(10**6))
        if isinstance(caught.value, WorkerError):
            assert caught.value.message == (
                "There is no room for what is to cross to the worker process of plugin 'process_nodes': no memory"
            )
            assert "ulimit -n" in str(caught.value.hint)
    assert int(echo.forward(value=np.ones(10**6))["value"].sum()) == 10**6
    assert bad.forward(what="pid")["answer"] == pid


def test_what_cannot_be_sent_leaves_no_memory(node: Construct) -> None:
    """What its first half is in is used again, as is what an answer came in."""
    echo, this = node("Echo"), psutil.Process()
    opened = []
    for _ in range(20):
        with pytest.raises(WorkerError, match="cannot cross"):
            echo.forward(value=[np.zeros(2**17), object()])
        echo.forward(value=np.zeros(2**17))
        opened.append(this.num_fds())
    assert max(opened[10:]) <= max(opened[:10])


def test_a_node_that_nobody_has_any_more_is_let_go_of_in_its_worker(node: Construct) -> None:
    """With the next call; its memory would be taken to the end of the registry."""
    keeper, bad = node("Keeper"), node("Misbehaving")
    assert "Keeper" in bad.forward(what="nodes")["answer"]
    del keeper
    gc.collect()
    assert "Keeper" not in bad.forward(what="nodes")["answer"]


def _half(bad: Any) -> None:
    with pytest.raises(WorkerError, match="cannot cross"):
        bad.forward(what="half")


def test_the_limit_holds_for_a_worker_that_takes_nothing(node: Construct, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was stopped does not hold up its host."""
    bad, echo = node("Misbehaving"), node("Echo")
    pid = bad.forward(what="pid")["answer"]
    monkeypatch.setenv("CUVIS_WORKER_TIMEOUT", "1")
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(WorkerTimeoutError):
        echo.forward(value=b"x" * 3_000_000)
    monkeypatch.delenv("CUVIS_WORKER_TIMEOUT")
    assert echo.forward(value=1)["value"] == 1


@pytest.mark.parametrize("limit", ["abc", "0", "-1", "1e3"])
def test_a_limit_that_is_no_number_of_seconds_is_an_error(
    node: Construct, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    """It names the variable and the rule."""
    echo = node("Echo")
    monkeypatch.setenv("CUVIS_WORKER_TIMEOUT", limit)
    with pytest.raises(WorkerError, match=rf"CUVIS_WORKER_TIMEOUT is '{limit}'; it has to be a number of seconds"):
        echo.forward(value=1)
    monkeypatch.delenv("CUVIS_WORKER_TIMEOUT")
    assert echo.forward(value=1)["value"] == 1


def test_a_limit_of_years_is_no_trouble(node: Construct, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system counts to less."""
    monkeypatch.setenv("CUVIS_WORKER_TIMEOUT", "9999999999")
    bad = node("Misbehaving")
    assert bad.forward(what="loop_a_little")["answer"] == "done"


def test_a_crash_is_that_of_one_call(node: Construct) -> None:
    """Those who waited for their turn meanwhile get their answers, from the next worker."""
    bad, echo = node("Misbehaving"), node("Echo")
    answers: list[Any] = []
    started = threading.Event()

    def crash() -> None:
        started.set()
        with pytest.raises(WorkerCrashError):
            bad.forward(what="sleep_and_exit")

    def ask(number: int) -> None:
        started.wait()
        answers.append(echo.forward(value=number)["value"])

    threads = [threading.Thread(target=crash), *(threading.Thread(target=ask, args=(each,)) for each in range(6))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(int, answers)) == list(range(6))


def test_errors_of_this_package_come_with_the_trace(node: Construct) -> None:
    """They keep their class and their advice."""
    with pytest.raises(PortError, match="no such port") as caught:
        node("Misbehaving").forward(what="raise_ours")
    assert caught.value.hint is not None
    assert "Take another one." in caught.value.hint
    assert "in raise_ours" in caught.value.hint


def test_arguments_that_the_real_node_would_refuse_are_refused(node: Construct) -> None:
    """One too many, or one twice."""
    echo = node("Echo")
    for args, kwargs in (((1, 2), {}), ((1,), {"value": 2})):
        with pytest.raises(RemoteError) as caught:
            echo.forward(*args, **kwargs)
        assert caught.value.kind == "TypeError"
