"""A server: its port, and why it cannot have it; its guards, its health, its beginning and its end."""

import logging
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from cuvis_ai_core.errors import ServiceError
from cuvis_ai_core.grpc.health import health_address
from cuvis_ai_core.grpc.messages.schema_generations import SERVICE, wire
from cuvis_ai_core.grpc.missing_extra import explain_missing
from cuvis_ai_core.grpc.server.call_context import Service
from cuvis_ai_core.grpc.server.rpc_dispatch import handlers
from cuvis_ai_core.grpc.server.rpc_table import streams, table
from cuvis_ai_core.grpc.server.settings import Settings
from cuvis_ai_core.grpc.server.slow_clients import Patience
from cuvis_ai_core.grpc.server.tls_and_token import credentials, token_guard
from cuvis_ai_core.grpc.shared_memory.dev_shm_blocks import sweep

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

_LONGEST_SOCKET: Final = 107
"""Bytes of the path of a Unix socket."""


class Server:
    """A gRPC server of `cuvis_ai.v1`; a context manager that listens until it is left.

    Args:
        settings: How it is set up.

    Raises:
        ServiceError: It would be open to strangers, or cannot listen.
        MissingExtraError: The extra `grpc` is not installed.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.settings.check()
        with explain_missing():
            import grpc
            from grpc_health.v1 import health, health_pb2, health_pb2_grpc
            from grpc_reflection.v1alpha import reflection
        wire()  # before there are threads
        self.service = Service(self.settings)
        self._serving = health_pb2.HealthCheckResponse
        self._health = health.HealthServicer()
        # A thread per call: gRPC has one wait for each message, and work is counted for itself (`Service.working`).
        self._pool = ThreadPoolExecutor(self.settings.max_calls, thread_name_prefix="call")
        self._patience = Patience(self.settings.message_time)
        self._server: Any = grpc.server(
            self._pool,
            handlers=[handlers(self.service, dict(table()), dict(streams()))],
            # The token first: a call without one is not waited for.
            interceptors=[
                *([token_guard(self.settings)] if self.settings.token_file else []),
                self._patience.interceptor(),
            ],
            options=_options(self.settings),
            maximum_concurrent_rpcs=self.settings.max_calls,
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection((SERVICE, reflection.SERVICE_NAME), self._server, pool=wire().pool)
        self.address = self._listen(grpc)
        self._asked_here = self._health_for_this_machine(grpc, health_pb2_grpc) if self.settings.uses_tls else None
        self.metrics_address = ""
        self._end_metrics: Callable[[], None] = lambda: None
        if self.service.metrics is not None and self.settings.metrics_port is not None:
            host = "127.0.0.1" if self.settings.uds is not None else self.settings.host
            port, self._end_metrics = self.service.metrics.serve(host, self.settings.metrics_port)
            self.metrics_address = f"http://{host}:{port}/metrics"

    def start(self) -> Self:
        """Begin to listen."""
        sweep()
        self._server.start()
        self._patience.start()
        if self._asked_here is not None:
            self._asked_here.start()
        self.service.sessions.start()
        for name in ("", SERVICE):
            self._health.set(name, self._serving.SERVING)
        return self

    def stop(self, grace: float | None = None) -> None:
        """Take no more calls, wait for those that run, and let go of all sessions.

        Args:
            grace: Seconds that calls have to end in; by default those of the settings.
        """
        self._health.enter_graceful_shutdown()
        # `stop` returns at once; its event is set when the last call has ended.
        self._server.stop(self.settings.drain if grace is None else grace).wait()
        self._patience.stop()
        if self._asked_here is not None:
            self._asked_here.stop(None)
        self.service.sessions.close_all()
        self._end_metrics()
        # A node that computes cannot be ended: its thread must not keep the process.
        self._pool.shutdown(wait=False, cancel_futures=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(0)

    def describe(self) -> str:
        """Return the line that says where it listens, and what clients may do."""
        settings = self.settings
        guards = [
            *(["TLS"] if settings.uses_tls else []),
            *(["client certificates"] if settings.client_ca else []),
            *(["token"] if settings.token_file else []),
        ]
        roots = ", ".join(map(str, self.service.roots.read))
        writes = ", ".join(map(str, self.service.roots.write)) or "nothing"
        return (
            f"cuvis-ai serves on {self.address} ({' and '.join(guards) or 'open'}); plugins: "
            f"{self.service.policy_words()}; reads {roots}; writes {writes}"
            + (f"; metrics at {self.metrics_address}" if self.metrics_address else "")
        )

    def _health_for_this_machine(self, grpc: Any, health: Any) -> Any:
        """Return a server that answers this machine's health checks, and nothing else; None where it has no such name.

        A container's own check has no certificate of a client, and asks `localhost`, for which no certificate is made.
        """
        server = grpc.server(ThreadPoolExecutor(2, thread_name_prefix="health"), maximum_concurrent_rpcs=8)
        health.add_HealthServicer_to_server(self._health, server)
        try:
            server.add_insecure_port(health_address(int(self.address.rpartition(":")[2])))
        except RuntimeError as error:
            logger.warning("health checks of this machine are answered by the port alone: %s", error)
            return None
        return server

    def _listen(self, grpc: Any) -> str:
        settings = self.settings
        host = f"[{settings.host}]" if ":" in settings.host and not settings.host.startswith("[") else settings.host
        wanted = f"unix:{settings.uds.absolute()}" if settings.uds is not None else f"{host}:{settings.port}"
        secret = credentials(grpc, settings) if settings.uses_tls else None
        try:
            if secret is not None:
                # Older grpcio returns 0 where it cannot listen, newer raises RuntimeError.
                port = self._server.add_secure_port(wanted, secret)
            elif settings.uds is not None:
                port = self._listen_on_socket(wanted)
            else:
                port = self._server.add_insecure_port(wanted)
        except RuntimeError as error:
            port = 0
            cause: Exception | None = error
        else:
            cause = None
        if not port:
            raise why_not(settings) from cause
        return wanted if settings.uds is not None else f"{host}:{port}"

    def _listen_on_socket(self, wanted: str) -> int:
        """Listen on a Unix socket that nobody else could use at any moment."""
        # By the mask: between making a socket and `chmod` anybody could connect.
        before = os.umask(0o777 & ~self.settings.uds_mode)
        try:
            return int(self._server.add_insecure_port(wanted))
        finally:
            os.umask(before)


def _options(settings: Settings) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", settings.max_message),
        ("grpc.max_send_message_length", settings.max_message),
        ("grpc.max_concurrent_streams", 2 * settings.max_calls + 64),  # of a connection; what is refused in words fits
        ("grpc.so_reuseport", 0),  # two servers on one port would share its clients
        ("grpc.keepalive_time_ms", 30_000),  # a client that is gone is noticed while nothing is sent
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),  # editors keep their connection while nobody calls
    ]


def why_not(settings: Settings) -> ServiceError:
    """Return the error that says why a server cannot listen where it was told to."""
    if settings.uds is not None:
        return ServiceError(
            f"'{settings.uds}' cannot be listened on: {_why_no_socket(settings.uds.absolute())}.",
            hint="Choose another path with --uds.",
            code="UNAVAILABLE",
        )
    return ServiceError(
        f"{settings.host}:{settings.port} cannot be listened on: {_why_no_port(settings.host, settings.port)}.",
        hint="Choose another with --port or --host; --port 0 takes a free one.",
        code="UNAVAILABLE",
    )


def _why_no_socket(path: Path) -> str:
    # `sun_path` has 108 bytes on Linux, one of them the zero; gRPC says only that it failed.
    if len(os.fsencode(path)) > _LONGEST_SOCKET:
        return f"it is longer than the {_LONGEST_SOCKET} bytes that a socket's path may have"
    if not path.parent.is_dir():
        return f"there is no folder '{path.parent}'"
    if path.exists():
        return "something else is there, or another server listens on it"
    return "its folder cannot be written"


def _why_no_port(host: str, port: int) -> str:
    """Try what gRPC tried, which says no more than that it failed."""
    try:
        family, kind, *_, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as asked:
            asked.bind(address)
    except socket.gaierror:
        return f"'{host}' is no address and no name of this machine"
    except OSError as error:
        return error.strerror or str(error)
    return "it is in use, or no address of this machine"
