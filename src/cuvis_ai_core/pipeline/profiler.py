"""How long the nodes of a pipeline take: an observer like any other."""

import threading
from dataclasses import dataclass
from typing import Any, Final

from cuvis_ai_hookspecs import hookimpl

_HEADINGS: Final = ("node", "calls", "total [ms]", "mean [ms]", "share")


@dataclass(slots=True)
class NodeTime:
    """The time of one node.

    Attributes:
        calls: How often it ran.
        seconds: The time of all these runs.
    """

    calls: int = 0
    seconds: float = 0.0

    @property
    def mean(self) -> float:
        """Seconds of one run."""
        return self.seconds / self.calls if self.calls else 0.0


class Profiler:
    """Adds up the time of each node, over all runs of all pipelines that its registry observes.

    Register it with `registry.register_hooks(profiler)`, before or after the pipeline is built. The time of a node
    includes the checks of its values and their conversion. Runs that fail are not counted, their nodes that finished
    are.

    Attributes:
        times: Pipeline and node to time, in the order in which they first ran.
        runs: How many runs of pipelines finished.
        seconds: The time of these runs.
    """

    def __init__(self) -> None:
        self.times: dict[tuple[str, str], NodeTime] = {}
        self.runs = 0
        self.seconds = 0.0
        self._lock = threading.Lock()

    @hookimpl
    def cuvis_ai_node_finished(self, pipeline: str, node: str, seconds: float) -> None:
        """Count a run of a node."""
        # Nodes in processes finish in threads of their own, and `+=` is no single step.
        with self._lock:
            time = self.times.setdefault((pipeline, node), NodeTime())
            time.calls += 1
            time.seconds += seconds

    @hookimpl
    def cuvis_ai_pipeline_finished(self, seconds: float) -> None:
        """Count a run of a pipeline."""
        with self._lock:
            self.runs += 1
            self.seconds += seconds

    def to_dict(self) -> dict[str, Any]:
        """Return all times as JSON holds them; `share` is that of the time of all nodes, from 0 to 1."""
        total = self._total()
        nodes = [
            {
                "pipeline": pipeline,
                "node": node,
                "calls": time.calls,
                "total_seconds": time.seconds,
                "mean_seconds": time.mean,
                "share": time.seconds / total if total else 0.0,
            }
            for (pipeline, node), time in self._slowest_first()
        ]
        return {"runs": self.runs, "total_seconds": self.seconds, "nodes": nodes}

    def rows(self) -> list[tuple[str, ...]]:
        """Return the rows of a table, the slowest node first; `headings` are those of its columns."""
        total = self._total()
        return [
            (
                node,
                str(time.calls),
                f"{time.seconds * 1e3:.3f}",
                f"{time.mean * 1e3:.3f}",
                f"{time.seconds / total if total else 0:.1%}",
            )
            for (_, node), time in self._slowest_first()
        ]

    @property
    def headings(self) -> tuple[str, ...]:
        """The columns of the table."""
        return _HEADINGS

    def __str__(self) -> str:
        table = [self.headings, *self.rows()]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        name, *numbers = widths
        return "\n".join(
            "  ".join([row[0].ljust(name), *(cell.rjust(width) for cell, width in zip(row[1:], numbers, strict=True))])
            for row in table
        )

    def _total(self) -> float:
        return sum(time.seconds for time in self.times.values())

    def _slowest_first(self) -> list[tuple[tuple[str, str], NodeTime]]:
        return sorted(self.times.items(), key=lambda item: -item[1].seconds)
