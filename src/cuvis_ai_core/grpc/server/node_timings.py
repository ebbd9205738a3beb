"""How long the nodes of a session take, as clients ask for it."""

import statistics
import threading
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from cuvis_ai_hookspecs import hookimpl

if TYPE_CHECKING:
    from cuvis_ai_core.grpc.server.open_sessions import Session

_KEPT: Final = 10_000
"""Times of a node that are kept; of more, median and spread are those of the last ones."""


class _Times:
    """The times of one node in one stage, in milliseconds."""

    def __init__(self) -> None:
        # A median needs all values: of a session that runs for weeks, the last ones.
        self.last: deque[float] = deque(maxlen=_KEPT)
        self.count = 0
        self.total = 0.0
        self.least = float("inf")
        self.most = 0.0

    def add(self, time: float) -> None:
        self.last.append(time)
        self.count += 1
        self.total += time
        self.least, self.most = min(self.least, time), max(self.most, time)

    def summary(self) -> dict[str, float]:
        return {
            "count": self.count,
            "mean_ms": self.total / self.count,
            "median_ms": statistics.median(self.last),
            "std_ms": statistics.pstdev(self.last),
            "min_ms": self.least,
            "max_ms": self.most,
            "total_ms": self.total,
            "last_ms": self.last[-1],
        }


class Timings:
    """Takes the times of nodes while it is enabled.

    Attributes:
        enabled: Whether it does.
        skip: How many runs of each node are left out at first.
    """

    def __init__(self) -> None:
        self.enabled = False
        self.skip = 0
        self._times: dict[tuple[str, str], _Times] = {}
        self._seen: dict[tuple[str, str], int] = {}
        self._lock = threading.Lock()

    @hookimpl
    def cuvis_ai_node_finished(self, stage: str, node: str, seconds: float) -> None:
        """Take the time of a node."""
        if not self.enabled:
            return
        with self._lock:
            self._seen[node, stage] = self._seen.get((node, stage), 0) + 1
            if self._seen[node, stage] > self.skip:
                self._times.setdefault((node, stage), _Times()).add(seconds * 1e3)

    def exported(self) -> list[tuple[str, str, list[float]]]:
        """Return node, stage and the last times of each, for another process."""
        with self._lock:
            return [(*key, list(times.last)) for key, times in self._times.items()]

    def absorb(self, exported: Iterable[tuple[str, str, list[float]]]) -> None:
        """Take over times that another process took."""
        with self._lock:
            for node, stage, times in exported:
                known = self._times.setdefault((node, stage), _Times())
                for time in times:
                    known.add(time)

    def clear(self) -> None:
        """Forget all times."""
        with self._lock:
            self._times.clear()
            self._seen.clear()

    def summary(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Return count, mean, median, deviation, extremes, sum and last time of each node and stage, in ms."""
        with self._lock:
            return {key: times.summary() for key, times in self._times.items()}


def timings_of(session: "Session") -> Timings:
    """Return the timings of a session, which are made when first asked for."""
    return session.kept("timings", Timings, session.node_registry.register_hooks)
