"""The batches of an epoch: their order, the last short one, and threads that read them before they are asked for."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final, Literal, TypeVar

import numpy as np

from cuvis_ai_core.data.dataset_batches import AnyBatches

Part = TypeVar("Part")
Batch = TypeVar("Batch")


@dataclass(frozen=True, slots=True)
class Reading:
    """How cubes to train on are read.

    Attributes:
        drop_last: Whether a last batch that is not full is left out.
        sampling: `balanced` draws cubes so that pixels of every class are seen equally often.
        num_workers: Threads that read ahead.
    """

    drop_last: bool = False
    sampling: Literal["balanced"] | None = None
    num_workers: int = 0


AS_THEY_COME: Final = Reading()


class Epochs:
    """Batches in the order of the epoch; a single batch is read once and kept.

    Args:
        batches: The data, in their own order.
        seed: What the order of an epoch depends on, beside its number; None keeps their own order.
        epoch: Returns the number of the epoch.
        drop_last: Whether a last batch that is not full is left out.
        chances: For each of the cubes how likely it is drawn, where epochs draw cubes with replacement.
        readers: Threads that read ahead; 0 reads when a batch is asked for.
    """

    def __init__(
        self,
        batches: AnyBatches,
        seed: int | None,
        epoch: Callable[[], int],
        *,
        drop_last: bool = False,
        chances: Sequence[float] | None = None,
        readers: int = 0,
    ) -> None:
        self._batches = batches
        self._seed = seed
        self._epoch = epoch
        self._drop_last = drop_last
        self._chances = chances
        self._readers = readers
        self._only: list[Any] = []

    def __len__(self) -> int:
        return len(self._cut(self._batches.numbers))

    def __iter__(self) -> Iterator[Any]:
        # A generator: Lightning asks for it before a training that goes on knows its epoch, and reads from it after.
        # One cube for hundreds of epochs is usual.
        if len(self) == len(self._batches) == 1 and self._chances is None:
            self._only = self._only or list(self._batches)
            yield from self._only
        else:
            yield from _read_ahead(self._one, self._cut(self._numbers()), self._readers)

    def _numbers(self) -> Sequence[int]:
        numbers = np.asarray(self._batches.numbers)
        if self._seed is None:
            return self._batches.numbers
        # Of seed and epoch alone, so that an interrupted training goes on as it would have.
        random = np.random.default_rng([self._seed, self._epoch()])
        if self._chances is None:
            drawn = random.permutation(numbers)
        else:
            drawn = random.choice(numbers, len(numbers), p=self._chances)
        order: list[int] = drawn.tolist()
        return order

    def _cut(self, numbers: Sequence[int]) -> list[Sequence[int]]:
        size = self._batches.size
        end = len(numbers) - len(numbers) % size if self._drop_last else len(numbers)
        return [numbers[start : start + size] for start in range(0, end, size)]

    def _one(self, numbers: Sequence[int]) -> Any:
        return next(iter(replace(self._batches, numbers=numbers)))


def _read_ahead(read: Callable[[Part], Batch], parts: Sequence[Part], readers: int) -> Iterator[Batch]:
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
