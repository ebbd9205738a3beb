"""From cubes to the batches that a pipeline takes, one in memory at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cuvis_ai_core.data.cube_sequence import Cubes
from cuvis_ai_core.data.labels.annotations import Annotations
from cuvis_ai_core.errors import CubeError

Batch = dict[str, NDArray[Any]]
"""`cube` `[batch, height, width, channel]` in the type of its files; `wavelengths` float64 `[channel]` in nm, where
they are known; `mask` int32 `[batch, height, width]`, where there are annotations; `mesu_index` int64 `[batch]`, the
numbers of the cubes."""


@dataclass(frozen=True, slots=True)
class Batches:
    """A stream of batches that can be begun anew; neither cubes nor batches are kept.

    Attributes:
        cubes: Where the cubes come from.
        numbers: Which of them, in their order.
        annotations: Where their masks come from.
        size: Cubes in a batch; the last one may have fewer.

    Raises:
        AnnotationError: An annotated image matches no cube, one mask would serve several, or a cube has none.
    """

    cubes: Cubes
    numbers: Sequence[int]
    annotations: Annotations | None = None
    size: int = 1

    def __post_init__(self) -> None:
        if self.annotations is not None:
            places = list(map(self.cubes.place, range(len(self.cubes))))
            # All places, not only those of this part: an image that matches no cube at all is a mistake in names.
            self.annotations.check(places, [places[number] for number in dict.fromkeys(self.numbers)])

    def __len__(self) -> int:
        return len(range(0, len(self.numbers), self.size))

    def __iter__(self) -> Iterator[Batch]:
        """Read batch after batch.

        Raises:
            CubeError: A cube cannot be read, or those of a batch do not go together.
            AnnotationError: A mask cannot be read, or is of another size than its cube.
        """
        for start in range(0, len(self.numbers), self.size):
            yield self._read(self.numbers[start : start + self.size])

    def _read(self, numbers: Sequence[int]) -> Batch:
        parts = [self._one(number) for number in numbers]
        for number, part in zip(numbers, parts, strict=True):
            self._refuse_misfit(numbers[0], parts[0], number, part)
        shared = {key: value for key, value in parts[0].items() if key == "wavelengths"}
        # Wavelengths are one list for all: joined, they would be as long as all cubes together.
        return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]} | shared

    def _one(self, number: int) -> Batch:
        cube = self.cubes[number]
        batch = cube.batch()
        if self.annotations is not None:
            batch["mask"] = self.annotations.mask(cube)[np.newaxis]
        batch["mesu_index"] = np.array([number], dtype=np.int64)
        return batch

    def _refuse_misfit(self, first_number: int, first: Batch, number: int, other: Batch) -> None:
        same = first.keys() == other.keys() and first["cube"].shape == other["cube"].shape
        if same and np.array_equal(first.get("wavelengths", ()), other.get("wavelengths", ())):
            return
        names = [f"'{file}', cube {index}" for file, index in map(self.cubes.place, (first_number, number))]
        shapes = [" x ".join(map(str, part["cube"].shape[1:])) for part in (first, other)]
        what = "has other wavelengths than" if shapes[0] == shapes[1] else f"is {shapes[1]}, not {shapes[0]} as"
        raise CubeError(
            f"The cubes of a batch have one size and the same wavelengths, but {names[1]}, {what} {names[0]}.",
            hint="Set batch_size to 1, or give cubes of one size.",
            path=self.cubes.place(number)[0],
        )
