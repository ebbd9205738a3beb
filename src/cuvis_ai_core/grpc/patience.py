"""Clients that begin a call and let its message come slowly, or never: they are waited for so long, and block nobody.

gRPC has a thread wait for the message of each call. So there are as many threads as calls may be, of which only some
work at a time, and whoever does not come within a limit is let go.
"""

import threading
import time
from collections.abc import Iterator
from typing import Any, Final

HEALTH: Final = "/grpc.health.v1.Health/"
_LONGEST_OF_HEALTH: Final = 10.0
"""The same for what needs no token."""


class Patience:
    """Ends the calls whose messages do not come.

    Args:
        longest: Seconds that a message may take.
    """

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._waiting: dict[int, tuple[float, Any]] = {}
        self._ended = threading.Event()

    def start(self) -> None:
        """Begin to look."""
        threading.Thread(target=self._look, name="patience", daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._ended.set()

    def messages(self, requests: Iterator[Any], context: Any, method: str) -> Iterator[Any]:
        """Yield the messages of a call, as long as each comes in time."""
        longest = min(self._longest, _LONGEST_OF_HEALTH) if method.startswith(HEALTH) else self._longest
        while True:
            self._waiting[id(context)] = time.monotonic() + longest, context
            try:
                request = next(requests, None)
            finally:
                del self._waiting[id(context)]
            if request is None:
                return
            yield request

    def interceptor(self) -> Any:
        """Return what has each call of a server wait here for its messages."""
        import grpc

        patience = self

        class Waits(grpc.ServerInterceptor):  # type: ignore[misc]
            """Reads the message before the handler is asked."""

            def intercept_service(self, continuation: Any, details: Any) -> Any:
                handler = continuation(details)
                return handler if handler is None else _patient(grpc, handler, patience, details.method)

        return Waits()

    def _look(self) -> None:
        while not self._ended.wait(min(1.0, self._longest / 4)):
            now = time.monotonic()
            for until, context in list(self._waiting.values()):
                if now > until:
                    context.cancel()


def _patient(grpc: Any, handler: Any, patience: Patience, method: str) -> Any:
    """Return a handler of streams that does what another one does with what comes in time."""
    if handler.request_streaming:
        behaviour = handler.stream_stream or handler.stream_unary
    else:
        behaviour = handler.unary_stream or handler.unary_unary

    def behave(requests: Iterator[Any], context: Any, *more: Any) -> Any:
        coming = patience.messages(requests, context, method)
        if handler.request_streaming:
            return behaviour(coming, context, *more)
        if (request := next(coming, None)) is None:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "The call has no message.")
        return behaviour(request, context, *more)

    if getattr(behaviour, "experimental_non_blocking", False):  # that of watching the health
        behave.experimental_non_blocking = True  # type: ignore[attr-defined]
        behave.experimental_thread_pool = getattr(behaviour, "experimental_thread_pool", None)  # type: ignore[attr-defined]
    made = grpc.stream_stream_rpc_method_handler if handler.response_streaming else grpc.stream_unary_rpc_method_handler
    return made(behave, handler.request_deserializer, handler.response_serializer)
