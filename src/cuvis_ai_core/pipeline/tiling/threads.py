"""Tiles by several threads: what is made of them comes in their order, and few are begun before they are asked for."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from itertools import islice
from typing import Any

from cuvis_ai_core.node.gradient_modes import gradient_mode
from cuvis_ai_core.pipeline.tiling.windows import Window


def thread_count() -> int:
    """Return on how many cores this process may compute."""
    # Containers and batch systems give a share of the machine; `cpu_count` names all of it. macOS and Windows lack
    # this.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_order(
    work: Callable[[Window], dict[int, Any]], windows: Iterable[Window], threads: int
) -> Iterator[dict[int, Any]]:
    """Yield what is made of each window, in their order; not many more are begun than are asked for."""
    if threads == 1:
        yield from map(work, windows)
        return
    from threadpoolctl import threadpool_limits

    # torch's mode is of a thread: others would remember what gradients need.
    same_gradients = gradient_mode()

    def go(window: Window) -> dict[int, Any]:
        with same_gradients():
            return work(window)

    left = iter(windows)
    running: deque[Future[dict[int, Any]]] = deque()
    pool = ThreadPoolExecutor(threads, "cuvis-ai-tile")
    # the cores are taken: threads of BLAS would only wait for each other, which takes several times as long
    with threadpool_limits(1):
        try:
            for window in islice(left, 2 * threads):
                # A context for each: one cannot be entered by two threads at once.
                running.append(pool.submit(copy_context().run, go, window))
            while running:
                yield running.popleft().result()
                running.extend(pool.submit(copy_context().run, go, window) for window in islice(left, 1))
        finally:
            # Waits for those that run: they write into arrays of who asked.
            pool.shutdown(cancel_futures=True)
