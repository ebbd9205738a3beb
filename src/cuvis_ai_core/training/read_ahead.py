"""Threads that read batches of a training before they are asked for."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Part = TypeVar("Part")
Batch = TypeVar("Batch")


def read_ahead(read: Callable[[Part], Batch], parts: Sequence[Part], readers: int) -> Iterator[Batch]:
    """Yield what is read of each part, in their order.

    Args:
        read: Reads one part.
        parts: The parts.
        readers: How many threads read ahead, each one part; 0 reads a part when it is asked for.
    """
    if not readers:
        yield from map(read, parts)
        return
    # Threads, no processes: readers of plugins need not be pickled, nothing is forked beside torch's own threads,
    # and reading and unpacking files lets other threads run.
    with ThreadPoolExecutor(readers, thread_name_prefix="cubes") as pool:
        waiting: deque[Future[Batch]] = deque()
        remaining = iter(parts)
        # As many as there are readers: all batches at once would be in memory together.
        waiting.extend(pool.submit(read, part) for part in islice(remaining, readers))
        while waiting:
            batch = waiting.popleft().result()
            waiting.extend(pool.submit(read, part) for part in islice(remaining, 1))
            yield batch
