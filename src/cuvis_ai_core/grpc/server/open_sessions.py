"""What a client has on the server: a session with a registry, a pipeline, search paths and a trainrun of its own."""

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cuvis_ai_core.errors import ServiceError
from cuvis_ai_core.grpc.server.node_state_file import sources_of
from cuvis_ai_core.registry import NodeRegistry

if TYPE_CHECKING:
    from pathlib import Path

    from cuvis_ai_core.pipeline.pipeline import Pipeline

logger = logging.getLogger(__name__)

_LOOK: Final = 0.1
"""Seconds between looks whether a client that waits for its turn is still there."""


_Kept = TypeVar("_Kept")


class Session:
    """One client's state; its calls run one after the other, each in its turn.

    Args:
        most_waiting: How many calls may wait for their turn.
        registry: Makes its registry.
    """

    def __init__(self, most_waiting: int = 16, registry: Callable[[], NodeRegistry] = NodeRegistry) -> None:
        # Not to be guessed: whoever knows the number of a session has all of it.
        self.id = secrets.token_hex(16)
        self.node_registry = registry()
        self.search_paths: list[Path] = []
        self.pipeline: Pipeline | None = None
        self.sources: dict[str, tuple[str, int, int]] = {}
        """The files of its node classes, as they were when it was built."""
        self.trainrun: Any = None
        """What `SetTrainRunConfig` set, as data."""
        self.plugins: dict[str, Any] = {}
        """The manifest entries of the plugins that are loaded."""
        self.generation: tuple[int, int] | None = None
        """The generation of the schemas that the client's calls have shown."""
        # Not by the clock, which may be set: all sessions would be idle for years at once.
        self.used = time.monotonic()
        self.closing = False
        self.at_end: list[Callable[[], object]] = []
        """What else is to be let go of."""
        self.extras: dict[str, Any] = {}
        """What groups of calls keep for the session: profiler, training, shared memory."""
        self._most_waiting = most_waiting
        self._waiting = 0
        self._count = threading.Lock()
        self._turn = threading.Lock()

    def kept(self, key: str, kind: type[_Kept], begun: Callable[[_Kept], object]) -> _Kept:
        """Return what some calls keep for the session among its extras; one is told of it when it is made."""
        found = self.extras.get(key)
        if found is None:
            found = self.extras[key] = kind()
            begun(found)
        assert isinstance(found, kind)
        return found

    @contextmanager
    def turn(self, is_alive: Callable[[], bool] = lambda: True) -> Iterator[None]:
        """Wait until no other call of the session runs.

        Args:
            is_alive: Tells whether the client still waits.

        Raises:
            ServiceError: Too many calls wait, the client is gone, or the session is closed.
        """
        with self._count:
            if self._waiting >= self._most_waiting:
                raise ServiceError(
                    f"{self._waiting} calls of this session wait for their turn already.", code="RESOURCE_EXHAUSTED"
                )
            self._waiting += 1
        try:
            # In steps: gRPC wakes no thread whose client has gone.
            while not self._turn.acquire(timeout=_LOOK):
                if not is_alive():
                    raise ServiceError("The client did not wait.", code="CANCELLED")
        finally:
            with self._count:
                self._waiting -= 1
        try:
            if self.closing:
                raise unknown(self.id)
            self.used = time.monotonic()
            yield
        finally:
            self._leave()

    def close(self) -> None:
        """Let go of everything, now or when the call that runs has ended."""
        self.closing = True
        for stop in list(self.at_end):  # a training ends soon when it is told to
            _without_error(stop)
        # Without an end a session whose node hangs could not be closed; whoever has the turn lets go in its stead.
        if self._turn.acquire(timeout=5):
            self._leave()

    @property
    def is_busy(self) -> bool:
        """Whether a call runs or waits."""
        return self._turn.locked() or self._waiting > 0

    def list_available_nodes(self) -> list[Any]:
        """Return all nodes that are known here: name, full path, plugin (None for a built-in one)."""
        return self.node_registry.nodes()

    def set_pipeline(self, pipeline: "Pipeline | None") -> None:
        """Take a pipeline in the place of the one before, which is closed."""
        # Exchanged first: should closing the old one fail, the new one is in place.
        before, self.pipeline = self.pipeline, pipeline
        self.sources = sources_of(pipeline) if pipeline is not None else {}
        if before is not None:
            before.close()

    def needed_pipeline(self) -> "Pipeline":
        """Return the pipeline.

        Raises:
            ServiceError: There is none yet.
        """
        if self.pipeline is None:
            raise ServiceError(
                "The session has no pipeline yet.",
                hint="Call LoadPipeline or SetTrainRunConfig first.",
                code="FAILED_PRECONDITION",
            )
        return self.pipeline

    def _leave(self) -> None:
        """End a turn; the last one frees what the session holds."""
        self.used = time.monotonic()
        try:
            if self.closing:
                _without_error(lambda: self.set_pipeline(None))
                _without_error(self.node_registry.close)
                for stop in self.at_end:
                    _without_error(stop)
                self.at_end.clear()
                self.extras.clear()
        finally:
            self._turn.release()


