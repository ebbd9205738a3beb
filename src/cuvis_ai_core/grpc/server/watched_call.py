"""One call as the access log, the counts and the spans tell of it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cuvis_ai_core.grpc.server.open_sessions import Session


@dataclass(slots=True)
class Watched:
    """One call, as it is told afterwards.

    Attributes:
        code: The name of its gRPC status.
        received: Bytes of the request.
        sent: Bytes of the answers.
        owner: Its session.
    """

    code: str = "OK"
    received: int = 0
    sent: int = 0
    owner: "Session | None" = None
