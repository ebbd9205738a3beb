"""How far a job has come: cubes done, failed and left, how fast, which were slowest."""

import heapq
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cuvis_ai_core._printable_text import duration
from cuvis_ai_core.batch.cube_records import Outcome

_SHOWN: Final = 500
"""Failures that the page names; the table has them all."""

_SLOWEST: Final = 10


@dataclass(slots=True)
class Report:
    """How a job stands, or how it ended.

    Attributes:
        output: The folder of the results.
        total: Cubes of this run.
        done: Cubes that this run did.
        failed: Cubes that failed, in this run or before.
        skipped: Cubes that were done before.
        workers: How many workers there are.
        ended: Whether it came to its end; not so after Ctrl-C, or after too many failures.
        failures: The cubes that failed, as far as a person reads: some hundred.
        remarks: What was decided on the way.
    """

    output: Path
    total: int = 0
    done: int = 0
    failed: int = 0
    skipped: int = 0
    workers: int = 0
    ended: bool = False
    failures: list[Outcome] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    _begun: float = field(default_factory=time.monotonic)
    _slowest: list[tuple[float, str]] = field(default_factory=list)

    @property
    def left(self) -> int:
        """Cubes that are still to do."""
        return self.total - self.done - self.failed - self.skipped

    @property
    def seconds(self) -> float:
        """Seconds since this run began."""
        return time.monotonic() - self._begun

    @property
    def rate(self) -> float:
        """Cubes that this run does in a second."""
        return self.done / self.seconds if self.seconds else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Seconds that the rest takes at this rate, None where there is none yet."""
        return self.left / self.rate if self.rate else None

    @property
    def slowest(self) -> list[tuple[float, str]]:
        """Seconds and names of the cubes that took longest, the slowest first."""
        return sorted(self._slowest, reverse=True)

    def add(self, outcome: Outcome) -> None:
        """Count a cube that this run did, or that failed."""
        if outcome.error is None:
            self.done += 1
            # Ten are kept and not all: a job may have a million cubes
            keep = heapq.heappush if len(self._slowest) < _SLOWEST else heapq.heappushpop
            keep(self._slowest, (outcome.seconds, outcome.unit.name))
            return
        self.failed += 1
        if len(self.failures) < _SHOWN:
            self.failures.append(outcome)

    def line(self) -> str:
        """Return how it stands in one line."""
        parts = [f"{self.done + self.skipped} done", f"{self.failed} failed", f"{self.left} left"]
        if self.done:
            parts.append(f"{self.rate:.3g} cubes/s")
        if self.left and self.seconds_left is not None:
            parts.append(f"{duration(self.seconds_left)} to go")
        if self._slowest:
            # Not `_slowest[0]`, which is the least of a heap
            seconds, name = self.slowest[0]
            parts.append(f"slowest {name} ({seconds:.3g} s)")
        return ", ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "total": self.total,
            "done": self.done,
            "failed": self.failed,
            "skipped": self.skipped,
            "left": self.left,
            "ended": self.ended,
            "seconds": round(self.seconds, 3),
            "cubes_per_second": round(self.rate, 4),
            "workers": self.workers,
            "slowest": [{"cube": name, "seconds": seconds} for seconds, name in self.slowest],
            "failures": [
                {"cube": each.unit.name, "file": each.unit.cube, "node": each.node, "error": each.error}
                for each in self.failures
            ],
            "remarks": self.remarks,
        }
