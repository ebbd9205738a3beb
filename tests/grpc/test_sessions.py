"""Sessions: made, pointed at folders, closed, and gone when nobody calls them."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cuvis_ai_core.errors import ServiceError
from cuvis_ai_core.grpc.server.open_sessions import Sessions


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
    sessions.close_all()
    assert len(sessions) == 0
