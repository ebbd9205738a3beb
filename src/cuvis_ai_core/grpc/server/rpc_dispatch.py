"""From bytes to a call and from its answer to bytes: sessions, turns, errors and the log, the same for every RPC."""

import logging
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final

from cuvis_ai_core.errors import ServiceError
from cuvis_ai_core.grpc.messages.schema_generations import SERVICE, Method, wire
from cuvis_ai_core.grpc.server.call_context import Call, Handler, Service
from cuvis_ai_core.grpc.server.settings import MIB
from cuvis_ai_core.grpc.server.status_codes import INTERNAL, code_of, words_for
from cuvis_ai_core.grpc.server.watched_call import Watched

logger = logging.getLogger(__name__)

AT_ONCE: Final = frozenset({"CloseSession", "GetTrainStatus", "StopTrain"})
"""What does not wait until the session's other calls have ended."""

ERROR: Final = "cuvis-error"
"""Metadata after a call that failed: the class of the error in `cuvis_ai_core.errors`."""

ERROR_ID: Final = "cuvis-error-id"

_LARGE: Final = frozenset({"Inference", "LoadPipelineWeights"})
"""What brings arrays; all else are words, and words take many times their bytes while they are read."""

_MOST_WORDS: Final = 4 * MIB

_OWNERLESS: Final = frozenset({"CloseSession", "RestoreTrainRun"})
"""What names a session and is not a call of it."""


def handlers(service: Service, unary: dict[str, Handler], streams: dict[str, Callable[[Call], Iterator[Any]]]) -> Any:
    """Return gRPC's handler of all methods; messages are read and written here, so that bad ones get a good answer."""
    import grpc

    def made(method: Method) -> Any:
        if method.streams:
            return grpc.unary_stream_rpc_method_handler(_streaming(service, method, streams[method.name]))
        # Without a deserializer: gRPC answers what it cannot parse with its own INTERNAL.
        return grpc.unary_unary_rpc_method_handler(_answering(service, method, unary[method.name]))

    known = {**unary, **streams}
    return grpc.method_handlers_generic_handler(
        SERVICE, {name: made(method) for name, method in wire().methods.items() if name in known}
    )


def _answering(service: Service, method: Method, handler: Handler) -> Callable[[bytes, Any], bytes]:
    def answer(data: bytes, context: Any) -> bytes:
        with _answered(method.name, data, context, service) as watched:
            call = _call(service, method, data, context)
            watched.owner = call.owner
            # First the session's turn, then a place to work: waiting calls of one session would take all places.
            with _turn(call, method.name), nullcontext() if method.name in AT_ONCE else service.working:
                response = handler(call)
                content = response if isinstance(response, bytes) else response.SerializeToString()
            if len(content) > service.settings.max_message:
                raise ServiceError(
                    f"The answer has {len(content)} bytes, and a message up to {service.settings.max_message}.",
                    hint="Ask for fewer outputs, or by shared memory.",
                    code="RESOURCE_EXHAUSTED",
                )
            watched.sent = len(content)
            return content
        # For mypy: `_answered` ends in `context.abort`, which always raises.
        raise AssertionError  # aborting a call raises

    return answer


def _streaming(
    service: Service, method: Method, handler: Callable[[Call], Iterator[Any]]
) -> Callable[[bytes, Any], Iterator[bytes]]:
    def answer(data: bytes, context: Any) -> Iterator[bytes]:
        with _answered(method.name, data, context, service) as watched:
            call = _call(service, method, data, context)
            watched.owner = call.owner
            with _turn(call, method.name):
                for response in handler(call):
                    content = response.SerializeToString()
                    watched.sent += len(content)
                    yield content

    return answer


def _call(service: Service, method: Method, data: bytes, context: Any) -> Call:
    """Read a request, and find the session that it names."""
    from google.protobuf.message import DecodeError

    request: Any
    # Before it is parsed: a message of 1 GB of nested mappings takes many times that as objects.
    if method.name not in _LARGE and len(data) > _MOST_WORDS:
        raise ServiceError(
            f"The {method.name}Request has {len(data)} bytes, and one without arrays up to {_MOST_WORDS}.",
            code="RESOURCE_EXHAUSTED",
        )
    if method.name == "Inference":
        from cuvis_ai_core.grpc.messages.zero_copy_inference import read_inference

        request = read_inference(data)
    else:
        try:
            request = method.request.FromString(data)
        except DecodeError as error:
            raise ServiceError(f"The message is no {method.name}Request.", code="INVALID_ARGUMENT") from error
    names_one = hasattr(request, "session_id") and method.name not in _OWNERLESS
    if method.name == "GetPipelineVisualization" and not request.session_id:
        names_one = not request.config_content
    return Call(service, request, context, service.sessions.get(request.session_id) if names_one else None)


def _turn(call: Call, method: str) -> AbstractContextManager[None]:
    if call.owner is None or method in AT_ONCE:
        return nullcontext()
    return call.owner.turn(call.context.is_active)


@contextmanager
def _answered(method: str, data: bytes, context: Any, service: Service) -> Iterator[Watched]:
    """Count a call, and end it with the status that its error has."""
    import grpc

    with service.watch.call(method, len(data), context) as watched:
        try:
            yield watched
        # gRPC closes a stream whose client is gone; a status cannot be sent any more.
        except GeneratorExit:
            watched.code = "CANCELLED"
            raise
        # `sys.exit` in a node would end gRPC's thread without an answer.
        except (Exception, SystemExit) as error:
            number = secrets.token_hex(6)
            code, words = code_of(error), words_for(error, number)
            about = [(ERROR, getattr(error, "kind", type(error).__name__))]
            if code == INTERNAL:
                logger.exception("%s failed [%s]", method, number)
                about.append((ERROR_ID, number))
        else:
            return
        watched.code = code
    # Before `abort`, which sends what there is and raises.
    context.set_trailing_metadata(tuple(about))
    context.abort(grpc.StatusCode[code], words)
