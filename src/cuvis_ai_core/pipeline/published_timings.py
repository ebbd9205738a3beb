"""The time of each run of a node, and of what is done around runs, as published software asks for it."""

from collections.abc import Callable, Iterator, Mapping
from statistics import fmean, median, pstdev
from time import perf_counter
from typing import TYPE_CHECKING, Any

from cuvis_ai_hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cuvis_ai_schemas.pipeline import NodeProfilingStats


class Samples:
    """Times by name and stage, in milliseconds.

    Attributes:
        skip: How many of each are left out at first.
    """

    def __init__(self) -> None:
        self.skip = 0
        self._taken: dict[tuple[str, str], list[float]] = {}
        self._seen: dict[tuple[str, str], int] = {}

    def add(self, name: str, stage: str, seconds: float) -> None:
        """Keep a time."""
        seen = self._seen[name, stage] = self._seen.get((name, stage), 0) + 1
        if seen > self.skip:
            self._taken.setdefault((name, stage), []).append(seconds * 1e3)

    def forget(self) -> None:
        """Forget all times."""
        self._taken.clear()
        self._seen.clear()

    def summary(self, stage: str | None = None) -> "list[NodeProfilingStats]":
        """Return what the times of each name come to, in milliseconds; of one stage, or of all."""
        from cuvis_ai_schemas.pipeline import NodeProfilingStats

        return [
            NodeProfilingStats(
                node_name=name,
                stage=of_stage,
                count=len(times),
                mean_ms=fmean(times),
                median_ms=median(times),
                # Of a population: `stdev` raises where there is one time only.
                std_ms=pstdev(times),
                min_ms=min(times),
                max_ms=max(times),
                total_ms=sum(times),
                last_ms=times[-1],
            )
            for (name, of_stage), times in self._taken.items()
            if stage in {None, of_stage}
        ]


class Timings:
    """Keeps how long each run of each node of one pipeline took: an observer.

    Args:
        pipeline: Name of the pipeline.

    Attributes:
        enabled: Whether times are taken.
        nodes: The times of nodes.
        data: The times of what is done around runs: `data_load`, `to_device` and `batch_loop`.
    """

    def __init__(self, pipeline: str) -> None:
        self._pipeline = pipeline
        self.nodes = Samples()
        self.data = Samples()
        self.enabled = True

    @hookimpl
    def cuvis_ai_node_finished(self, pipeline: str, stage: str, node: str, seconds: float) -> None:
        """Keep a time."""
        if self.enabled and pipeline == self._pipeline:
            self.nodes.add(node, stage, seconds)

    def forget(self) -> None:
        """Forget all times."""
        self.nodes.forget()
        self.data.forget()

    def skip(self, count: int) -> None:
        """Leave the first times of each out, from those that come when nothing is known yet."""
        self.nodes.skip = self.data.skip = count


def timed(
    batches: "Iterable[Mapping[str, Any]]",
    stage: str,
    move: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None,
    timings: Callable[[], Timings | None],
    settle: Callable[[], None],
) -> "Iterator[Mapping[str, Any]]":
    """Yield batches, and keep how long each took to be read, to be moved, and in all until the next is asked for.

    Nothing is kept of the first one, which opens files and starts processes; nor, in all, of one that is the last that
    is asked for.

    Args:
        batches: The batches.
        stage: The stage that their times are kept for.
        move: What is done to each.
        timings: Returns where times are kept, None for nowhere.
        settle: Waits until the device has done what it was asked for.
    """
    source, first = iter(batches), True

    def keep(name: str, begun: float) -> None:
        found = timings()
        if found is not None and found.enabled and not first:
            found.data.add(name, stage, perf_counter() - begun)

    while True:
        begun = perf_counter()
        try:
            batch = next(source)
        except StopIteration:
            return
        keep("data_load", begun)
        if move is not None:
            moving = perf_counter()
            batch = move(batch)
            settle()
            keep("to_device", moving)
        yield batch
        settle()
        # Behind `settle`: what the device still does belongs to this batch.
        keep("batch_loop", begun)
        first = False


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
