"""What whoever runs a server sees of it: a line per call, and counts for Prometheus."""

import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from cuvis_ai_core.grpc.server.watched_call import Watched

if TYPE_CHECKING:
    from cuvis_ai_core.grpc.server.telemetry import Metrics

logger = logging.getLogger("cuvis_ai_core.grpc.access")

_FIELDS: Final = ("method", "session", "code", "ms", "received", "sent", "peer")


class Watch:
    """Tells of calls.

    Args:
        metrics: Where they are counted, if anywhere.
    """

    def __init__(self, metrics: "Metrics | None" = None) -> None:
        self._metrics = metrics

    @contextmanager
    def call(self, method: str, received: int, context: Any) -> Iterator[Watched]:
        """Tell of a call when it has ended."""
        from cuvis_ai_core.grpc.server.telemetry import span

        watched, begun = Watched(received=received), time.perf_counter()
        if self._metrics is not None:
            self._metrics.begin()
        try:
            with span(method, context, watched):
                yield watched
        finally:
            seconds = time.perf_counter() - begun
            values = {
                "method": method,
                "session": watched.owner.id[:8] if watched.owner is not None else "",
                "code": watched.code,
                "ms": round(seconds * 1e3, 2),
                "received": watched.received,
                "sent": watched.sent,
                "peer": context.peer(),
            }
            if self._metrics is not None:
                self._metrics.end(method, watched, seconds)
            logger.info("call", extra={"call": values})


class Lines(logging.Formatter):
    """A line per record: as JSON, or for people.

    Args:
        as_json: Whether it is JSON.
    """

    def __init__(self, *, as_json: bool) -> None:
        super().__init__()
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        call: dict[str, Any] | None = getattr(record, "call", None)
        moment = self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z")
        if self._as_json:
            values: dict[str, Any] = {"time": moment, "level": record.levelname, "logger": record.name}
            values |= call or {"message": record.getMessage()}
            if record.exc_info:
                values["trace"] = self.formatException(record.exc_info)
            return json.dumps(values)
        text = " ".join(f"{key}={call[key]}" for key in _FIELDS) if call else record.getMessage()
        trace = f"\n{self.formatException(record.exc_info)}" if record.exc_info else ""
        return f"{moment} {record.levelname} {text}{trace}"


def log_to_stderr(log_format: str, level: str) -> None:
    """Have everything of this package and Python's warnings logged on standard error, and by nothing else."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines(as_json=log_format == "json"))
    for name in ("cuvis_ai_core", "py.warnings"):
        ours = logging.getLogger(name)
        ours.handlers[:] = [handler]
        ours.setLevel(level.upper())
        ours.propagate = False
    logging.captureWarnings(capture=True)
