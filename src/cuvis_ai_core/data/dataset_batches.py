"""From the dataset of a data module to batches, in any order, as from cubes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from cuvis_ai_core.data.cube_batches import Batches
from cuvis_ai_core.errors import TrainRunError


@dataclass(frozen=True, slots=True)
class DatasetBatches:
    """A stream of batches that can be begun anew, of what torch's own loaders would make of the samples.

    Attributes:
        dataset: A dataset of torch that is indexed by number; its samples are mappings of ports to values.
        numbers: Which of its samples, in their order.
        size: Samples in a batch; the last one may have fewer.
    """

    dataset: Any
    numbers: Sequence[int]
    size: int = 1

    def __len__(self) -> int:
        return len(range(0, len(self.numbers), self.size))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Read batch after batch.

        Raises:
            TrainRunError: The samples of a batch do not go together.
        """
        for start in range(0, len(self.numbers), self.size):
            yield self._collated(self.numbers[start : start + self.size])

    def _collated(self, numbers: Sequence[int]) -> dict[str, Any]:
        from torch.utils.data import default_collate

        # torch's own protocol for batches (2.0), which Subset and others have.
        several = getattr(self.dataset, "__getitems__", None)
        samples = several(list(numbers)) if several else [self.dataset[number] for number in numbers]
        try:
            batch: dict[str, Any] = default_collate(samples)
        except (RuntimeError, TypeError, KeyError) as error:
            raise TrainRunError(
                f"Samples {', '.join(map(str, numbers))} of {type(self.dataset).__name__} are no batch: {error}",
                hint="Set data.batch_size to 1, or give samples of one size.",
                key="data.batch_size",
            ) from error
        return batch


AnyBatches: TypeAlias = Batches | DatasetBatches
"""What is trained on: of cubes, or of a data module."""