class Sessions:
    """All sessions of a server.

    Args:
        most: How many there may be.
        most_waiting: How many calls of each may wait for their turn.
        idle: Seconds after which one that nobody calls is closed.
        tidy: What else is done now and then.
        registry: Makes the registry of a session.
    """

    def __init__(
        self,
        most: int = 10_000,
        most_waiting: int = 16,
        idle: float = 24 * 3600.0,
        tidy: Callable[[], object] = lambda: None,
        registry: Callable[[], NodeRegistry] = NodeRegistry,
    ) -> None:
        self._registry = registry
        self._tidy = tidy
        self._most = most
        self._most_waiting = most_waiting
        self._idle = idle
        self._sessions: dict[str, Session] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._reaper = threading.Thread(target=self._reap, name="sessions", daemon=True)

    def start(self) -> None:
        """Begin to look for sessions that nobody calls."""
        self._reaper.start()

    def __len__(self) -> int:
        return len(self._sessions)

    def all(self) -> list[Session]:
        """Return the sessions."""
        with self._lock:
            return list(self._sessions.values())

    def create(self) -> Session:
        """Make a session.

        Raises:
            ServiceError: There are as many as there may be.
        """
        with self._lock:
            if len(self._sessions) >= self._most:
                raise ServiceError(
                    f"There are {self._most} sessions, as many as this server has.",
                    hint="Close sessions that are done with (CloseSession), or start the server with a larger "
                    "--max-sessions.",
                    code="RESOURCE_EXHAUSTED",
                )
            session = Session(self._most_waiting, self._registry)
            self._sessions[session.id] = session
        return session

    def get(self, number: str) -> Session:
        """Return a session.

        Raises:
            ServiceError: There is none of that number.
        """
        session = self._sessions.get(number)
        if session is None:
            raise unknown(number)
        return session

    def close(self, number: str) -> None:
        """Close a session.

        Raises:
            ServiceError: There is none of that number.
        """
        with self._lock:
            session = self._sessions.pop(number, None)
        if session is None:
            raise unknown(number)
        session.close()

    def close_all(self) -> None:
        """Close all sessions."""
        self._ended.set()
        for session in self.all():
            with self._lock:
                self._sessions.pop(session.id, None)
            session.close()

    def close_idle(self) -> None:
        """Close the sessions that nobody has called for long."""
        now = time.monotonic()
        for session in self.all():
            if not session.is_busy and now - session.used > self._idle:
                logger.info("session %s was idle and is closed", session.id)
                with self._lock:
                    self._sessions.pop(session.id, None)
                session.close()

    def _reap(self) -> None:
        while not self._ended.wait(min(30.0, max(self._idle / 4, 0.05))):
            self.close_idle()
            _without_error(self._tidy)


def unknown(number: str) -> ServiceError:
    """Return the error about a session that is not there."""
    return ServiceError(
        f"There is no session '{number[:64]}': it was never made, closed, or idle for too long.",
        hint="Call CreateSession.",
        code="NOT_FOUND",
    )


def _without_error(action: Callable[[], object]) -> None:
    try:
        action()
    except Exception:
        logger.exception("while a session was closed")
