"""Clients that let the message of a call come slowly, or leave its answer: they are waited for so long, and no longer.

gRPC has a thread wait for the message of each call. So there are as many threads as calls may be, of which only some
work at a time. A call whose answer nobody takes is one of those that there may be, and its answer lies in memory. Who
does neither come nor take within a limit is let go.
"""

import threading
import time
from collections.abc import Iterator
from typing import Any, Final

HEALTH: Final = "/grpc.health.v1.Health/"
_LONGEST_OF_HEALTH: Final = 10.0
"""The same for what needs no token."""


class Patience:
    """Ends the calls whose messages do not come, or whose answers are not taken.

    Args:
        longest: Seconds that a message, or an answer, may take.
    """

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._waiting: dict[int, tuple[float, Any]] = {}
        self._ended = threading.Event()

    def start(self) -> None:
        """Begin to look."""
        # One for all calls: a timer for each would be a thread for each.
        threading.Thread(target=self._look, name="patience", daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._ended.set()

    def messages(self, requests: Iterator[Any], context: Any, method: str) -> Iterator[Any]:
        """Yield the messages of a call, as long as each comes in time."""
        # Without a token: strangers may ask this, so they are given less time.
        longest = min(self._longest, _LONGEST_OF_HEALTH) if method.startswith(HEALTH) else self._longest
        while True:
            # By `id`, which stays its own: the context is kept beside.
            self._waiting[id(context)] = time.monotonic() + longest, context
            try:
                request = next(requests, None)
            finally:
                self._waiting.pop(id(context), None)
            if request is None:
                return
            yield request

    def taken(self, context: Any) -> None:
        """Wait until a call is over, for its answer is made."""
        self._waiting[id(context)] = time.monotonic() + self._longest, context
        if not context.add_callback(lambda: self._waiting.pop(id(context), None)):
            self._waiting.pop(id(context), None)

    def answers(self, made: Iterator[Any], context: Any) -> Iterator[Any]:
        """Yield the answers of a call, as long as each is taken in time."""
        for answer in made:
            self._waiting[id(context)] = time.monotonic() + self._longest, context
            try:
                yield answer
            finally:
                self._waiting.pop(id(context), None)
        self.taken(context)

    def interceptor(self) -> Any:
        """Return what has each call of a server wait here for its messages."""
        import grpc

        patience = self

        class Waits(grpc.ServerInterceptor):
            """Reads the message before the handler is asked."""

            def intercept_service(self, continuation: Any, details: Any) -> Any:
                handler = continuation(details)
                return handler if handler is None else _patient(grpc, handler, patience, details.method)

        return Waits()

    def _look(self) -> None:
        while not self._ended.wait(min(1.0, self._longest / 4)):
            now = time.monotonic()
            # A list: calls come and go in other threads.
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
        given: Any = patience.messages(requests, context, method)
        if not handler.request_streaming and (given := next(given, None)) is None:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "The call has no message.")
        made = behaviour(given, context, *more)
        if handler.response_streaming:
            # A training goes on while nobody reads what it says: there are few of them, and old words are left out.
            return patience.answers(made, context) if handler.request_streaming else made
        patience.taken(context)
        return made

    # Private to grpcio: health's `Watch` returns at once and answers by callbacks.
    if getattr(behaviour, "experimental_non_blocking", False):  # that of watching the health
        behave.experimental_non_blocking = True  # type: ignore[attr-defined]
        behave.experimental_thread_pool = getattr(behaviour, "experimental_thread_pool", None)  # type: ignore[attr-defined]
    made = grpc.stream_stream_rpc_method_handler if handler.response_streaming else grpc.stream_unary_rpc_method_handler
    # As streams: of a unary call gRPC reads the message itself, in a thread, before anybody is asked.
    return made(behave, handler.request_deserializer, handler.response_serializer)
