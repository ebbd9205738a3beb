"""What published software asks of the times of a pipeline; `Pipeline` derives from this room."""

from typing import TYPE_CHECKING, Any, cast

from cuvis_ai_core.errors import PipelineError
from cuvis_ai_core.node.base import stage_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from cuvis_ai_schemas.pipeline import NodeProfilingStats

    from cuvis_ai_core.pipeline.pipeline import Pipeline
    from cuvis_ai_core.pipeline.published_timings import Timings

_TIMINGS = "published timings"


class ProfiledMethods:
    """The published methods that take times. New programs register a `Profiler`."""

    __slots__ = ()

    def set_profiling(
        self,
        enabled: bool = True,
        *,
        synchronize_cuda: bool = False,  # noqa: ARG002 - a published argument; who takes times waits for the device
        reset: bool = False,
        skip_first_n: int = 0,
        port_retention: bool = False,  # noqa: ARG002 - a published argument; `keep_ports` says what is released
    ) -> None:
        """Take the times of nodes from now on, or no longer.

        Args:
            enabled: Whether.
            synchronize_cuda: Published argument, which changes nothing: times are those of finished work.
            reset: Whether the times so far are forgotten.
            skip_first_n: How many times of each node are left out at first, as those of a cold start.
            port_retention: Published argument, which changes nothing.

        Raises:
            PipelineError: `skip_first_n` is negative.
        """
        from cuvis_ai_core.pipeline.published_timings import Timings

        if skip_first_n < 0:
            raise PipelineError(f"skip_first_n is {skip_first_n}; it is a number of runs, from 0.")
        pipeline = cast("Pipeline", self)
        # One observer: a second would count each run once more.
        timings = self._timings() or Timings(pipeline.name)
        if reset:
            timings.forget()
        timings.enabled = enabled
        timings.skip(skip_first_n)
        if self._timings() is None:
            pipeline._observe(timings, _TIMINGS)

    @property
    def profiling_enabled(self) -> bool:
        """Whether times of nodes are taken."""
        timings = self._timings()
        return timings is not None and timings.enabled

    def reset_profiling(self) -> None:
        """Forget all times so far, those of data too; whether times are taken stays."""
        timings = self._timings()
        if timings is not None:
            timings.forget()

    def get_profiling_summary(self, stage: Any = None) -> "list[NodeProfilingStats]":
        """Return the times of nodes, in milliseconds, the slowest first; of one stage, or of all."""
        timings = self._timings()
        return [] if timings is None else sorted(timings.nodes.summary(_named(stage)), key=lambda each: -each.total_ms)

    def get_data_profiling_summary(self, stage: Any = None) -> "list[NodeProfilingStats]":
        """Return the times of what is done around runs, in milliseconds; of one stage, or of all.

        A row is named after what it is: `data_load`, `to_device`, or `batch_loop`, which is all of a turn of the loop
        over `iter_profiled_batches`.
        """
        timings = self._timings()
        return [] if timings is None else timings.data.summary(_named(stage))

    def format_profiling_summary(self, stage: Any = None, *, total_frames: int | None = None) -> str:
        """Return these times as a table, those of data below those of nodes.

        Args:
            stage: Of one stage; by default of all.
            total_frames: How many images were run: a line says how long one took in all nodes together.
        """
        from cuvis_ai_core.pipeline.published_timings import as_table

        nodes = self.get_profiling_summary(stage)
        table = as_table([*nodes, *self.get_data_profiling_summary(stage)])
        if not total_frames:
            return table
        each = sum(row.total_ms for row in nodes) / total_frames
        return f"{table}\n{total_frames} images, {each:.3f} ms in nodes for each"

    def iter_profiled_batches(
        self,
        batches: "Iterable[Mapping[str, Any]]",
        *,
        stage: Any,
        move: "Callable[[Mapping[str, Any]], Mapping[str, Any]] | None" = None,
    ) -> "Iterator[Mapping[str, Any]]":
        """Yield batches, and take the times of reading, of moving, and of what is done with each until the next.

        They are told by `get_data_profiling_summary`, without the first batch of a pass. While no times are taken, it
        only yields.

        Args:
            batches: The batches, such as those of a data loader.
            stage: The stage that their times are kept for.
            move: What is done to each batch first, such as `move_batch_to_device`.

        Raises:
            PipelineError: There is no such stage.
        """
        from cuvis_ai_core.pipeline.device import synchronizer
        from cuvis_ai_core.pipeline.execution.run_request import checked_stage
        from cuvis_ai_core.pipeline.published_timings import timed

        settle = synchronizer(cast("Pipeline", self).device)
        return timed(batches, checked_stage(stage), move, self._timings, settle)

    def _timings(self) -> "Timings | None":
        return cast("Pipeline", self)._observed_by(_TIMINGS)  # type: ignore[no-any-return]


def _named(stage: Any) -> str | None:
    return None if stage is None else stage_name(stage)
