"""Sessions: made, pointed at folders, closed, and gone when nobody calls them."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from cuvis_ai_core import NodeRegistry, Pipeline
from cuvis_ai_core.errors import ServiceError
from cuvis_ai_core.grpc.server import open_sessions
from cuvis_ai_core.grpc.server.open_sessions import Sessions
from cuvis_ai_core.grpc.server.server import Server
from cuvis_ai_core.grpc.server.settings import Settings


def test_a_session_is_closed_once(stub: Any, refused: Callable[..., Any]) -> None:
    """Closing twice, or what was never there, is NOT_FOUND."""
    number = stub.CreateSession().session_id
    assert stub.CloseSession(session_id=number).success
    refused("NOT_FOUND", stub.CloseSession, session_id=number)
    refused("NOT_FOUND", stub.ListAvailableNodes, session_id=number)
    refused("NOT_FOUND", stub.ListLoadedPlugins, session_id="")


def test_search_paths_are_appended_unless_told_otherwise(
    stub: Any, session: str, shared_root: Path, tmp_path: Path
) -> None:
    """A folder that is not there or not below a root is rejected, by name."""
    first, second = shared_root / "one", shared_root / "two"
    for folder in (first, second):
        folder.mkdir(exist_ok=True)
    stub.SetSessionSearchPaths(session_id=session, search_paths=[str(first)], append=False)
    told = stub.SetSessionSearchPaths(session_id=session, search_paths=[str(second), "absent", str(tmp_path), "/etc"])
    assert list(told.current_paths) == [str(first), str(second)]
    assert list(told.rejected_paths) == ["absent", str(tmp_path), "/etc"]
    assert not told.success


def test_a_link_that_leads_out_of_the_roots_is_rejected(
    stub: Any, session: str, shared_root: Path, tmp_path: Path
) -> None:
    """What counts is where a link leads."""
    link = shared_root / f"link-{session[:6]}"
    link.symlink_to(tmp_path)
    assert stub.SetSessionSearchPaths(session_id=session, search_paths=[str(link)]).rejected_paths == [str(link)]


def test_an_idle_session_is_closed() -> None:
    """A client that vanished leaves nothing."""
    sessions = Sessions(idle=0.05)
    session = sessions.create()
    ended: list[bool] = []
    session.at_end.append(lambda: ended.append(True))
    sessions.start()
    for _ in range(1500):
        if ended:
            break
        time.sleep(0.02)
    assert ended
    with pytest.raises(ServiceError) as caught:
        sessions.get(session.id)
    assert caught.value.code == "NOT_FOUND"
    sessions.close_all()


def test_calls_of_one_session_run_in_turn_and_only_so_many_wait() -> None:
    """The call that would be one too many is refused at once."""
    sessions = Sessions(most_waiting=1)
    session = sessions.create()
    waiting = threading.Event()
    order: list[str] = []

    def second() -> None:
        waiting.set()
        with session.turn():
            order.append("second")

    with session.turn():
        thread = threading.Thread(target=second)
        thread.start()
        waiting.wait()
        while not session._waiting:
            time.sleep(0.001)
        with pytest.raises(ServiceError) as caught, session.turn():
            pass
        order.append("first")
    thread.join()
    assert caught.value.code == "RESOURCE_EXHAUSTED"
    assert order == ["first", "second"]
    assert not session.is_busy


def test_who_is_gone_is_not_waited_with() -> None:
    """His call ends, and leaves no trace; one that waits for a session which is closed meanwhile finds none."""
    session = Sessions().create()
    held, waiting, errors = threading.Event(), threading.Event(), list[ServiceError]()

    def hold() -> None:
        with session.turn():
            held.set()
            assert waiting.wait(30)

    def still_waits() -> bool:
        waiting.set()
        return True

    def follow() -> None:
        try:
            with session.turn(still_waits):
                pass
        except ServiceError as error:
            errors.append(error)

    threads = [threading.Thread(target=each) for each in (hold, follow)]
    threads[0].start()
    assert held.wait(30)
    with pytest.raises(ServiceError) as caught, session.turn(lambda: False):
        pass
    assert caught.value.code == "CANCELLED"
    assert session.is_busy
    session.closing = True
    threads[1].start()
    for each in threads:
        each.join()
    assert [each.code for each in errors] == ["NOT_FOUND"]
    assert not session.is_busy


def test_a_closed_session_lets_go_of_all_whatever_fails(caplog: pytest.LogCaptureFixture) -> None:
    """Of its pipeline and its plugins too; what fails is in the log."""
    let_go: list[str] = []

    def fail() -> None:
        let_go.append("failed")
        raise ValueError("not now")

    sessions = Sessions(registry=lambda: NodeRegistry(discover=False))
    session = sessions.create()
    content = {"nodes": [{"name": "scaler", "class_name": "MinMaxNormalizer"}]}
    first, second = (Pipeline.from_dict(content, node_registry=session.node_registry) for _ in range(2))
    for each in (first, second):
        each.close = lambda name=each: let_go.append("pipeline")  # type: ignore[method-assign, misc]
    session.set_pipeline(first)
    session.set_pipeline(second)
    assert let_go == ["pipeline"]
    assert session.sources.keys() == {"scaler"}
    session.node_registry.close = lambda: let_go.append("registry")  # type: ignore[method-assign]
    session.at_end += [fail, lambda: let_go.append("last")]
    session.extras["kept"] = object()
    let_go.clear()
    sessions.close(session.id)
    assert {"pipeline", "registry", "failed", "last"} == set(let_go)
    assert (session.pipeline, session.sources, session.extras) == (None, {}, {})
    assert "not now" in caplog.text
    let_go.clear()
    session.close()
    assert let_go == ["registry"]  # nothing twice but what may be


def test_who_calls_is_not_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither while a call runs, nor so long after it."""
    now = [1000.0]
    monkeypatch.setattr(open_sessions, "time", SimpleNamespace(monotonic=lambda: now[0]))
    sessions = Sessions(idle=10)
    session, other = sessions.create(), sessions.create()
    now[0] += 10
    sessions.close_idle()
    assert sessions.all() == [session, other]
    now[0] += 1
    with session.turn():
        now[0] += 100
        sessions.close_idle()
        assert sessions.all() == [session]
        assert other.closing
    for later, left in ((10, 1), (1, 0)):
        now[0] += later
        sessions.close_idle()
        assert len(sessions) == left
    assert session.closing


