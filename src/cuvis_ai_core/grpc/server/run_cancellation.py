"""Runs that are really stopped: between two nodes, and within one that runs in a process of its own."""

import threading
from typing import TYPE_CHECKING

from cuvis_ai_hookspecs import hookimpl

if TYPE_CHECKING:
    from cuvis_ai_core.grpc.server.open_sessions import Session


# No Exception: a node that catches those would go on.
class Stopped(BaseException):
    """A run was stopped, by whoever wanted it or because nobody waits for it any more."""


class Stopper:
    """Looks before each node of a session's pipelines whether the call that runs is to stop."""

    def __init__(self) -> None:
        self._current: Run | None = None

    @hookimpl
    def cuvis_ai_node_started(self, node: str) -> None:  # noqa: ARG002 - as the hook names it
        """End the run where that is wanted."""
        if self._current is not None:
            self._current.look()

    def begin(self, session: "Session") -> "Run":
        """Return what stops the run that begins now, and no other."""
        self._current = Run(session)
        return self._current


class Run:
    """One run that can be stopped.

    Args:
        session: Whose pipeline runs.
    """

    def __init__(self, session: "Session") -> None:
        self._session = session
        self._asked = threading.Event()
        self._ended = False

    @property
    def is_asked(self) -> bool:
        """Whether the run is to stop."""
        return self._asked.is_set()

    def look(self) -> None:
        """End the run where that is wanted.

        Raises:
            Stopped: It is.
        """
        if self._asked.is_set():
            raise Stopped

    def ask(self) -> None:
        """Have the run stop before its next node; a node in a process of its own is ended."""
        if self._ended:
            return
        self._asked.set()
        pipeline = self._session.pipeline
        for node in pipeline.nodes.values() if pipeline is not None else ():
            # Of the class: a node's attribute of that name may be anything.
            if callable(cancel := getattr(type(node), "cancel", None)):
                cancel(node)

    def end(self) -> None:
        """Say that the run has ended: from now on there is nothing to stop."""
        self._ended = True


def stopper_of(session: "Session") -> Stopper:
    """Return the stopper of a session, which is made for its first run."""
    return session.kept("stopper", Stopper, session.node_registry.register_hooks)
