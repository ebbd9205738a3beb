"""Sessions: made, pointed at folders, closed."""

from collections.abc import Mapping
from typing import Any, Final

from cuvis_ai_core.errors import ServiceError
from cuvis_ai_core.grpc.messages.schema_generations import messages
from cuvis_ai_core.grpc.server.call_context import Call, Handler

_MOST_PATHS: Final = 64


def create_session(call: Call) -> Any:
    """Make a session of one's own."""
    return messages().CreateSessionResponse(session_id=call.service.sessions.create().id)


def set_search_paths(call: Call) -> Any:
    """Set the folders that configurations are looked up in, first one first."""
    request, session = call.request, call.session
    append = request.append if request.HasField("append") else True
    known = list(session.search_paths) if append else []
    rejected = []
    if len(request.search_paths) > _MOST_PATHS:  # before each is looked for
        raise _too_many()
    for text in request.search_paths:
        try:
            folder = call.service.roots.folder(text)
        except ServiceError:
            rejected.append(text)
            continue
        if folder not in known:
            known.append(folder)
    if len(known) > _MOST_PATHS:
        raise _too_many()
    session.search_paths = known
    return messages().SetSessionSearchPathsResponse(
        success=not rejected, current_paths=map(str, known), rejected_paths=rejected
    )


def _too_many() -> ServiceError:
    return ServiceError(f"A session has up to {_MOST_PATHS} search paths.", code="RESOURCE_EXHAUSTED")


def close_session(call: Call) -> Any:
    """Close a session, which ends its training and frees what it holds."""
    call.service.sessions.close(call.request.session_id)
    return messages().CloseSessionResponse(success=True)


CALLS: Final[Mapping[str, Handler]] = {
    "CreateSession": create_session,
    "SetSessionSearchPaths": set_search_paths,
    "CloseSession": close_session,
}