def test_what_else_is_done_now_and_then_may_fail() -> None:
    """It is done again."""
    done = threading.Semaphore(0)

    def tidy() -> None:
        done.release()
        raise OSError("not now")

    sessions = Sessions(idle=0.01, tidy=tidy)
    sessions.start()
    assert all(done.acquire(timeout=30) for _ in range(2))
    sessions.close_all()


def test_who_asks_for_a_training_waits_for_nobody(tmp_path: Path, connect: Callable[..., Any]) -> None:
    """Neither for the session's other calls, nor for a place to work; all else does."""
    with Server(Settings(port=0, workers=1, working_directory=tmp_path)) as server:
        stub = connect(server.address)
        number = stub.CreateSession().session_id

        def ask() -> None:
            assert stub.GetTrainStatus(session_id=number, timeout=60).latest_progress.status == 0
            assert not stub.StopTrain(session_id=number, timeout=60).accepted
            with pytest.raises(grpc.RpcError) as caught:
                stub.ListLoadedPlugins(session_id=number, timeout=0.05)
            assert caught.value.code().name == "DEADLINE_EXCEEDED"

        with server.service.sessions.get(number).turn():
            ask()
        with server.service.working:
            ask()
        assert list(stub.ListLoadedPlugins(session_id=number).plugins) == []


def test_a_session_that_is_closed_while_a_call_runs_is_freed_after_it() -> None:
    """The call ends as it would have."""
    sessions = Sessions()
    session = sessions.create()
    freed: list[bool] = []
    with session.turn():
        session.at_end.append(lambda: freed.append(True))
        closing = threading.Thread(target=lambda: sessions.close(session.id))
        closing.start()
    closing.join()
    assert freed


def test_there_are_only_so_many_sessions(stub: Any) -> None:
    """One more is RESOURCE_EXHAUSTED."""
    sessions = Sessions(most=2)
    sessions.create(), sessions.create()
    with pytest.raises(ServiceError) as caught:
        sessions.create()
    assert caught.value.code == "RESOURCE_EXHAUSTED"
    assert "--max-sessions" in str(caught.value)
    made = sessions.all()
    sessions.close_all()
    assert len(sessions) == 0
    assert [each.closing for each in made] == [True, True]
