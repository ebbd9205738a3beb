"""Counts of a server for Prometheus, and spans for OpenTelemetry where that is installed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from cuvis_ai_core.errors import ServiceError
from cuvis_ai_core.grpc.missing_extra import explain_missing
from cuvis_ai_core.grpc.server.watched_call import Watched


class Metrics:
    """Counts calls, and answers Prometheus.

    Args:
        sessions: Returns how many sessions there are.
    """

    def __init__(self, sessions: Callable[[], int]) -> None:
        with explain_missing():
            from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
        # Not the library's global one: two servers in one process would meet there under one name.
        self.registry: Any = CollectorRegistry()
        about: dict[str, Any] = {"namespace": "cuvis", "registry": self.registry}
        self._calls = Counter("calls", "Calls that have ended, by method and status.", ["method", "code"], **about)
        self._seconds = Histogram("call_seconds", "Seconds of a call.", ["method"], **about)
        self._bytes = Counter("bytes", "Bytes of messages.", ["direction"], **about)
        self._running = Gauge("calls_running", "Calls that run or wait.", **about)
        gauge = Gauge("sessions", "Sessions.", **about)
        gauge.set_function(sessions)

    def begin(self) -> None:
        """Count a call that begins."""
        self._running.inc()

    def end(self, method: str, watched: Watched, seconds: float) -> None:
        """Count a call that has ended."""
        self._running.dec()
        self._calls.labels(method, watched.code).inc()
        self._seconds.labels(method).observe(seconds)
        self._bytes.labels("received").inc(watched.received)
        self._bytes.labels("sent").inc(watched.sent)

    def serve(self, host: str, port: int) -> tuple[int, Callable[[], None]]:
        """Answer Prometheus, and return the port and what ends it.

        Raises:
            ServiceError: The port is in use.
        """
        from prometheus_client import start_http_server

        try:
            server, thread = start_http_server(port, addr=host.strip("[]"), registry=self.registry)
        except OSError as error:
            raise ServiceError(
                f"{host}:{port} cannot be listened on for metrics: {error.strerror}.", code="UNAVAILABLE"
            ) from error

        def end() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        return server.server_port, end


@contextmanager
def span(method: str, context: Any, watched: Watched) -> Iterator[None]:
    """Have a span around a call, below the one that the client names in `traceparent`, if OpenTelemetry is there."""
    try:
        from opentelemetry import propagate, trace
    # OpenTelemetry is the user's to install: no extra of ours, and no word where it is not there.
    except ImportError:
        yield
        return
    carrier = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
    tracer = trace.get_tracer("cuvis_ai_core.grpc")
    with tracer.start_as_current_span(
        f"cuvis_ai.v1.CuvisAIService/{method}",
        context=propagate.extract(carrier),
        kind=trace.SpanKind.SERVER,
        attributes={"rpc.system": "grpc", "rpc.method": method},
    ) as begun:
        yield
        begun.set_attribute("rpc.grpc.status", watched.code)
        if watched.code != "OK":
            begun.set_status(trace.Status(trace.StatusCode.ERROR, watched.code))
