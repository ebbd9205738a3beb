"""Running steps at once that `independent_steps` found, a thread for each process that they wait for."""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeAlias

from cuvis_ai_core.node.array_node import Value
from cuvis_ai_core.node.gradient_modes import gradient_mode
from cuvis_ai_core.pipeline.execution.independent_steps import Lanes
from cuvis_ai_core.pipeline.execution.plan import Plan, Step

Run: TypeAlias = Callable[[Step], None]


def run_in_lanes(plan: Plan, values: list[Value], run: Run) -> None:
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
        # torch keeps its modes of gradients and inference for each thread.
        with same_gradients():
            running.go(numbers)

    with ThreadPoolExecutor(len(plan.lanes.others), "cuvis-ai-lane") as threads:
        for numbers in plan.lanes.others:
            # A thread starts without the context variables of its caller.
            threads.submit(copy_context().run, go, numbers)
        running.go(plan.lanes.own)
        try:
            running.wait()
        except (KeyboardInterrupt, SystemExit):
            for process in plan.lanes.processes:
                # Leaving the executor waits for its threads, whose nodes may never come to an end.
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

    def __init__(self, steps: Sequence[Step], lanes: Lanes, values: list[Value], run: Run) -> None:
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
            # Before the number of any step, so that it is this one that is raised.
            self._failed[-1] = error
            raise

    def refuse_failed(self) -> None:
        """Raise what the first step raised that failed."""
        if self._failed:
            # The first of the plan, not of the clock: the same run fails with the same words.
            raise self._failed[min(self._failed)]

    def _release(self, number: int) -> None:
        with self._lock:
            for slot in self._lanes.reads[number]:
                self._readers[slot] -= 1
                if not self._readers[slot]:
                    self._values[slot] = None
