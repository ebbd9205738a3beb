"""Calls whose messages do not come, or whose answers nobody takes, are ended, and nobody keeps those that are over."""

import gc
import weakref
from collections.abc import Callable, Iterator
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("grpc")

from cuvis_ai_core.grpc.server import slow_clients
from cuvis_ai_core.grpc.server.slow_clients import HEALTH, Patience

FOREVER = 1e6


class Call:
    """The context of a call, as gRPC has it."""

    def __init__(self, *, over: bool = False) -> None:
        self.over = over
        self.cancelled = Event()
        self.callbacks: list[Callable[[], None]] = []

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Call it when the call is over, if it is not."""
        if not self.over:
            self.callbacks.append(callback)
        return not self.over

    def cancel(self) -> None:
        """End it."""
        self.cancelled.set()


@pytest.mark.parametrize("over", [False, True])
def test_nobody_keeps_a_call_that_is_over(*, over: bool) -> None:
    """Whether its answer was taken, or it had ended before."""
    patience, call = Patience(FOREVER), Call(over=over)
    assert list(patience.messages(iter([1, 2]), call, "/a")) == [1, 2]
    assert list(patience.answers(iter([3, 4]), call)) == [3, 4]
    while call.callbacks:
        call.callbacks.pop()()
    gone = weakref.ref(call)
    del call
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("what", ["message", "answer", "taken"])
def test_a_call_that_is_late_is_ended(what: str) -> None:
    """In the middle of its messages, of its answers, and at its end; one that is in time goes on."""
    patience, late, other = Patience(0.01), Call(), Call()
    patience.start()
    try:

        def waiting() -> Iterator[int]:
            yield 1
            assert late.cancelled.wait(10)

        if what == "message":
            assert list(patience.messages(waiting(), late, "/a")) == [1]
        elif what == "answer":
            for _ in patience.answers(iter([1]), late):
                assert late.cancelled.wait(10)
        else:
            patience.taken(late)
            assert late.cancelled.wait(10)
    finally:
        patience.stop()
    assert not other.cancelled.is_set()


@pytest.mark.parametrize(
    ("longest", "method", "ends"), [(5.0, "/a", 5.0), (60.0, HEALTH + "Check", 10.0), (5.0, HEALTH, 5.0)]
)
def test_strangers_get_less_time(longest: float, method: str, ends: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """What needs no token has a limit of its own."""
    now = [100.0]
    monkeypatch.setattr(slow_clients, "time", SimpleNamespace(monotonic=lambda: now[0]))
    patience: Any = Patience(longest)
    call = Call()

    def requests() -> Iterator[int]:
        for at, ended in ((0.0, False), (ends, False), (ends + 0.1, True)):
            now[0] = 100.0 + at
            patience._ended = Looks(1)
            patience._look()
            assert call.cancelled.is_set() == ended
        yield 1

    assert list(patience.messages(requests(), call, method)) == [1]


class Looks:
    """Lets somebody look some times."""

    def __init__(self, count: int) -> None:
        self.count = count

    def wait(self, _: float) -> bool:
        """Tell whether it was enough."""
        self.count -= 1
        return self.count < 0
