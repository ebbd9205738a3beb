"""Running a plan tile by tile."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any, Final, Protocol

import numpy as np

from cuvis_ai_core.data.lazy_image import LazyImage
from cuvis_ai_core.errors import NodeRunError
from cuvis_ai_core.node.array_node import Value
from cuvis_ai_core.node.tiling_declaration import says
from cuvis_ai_core.pipeline.execution.input_sources import BatchKey
from cuvis_ai_core.pipeline.execution.plan import Output, Plan, RunStep, Step
from cuvis_ai_core.pipeline.execution.run import prepare
from cuvis_ai_core.pipeline.execution.run_request import Address
from cuvis_ai_core.pipeline.tiling.passes import Pass, Schedule
from cuvis_ai_core.pipeline.tiling.threads import in_order, thread_count
from cuvis_ai_core.pipeline.tiling.tile_assembly import Gathered, Into
from cuvis_ai_core.pipeline.tiling.tile_crops import cropped, part_of, whole
from cuvis_ai_core.pipeline.tiling.windows import Window, cut, image_size, tile_size

logger = logging.getLogger(__name__)

_SPARE: Final = 8
_MOST_SPARE: Final = 2**28
"""Up to such a part of the memory, and so many bytes, a value that a later pass reads is kept, in place of being
computed again: on a machine with much memory too, a run takes little."""


class Progress(Protocol):
    """Is told how far a run is."""

    def __call__(self, done: int, total: int) -> None:
        """Take note that so many of all tiles are done, those of all passes."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is run by tiles.

    Attributes:
        schedule: When what can be computed.
        nodes: The nodes by name.
        batch: What is handed in; some of it images, whole or lazy.
        image: Batch, height and width of these images.
        memory: Bytes that tiles may take.
        context: What nodes are told about the run.
        run_step: Runs a step.
        into: Makes the places of answers.
        progress: Is told after each tile.
    """

    schedule: Schedule
    nodes: Mapping[str, Any]
    batch: Mapping[BatchKey, Value]
    image: tuple[int, int, int]
    memory: int
    context: object
    run_step: RunStep
    into: Into | None = None
    progress: Progress | None = None


def run_tiled(job: Job) -> dict[Address, Value]:
    """Run a plan tile by tile, and return the outputs that are asked for, by node and port.

    Raises:
        PortError: A value does not fit its port, or a node returns other outputs than it declares.
        NodeRunError: A node failed, or answers otherwise than it says.
    """
    return _TiledRun(job).run()


class _TiledRun:
    """One run; `values` has what is there as a whole: answers of nodes for whole images, and what they read."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._plan = plan = job.schedule.plan
        self._whole = Window(0, job.image[1], 0, job.image[2])
        images = {key for key, value in job.batch.items() if image_size(value) == job.image}
        self._images = {slot: key for key, slot in plan.entries if key in images}
        self._values = self._prepared(plan, {slot for _, slot in plan.entries} - self._images.keys(), job.batch)
        self._gathered = Gathered(plan, job.into, job.image, min(job.memory // _SPARE, _MOST_SPARE))
        self._statistics: dict[int, Any] = {}
        self._done = 0

    def run(self) -> dict[Address, Value]:
        schedule = self._job.schedule
        coming = [schedule.at(number, ()) for number in range(schedule.passes)]
        for number in range(schedule.passes + 1):
            self._run_whole(number)
            if number == schedule.passes:
                break
            self._forget({slot for each in coming[number:] for slot in each.margins}, number)
            now = schedule.at(number, self._there())
            if now.steps:
                later = {slot for each in coming[number + 1 :] for slot in each.margins}
                self._run_pass(now, later)
        return self._gathered.answers()

    def _run_whole(self, before: int) -> None:
        """Run the nodes for whole images that can answer before a pass."""
        steps = self._job.schedule.whole_steps(before)
        if not steps:
            return
        values = list(self._values)
        needed = {slot for step in steps for slot in step.slots_read} & self._images.keys()
        if needed:
            self._warn_of_size(steps, needed)
            given = {self._images[slot]: whole(self._job.batch[self._images[slot]]) for slot in needed}
            entries = self._prepared(self._plan, needed, given)
            for slot in needed:
                values[slot] = entries[slot]
        for step in steps:
            # Nothing is released: the values are read again by the next tile, or the next pass.
            self._job.run_step(replace(step, released=()), self._plan, values)
            for output in step.outputs:
                self._values[output.slot] = values[output.slot]
                self._gathered.take(output.slot, values[output.slot])

    def _warn_of_size(self, steps: Iterable[Step], needed: Iterable[int]) -> None:
        size = sum(_bytes(self._job.batch[self._images[slot]]) for slot in needed)
        if size > self._job.memory:
            nodes = ", ".join(f"'{step.node}'" for step in steps)
            logger.warning(
                "node %s needs the whole image: %.1f GiB, more than the %.1f GiB that tiles may take",
                nodes,
                size / 2**30,
                self._job.memory / 2**30,
            )

    def _forget(self, needed: set[int], number: int) -> None:
        """Let go of whole values that nobody reads any more."""
        schedule = self._job.schedule
        for at, step in enumerate(self._plan.steps):
            if schedule.tilings[at] is None and schedule.first[at] > number:
                needed = needed | step.slots_read
        for slot in range(len(self._values)):
            if slot in schedule.makers and slot not in needed:
                self._values[slot] = None

    def _run_pass(self, now: Pass, later: set[int]) -> None:
        job = self._job
        used = [job.schedule.tilings[at] for at in now.steps]
        # One node that is not safe for threads has the whole pass go through one.
        threads = thread_count() if all(each is not None and each.thread_safe for each in used) else 1
        size = self._tile_size(now, threads)
        windows = cut(*self._whole.size, size, self._chunk())
        # More threads than tiles would each hold a share of the memory for nothing.
        threads = min(threads, len(windows))
        read_whole = {
            slot
            for at, step in enumerate(self._plan.steps)
            if job.schedule.tilings[at] is None
            for slot in step.slots_read
        }
        spare = (later & now.margins.keys() & job.schedule.makers.keys()) - now.wanted
        self._gathered.begin(now.wanted, read_whole | later, spare)
        total = self._done + len(windows) * (job.schedule.passes - now.number)
        order = ", ".join(self._plan.steps[at].node for at in now.steps)
        logger.info("pass %d over the image, %d tiles in %d threads: %s", now.number + 1, len(windows), threads, order)
        merged = self._go_through(now, windows, threads, total)
        for slot, value in self._gathered.end().items():
            self._values[slot] = value
        while rough := [at for at in merged if self._says(at, "statistics_rough", merged[at])]:
            self._statistics |= merged
            # What comes again is gathered once more, and put together only once.
            self._gathered.begin((), (), ())
            again = job.schedule.at(now.number, self._there(), only=rough)
            total += len(windows)
            merged = self._go_through(again, windows, threads, total)
        self._statistics |= merged

    def _go_through(self, now: Pass, windows: list[Window], threads: int, total: int) -> dict[int, Any]:
        """Compute all tiles, and return the statistics that were gathered, by step."""
        merged: dict[int, Any] = {}
        for found in in_order(_Tile(self, now, self._gathered).compute, windows, threads):
            for at, statistics in found.items():
                if at in merged:
                    with self._asking(at, "merge_statistics"):
                        merged[at] = self._node(at).merge_statistics(merged[at], statistics)
                else:
                    merged[at] = statistics
            self._done += 1
            if self._job.progress is not None:
                self._job.progress(self._done, total)
            if merged and not now.wanted and all(self._says(at, "statistics_complete", merged[at]) for at in merged):
                self._gathered.begin((), (), ())
                break
        return merged

    def _node(self, at: int) -> Any:
        return self._job.nodes[self._plan.steps[at].node]

    def _says(self, at: int, question: str, statistics: Any) -> bool:
        with self._asking(at, question):
            return says(self._node(at), question, statistics)

    @contextmanager
    def _asking(self, at: int, method: str) -> Iterator[None]:
        """Fail as a step does where a method of its node fails that is no step: between tiles, on statistics."""
        try:
            yield
        except (Exception, SystemExit) as error:  # noqa: BLE001 - it is raised again, by the step
            failure = error  # the name of `except` is gone at its end

            @wraps(getattr(self._node(at), method))
            def forward() -> None:
                raise failure

            # Only then a step: those that end well would be counted as runs of the node.
            self._job.run_step(_without_values(self._plan.steps[at], forward), self._plan, list(self._values))

    def _there(self) -> list[int]:
        return [slot for slot, value in enumerate(self._values) if value is not None]

    def _tile_size(self, now: Pass, threads: int) -> int:
        shapes = [getattr(self._job.batch[key], "shape", ()) for key in self._images.values()]
        shapes += [np.shape(value) for slot, value in enumerate(self._values) if slot in now.margins]
        largest = max(self._job.image, *shapes, key=_values_of)
        return tile_size(tuple(largest), self._job.memory, threads=threads, halo=now.margin)

    def _chunk(self) -> tuple[int, int]:
        lazy = [value for value in self._job.batch.values() if isinstance(value, LazyImage)]
        return lazy[0].chunk if lazy else (1, 1)

    def inputs_of_tile(self, now: Pass, window: Window) -> list[Value]:
        """Return the values of all slots for a tile, each with its margin."""
        margins, values = now.margins, [*self._values]
        for slot in margins:
            if slot in self._job.schedule.makers and values[slot] is not None:
                values[slot] = part_of(values[slot], window.grown(margins[slot], self._whole), self._job.image)
        needed = self._images.keys() & margins.keys()
        if needed:
            around = window.grown(self.entry_margin(now), self._whole)
            keys = {self._images[slot] for slot in needed}
            entries = self._prepared(
                self._plan, needed, {key: part_of(self._job.batch[key], around, self._job.image) for key in keys}
            )
            for slot in needed:
                values[slot] = entries[slot]
        return values

    def entry_margin(self, now: Pass) -> int:
        """Return how far around a tile what is handed in is read."""
        return max((now.margins[slot] for slot in self._images.keys() & now.margins.keys()), default=0)

    def margin_of(self, now: Pass, slot: int) -> int:
        """Return with which margin a value is there in a tile."""
        return self.entry_margin(now) if slot in self._images else now.margins.get(slot, 0)

    def step_of(self, at: int) -> Step:
        """Return a step as it is run for a tile."""
        step = self._plan.steps[at]
        if at in self._statistics:
            forward = _bound(self._node(at).forward_tile, self._statistics[at])
            # Hooks of torch are for `forward`; what is called here has other arguments.
            return replace(step, forward=forward, hooks=(), released=())
        return replace(step, released=())

    def gathering_step(self, at: int, found: dict[int, Any]) -> Step:
        """Return a step that gathers statistics of a tile, into `found`."""
        step, node = self._plan.steps[at], self._node(at)
        known = at in self._statistics
        gather = _bound(node.refine_statistics, self._statistics[at]) if known else node.tile_statistics

        # Errors and observers name the function: without it they would show `forward` of this file.
        @wraps(gather)
        def forward(**inputs: Value) -> dict[str, Value]:
            found[at] = gather(**inputs)
            return {}

        return replace(step, forward=forward, hooks=(), outputs=(), output_names=frozenset(), released=())

    def run_step(self, step: Step, values: list[Value], now: Pass, window: Window, margin: int) -> None:
        """Run a step for a window with a margin; all its images are cut to that."""
        wanted = window.grown(margin, self._whole)
        for slot in step.slots_read:
            there = window.grown(self.margin_of(now, slot), self._whole)
            if there != wanted:
                values[slot] = cropped(values[slot], there, wanted, self._job.image[0])
        self._job.run_step(step, self._plan, values)

    def cropped(self, value: Value, there: Window, wanted: Window) -> Value:
        """Return the part of an answer that is meant."""
        return value if there == wanted else cropped(value, there, wanted, self._job.image[0])

    @property
    def batch(self) -> int:
        """How many images there are."""
        return self._job.image[0]

    @property
    def whole(self) -> Window:
        """The whole image."""
        return self._whole

    @property
    def schedule(self) -> Schedule:
        """When what is computed."""
        return self._job.schedule

    def _prepared(self, plan: Plan, slots: Iterable[int], batch: Mapping[BatchKey, Value]) -> list[Value]:
        wanted = set(slots)
        entries = tuple((key, slot) for key, slot in plan.entries if slot in wanted)
        checks = tuple(check for check in plan.entry_checks if check.slot in wanted)
        return prepare(replace(plan, entries=entries, entry_checks=checks), batch, self._job.context)


class _Tile:
    """What is done with each tile in a pass; several threads may do it at once."""

    def __init__(self, run: _TiledRun, now: Pass, gathered: Gathered) -> None:
        self._run = run
        self._now = now
        self._gathered = gathered

    def compute(self, window: Window) -> dict[int, Any]:
        """Compute a tile, and return the statistics of it by step."""
        run, now, found = self._run, self._now, dict[int, Any]()
        values = run.inputs_of_tile(now, window)
        for at in now.steps:
            if at in now.gathering:
                run.run_step(run.gathering_step(at, found), list(values), now, window, 0)
            if at in now.answering:
                self._answer(at, values, window)
        return found

    def _answer(self, at: int, values: list[Value], window: Window) -> None:
        run, now, step = self._run, self._now, self._run.step_of(at)
        outputs = [each.slot for each in step.outputs if each.slot in now.margins]
        tiling = run.schedule.tilings[at]
        margin = max(now.margins[slot] for slot in outputs)
        halo = tiling.halo if tiling is not None else 0
        local = list(values)
        there = window.grown(margin + halo, run.whole)
        around = {slot: window.grown(now.margins[slot], run.whole) for slot in outputs}
        checked = (
            self._checked(step, each, there, around[each.slot]) if each.slot in around else each
            for each in step.outputs
        )
        run.run_step(replace(step, outputs=tuple(checked)), local, now, window, margin + halo)
        for slot in outputs:
            values[slot] = run.cropped(local[slot], there, around[slot])
            if self._is_image(local[slot], there) and self._gathered.wants(slot):
                self._gathered.put(slot, window, run.cropped(values[slot], around[slot], window))

    def _checked(self, step: Step, output: Output, there: Window, wanted: Window) -> Output:
        """Return an output that is checked for tiles too: within the step, so that observers see the node fail."""

        def fits(value: Value) -> bool:
            if output.fits is not None and not output.fits(value):
                return False
            if not self._is_image(value, there):
                self._refuse_differing(step, output, self._run.cropped(value, there, wanted))
            return True

        return replace(output, fits=fits)

    def _is_image(self, value: Value, there: Window) -> bool:
        return image_size(value) == (self._run.batch, *there.size)

    def _refuse_differing(self, step: Step, output: Output, value: Value) -> None:
        """Refuse an output that is no image, and not the same for each tile."""
        if not self._gathered.same(output.slot, value):
            raise NodeRunError(
                f"Node '{step.node}' says that it is computed by tiles, but its output '{output.name}' is no image of "
                f"the tile's size, and differs from tile to tile: {_told(value)}.",
                hint="Take 'per_pixel' and 'halo' away, so that it gets whole images.",
                node=step.node,
                stage=self._run.schedule.plan.stage,
            )


def _without_values(step: Step, forward: Callable[[], None]) -> Step:
    """Return a step of the same node that reads and answers nothing."""
    return replace(
        step,
        forward=forward,
        hooks=(),
        arguments=(),
        prepares=False,
        lends=False,
        outputs=(),
        output_names=frozenset(),
        released=(),
    )


def _told(value: Value) -> str:
    return f"it has the shape {value.shape}" if hasattr(value, "shape") else f"it is {value!r:.80}"


def _bytes(value: Any) -> int:
    return _values_of(value.shape) * int(getattr(value.dtype, "itemsize", 4))


def _values_of(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64))


def _bound(method: Callable[..., Any], statistics: Any) -> Callable[..., Any]:
    @wraps(method)
    def forward(**inputs: Value) -> Any:
        return method(statistics, **inputs)

    return forward
