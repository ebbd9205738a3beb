"""The published sessions of a server in the process that asks, without a network."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from cuvis_ai_core.errors import ServiceError
from cuvis_ai_core.grpc.server.call_context import Service
from cuvis_ai_core.grpc.server.open_sessions import Session

if TYPE_CHECKING:
    from cuvis_ai_core.pipeline.pipeline import Pipeline


class SessionManager:
    """Makes, finds and closes sessions, as those of a server that listens nowhere."""

    def __init__(self) -> None:
        self.service = Service()

    def create_session(self, pipeline: "Pipeline | None" = None, *, search_paths: Iterable[str] | None = None) -> str:
        """Return the number of a new session.

        Args:
            pipeline: Its pipeline, which it closes at its end.
            search_paths: Folders in which configurations are looked for.
        """
        session = self.service.sessions.create()
        session.search_paths = [Path(each) for each in search_paths or ()]
        session.set_pipeline(pipeline)
        return session.id

    def get_session(self, session_id: str) -> Session:
        """Return a session.

        Raises:
            ServiceError: There is none of that number.
        """
        return self.service.sessions.get(session_id)

    def set_pipeline(self, session_id: str, pipeline: "Pipeline | None") -> None:
        """Give a session another pipeline; the one before is closed.

        Raises:
            ServiceError: There is no such session.
        """
        self.get_session(session_id).set_pipeline(pipeline)

    def has_session(self, session_id: str) -> bool:
        """Tell whether there is a session of that number."""
        try:
            self.get_session(session_id)
        except ServiceError:
            return False
        return True

    def close_session(self, session_id: str) -> None:
        """Close a session and its pipeline.

        Raises:
            ServiceError: There is none of that number.
        """
        self.service.sessions.close(session_id)

    def list_sessions(self) -> list[str]:
        """Return the numbers of all sessions."""
        return [each.id for each in self.service.sessions.all()]
