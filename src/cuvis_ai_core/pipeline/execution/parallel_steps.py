"""Steps of a run that go on at once: those whose nodes are in other processes, each process in a thread of its own.

The host's own nodes stay in the caller's thread and in their order, so that nodes need not be safe to use from several
threads. A step waits for those whose outputs it reads, and for those before it in its own process.
"""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from cuvis_ai_core.node.array_libraries import Elsewhere, gradient_mode, process_of
from cuvis_ai_core.node.array_node import Value

if TYPE_CHECKING:
    from cuvis_ai_core.pipeline.execution.plan import Plan, Step

Run: TypeAlias = "Callable[[Step], None]"


@dataclass(frozen=True, slots=True)
class Lanes:
    """Which steps go on at once; all are named by their numbers in the plan.

    Attributes:
        own: The steps of the caller's thread.
        others: The steps of each other thread.
        processes: The processes in which they run.
        awaited: Of each step those whose outputs it reads.
        reads: Of each step the slots that it reads, or fills for nobody; each is given up with its last one.
    """

    own: tuple[int, ...]
    others: tuple[tuple[int, ...], ...]
    processes: tuple[Elsewhere, ...]
    awaited: tuple[tuple[int, ...], ...]
    reads: tuple[tuple[int, ...], ...]


def find_lanes(steps: "Sequence[Step]", nodes: Mapping[str, object]) -> Lanes | None:
    """Return which steps go on at once, or None where the graph has them go on one after the other.

    Args:
        steps: The steps of a plan.
        nodes: Its nodes, by name.
    """
    homes = [process_of(nodes[step.node]) for step in steps]
    if not any(homes):
        return None
    makers = {output.slot: number for number, step in enumerate(steps) for output in step.outputs}
    reads = [tuple(dict.fromkeys(_slots_read(step))) for step in steps]
    awaited = [tuple({makers[slot]: None for slot in slots if slot in makers}) for slots in reads]
    if not _some_at_once(homes, awaited):
        return None
    released = {slot for step in steps for slot in step.released}
    read = {slot for slots in reads for slot in slots}
    unread = [tuple(each.slot for each in step.outputs if each.slot not in read) for step in steps]
    own, *others = _by_home(homes)
    return Lanes(
        own=own,
        others=tuple(others),
        processes=tuple(dict.fromkeys(filter(None, homes))),
        awaited=tuple(awaited),
        reads=tuple(
            tuple(slot for slot in (*slots, *left) if slot in released)
            for slots, left in zip(reads, unread, strict=True)
        ),
    )


def run_in_lanes(plan: "Plan", values: list[Value], run: Run) -> None:
    """Run all steps of a plan that has lanes.

    Args:
        plan: The plan.
        values: The values of its slots; those that nobody needs any more are given up.
        run: Runs one step, in any thread.

    Raises:
        BaseException: That of the first step that failed; no other is begun after it, and those that were are over.
    """
    assert plan.lanes is not None
    running = _Running(plan.steps, plan.lanes, values, run)
    same_gradients = gradient_mode()

    def go(numbers: Iterable[int]) -> None:
        with same_gradients():
            running.go(numbers)

    with ThreadPoolExecutor(len(plan.lanes.others), "cuvis-ai-lane") as threads:
        for numbers in plan.lanes.others:
            threads.submit(copy_context().run, go, numbers)
        running.go(plan.lanes.own)
        try:
            running.wait()
        except (KeyboardInterrupt, SystemExit):
            for process in plan.lanes.processes:
                process.cancel()
            raise
    running.refuse_failed()


class _Running:
    """One run.

    Args:
        steps: The steps.
        lanes: Which go on at once.
        values: The values of all slots.
        run: Runs one step.
    """

    def __init__(self, steps: "Sequence[Step]", lanes: Lanes, values: list[Value], run: Run) -> None:
        self._steps = steps
        self._lanes = lanes
        self._values = values
        self._run = run
        self._over = [threading.Event() for _ in steps]
        self._failed: dict[int, BaseException] = {}
        self._readers: dict[int, int] = defaultdict(int)
        for slots in lanes.reads:
            for slot in slots:
                self._readers[slot] += 1
        self._lock = threading.Lock()

    def go(self, numbers: Iterable[int]) -> None:
        """Run some steps one after the other, each as soon as it can."""
        for number in numbers:
            try:
                for other in self._lanes.awaited[number]:
                    if not self._failed:
                        self._over[other].wait()
                if not self._failed:
                    self._run(self._steps[number])
                    self._release(number)
            except BaseException as error:  # noqa: BLE001 - raised by `refuse_failed`, when nothing runs any more
                self._failed[number] = error
            finally:
                self._over[number].set()

    def wait(self) -> None:
        """Wait until all steps are over.

        Raises:
            KeyboardInterrupt, SystemExit: The program is to end; no other step is begun.
        """
        try:
            for error in self._failed.values():
                if isinstance(error, KeyboardInterrupt | SystemExit):
                    raise error
            for over in self._over:
                over.wait()
        except (KeyboardInterrupt, SystemExit) as error:
            self._failed[-1] = error
            raise

    def refuse_failed(self) -> None:
        """Raise what the first step raised that failed."""
        if self._failed:
            raise self._failed[min(self._failed)]

    def _release(self, number: int) -> None:
        with self._lock:
            for slot in self._lanes.reads[number]:
                self._readers[slot] -= 1
                if not self._readers[slot]:
                    self._values[slot] = None


def _slots_read(step: "Step") -> Iterator[int]:
    yield from (slot for _, slot in step.arguments)
    for _, slots in step.fan_in:
        yield from slots


def _by_home(homes: Sequence[object]) -> list[tuple[int, ...]]:
    """Return the steps of each process, those of this one first; where it has none, those of another take its place."""
    numbers: dict[object, list[int]] = {None: []}
    for number, home in enumerate(homes):
        numbers.setdefault(home, []).append(number)
    return [tuple(each) for each in numbers.values() if each]


def _some_at_once(homes: Sequence[object], awaited: Sequence[Iterable[int]]) -> bool:
    """Tell whether two steps of different processes need nothing of each other. Sets of steps are bits of a number."""
    before: list[int] = []
    same: dict[object, int] = defaultdict(int)
    for number, home in enumerate(homes):
        needed = 0
        for other in awaited[number]:
            needed |= before[other] | 1 << other
        before.append(needed)
        if ((1 << number) - 1) & ~same[home] & ~needed:
            return True
        same[home] |= 1 << number
    return False
