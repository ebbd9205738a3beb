"""The time of each run of a node, as published software asks for it: an observer."""

from statistics import fmean, median, pstdev
from typing import TYPE_CHECKING

from cuvis_ai_hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cuvis_ai_schemas.pipeline import NodeProfilingStats


class Timings:
    """Keeps how long each run of each node of one pipeline took.

    Args:
        pipeline: Name of the pipeline.

    Attributes:
        enabled: Whether times are taken.
    """

    def __init__(self, pipeline: str) -> None:
        self._pipeline = pipeline
        self._taken: dict[tuple[str, str], list[float]] = {}
        self.enabled = True

    @hookimpl
    def cuvis_ai_node_finished(self, pipeline: str, stage: str, node: str, seconds: float) -> None:
        """Keep a time."""
        if self.enabled and pipeline == self._pipeline:
            self._taken.setdefault((node, stage), []).append(seconds * 1e3)

    def forget(self) -> None:
        """Forget all times."""
        self._taken.clear()

    def summary(self, stage: str | None = None) -> "list[NodeProfilingStats]":
        """Return what the times of each node come to, in milliseconds, the slowest first; of one stage, or of all."""
        from cuvis_ai_schemas.pipeline import NodeProfilingStats

        stats = [
            NodeProfilingStats(
                node_name=node,
                stage=of_stage,
                count=len(times),
                mean_ms=fmean(times),
                median_ms=median(times),
                std_ms=pstdev(times),
                min_ms=min(times),
                max_ms=max(times),
                total_ms=sum(times),
                last_ms=times[-1],
            )
            for (node, of_stage), times in self._taken.items()
            if stage in {None, of_stage}
        ]
        return sorted(stats, key=lambda each: -each.total_ms)


def as_table(stats: "Iterable[NodeProfilingStats]") -> str:
    """Return such times as lines of a table."""
    rows = [("node", "stage", "count", "mean [ms]", "median [ms]", "max [ms]", "total [ms]")]
    rows += [
        (
            each.node_name,
            each.stage,
            str(each.count),
            *(f"{value:.3f}" for value in (each.mean_ms, each.median_ms, each.max_ms, each.total_ms)),
        )
        for each in stats
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
