"""Runs that are stopped: the one that is meant, before its next node, and nodes elsewhere at once."""

from types import SimpleNamespace
from typing import Any

import pytest

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.grpc.server.open_sessions import Session
from cuvis_ai_core.grpc.server.run_cancellation import Stopped, stopper_of


class Elsewhere:
    """A node that can be cancelled."""

    def __init__(self) -> None:
        self.cancelled = 0

    def cancel(self) -> None:
        """Count it."""
        self.cancelled += 1


@pytest.fixture
def session() -> Session:
    """Return a session without a pipeline."""
    return Session(registry=lambda: NodeRegistry(discover=False))


def test_a_run_is_stopped_before_its_next_node(session: Session) -> None:
    """And no other: neither one that has ended, nor the one after it."""
    stopper = stopper_of(session)
    assert stopper_of(session) is stopper
    stopper.cuvis_ai_node_started("a")  # no run of a call
    first = stopper.begin(session)
    stopper.cuvis_ai_node_started("a")
    first.ask()
    assert first.is_asked
    with pytest.raises(Stopped):
        stopper.cuvis_ai_node_started("b")
    second = stopper.begin(session)
    stopper.cuvis_ai_node_started("a")
    second.end()
    second.ask()
    second.look()
    assert not second.is_asked


def test_nodes_in_processes_of_their_own_are_cancelled(session: Session) -> None:
    """By the method of their class: what a node calls so itself may be anything."""
    node, other = Elsewhere(), SimpleNamespace(cancel=lambda: pytest.fail("it is the node's own"))
    pipeline: Any = SimpleNamespace(nodes={"a": other, "b": node})
    session.pipeline = pipeline
    run = stopper_of(session).begin(session)
    assert node.cancelled == 0
    run.ask()
    assert node.cancelled == 1
    run.end()
    run.ask()
    assert node.cancelled == 1
