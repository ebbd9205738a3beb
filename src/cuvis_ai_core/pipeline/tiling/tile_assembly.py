"""Where tiles are put together to whole values."""

import threading
from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cuvis_ai_core.node.array_node import Value
from cuvis_ai_core.pipeline.execution.plan import Plan
from cuvis_ai_core.pipeline.execution.run_request import Address
from cuvis_ai_core.pipeline.execution.run_results import Results
from cuvis_ai_core.pipeline.tiling.windows import Window


class Place(Protocol):
    """What an answer is written into: an array, or part of a file."""

    def __setitem__(self, key: Any, value: NDArray[Any]) -> None:
        """Write a part of it: `place[:, rows, columns] = tile`, or `place[...] = whole`."""


Into: TypeAlias = Callable[[Address, tuple[int, ...], "np.dtype[Any]"], Place]
"""Makes the place of an answer, of which it is told node and port, shape and type."""


class Gathered:
    """The values that are put together in a run.

    Args:
        plan: What is run.
        into: Makes the places of answers; by default they are arrays.
        image: Batch, height and width of the image.
        spare: Bytes up to which a value is kept that could be computed again.
    """

    def __init__(self, plan: Plan, into: Into | None, image: tuple[int, int, int], spare: int) -> None:
        self._addresses = dict(enumerate(plan.answers, plan.first_answer))
        self._into = into
        self._image = image
        self._room = spare
        self._answers: dict[Address, Value] = dict.fromkeys(plan.answers)
        self._lock = threading.Lock()
        self._constants: dict[int, Value] = {}
        self._arrays: dict[int, NDArray[Any]] = {}
        self._places: dict[int, Place] = {}
        self._wanted: Collection[int] = ()
        self._inside: Collection[int] = ()
        self._spare: Collection[int] = ()
        self._refused: set[int] = set()

    def begin(self, wanted: Collection[int], inside: Collection[int], spare: Collection[int]) -> None:
        """Begin a pass.

        Args:
            wanted: The slots whose tiles will come.
            inside: Those that nodes read later, as arrays.
            spare: Those that could be computed again: they are kept if they are small.
        """
        self._wanted, self._inside, self._spare = wanted, inside, spare
        self._arrays, self._places, self._refused = {}, {}, set()

    def wants(self, slot: int) -> bool:
        """Tell whether the tiles of a slot are put together."""
        return slot in self._wanted or (slot in self._spare and slot not in self._refused)

    def put(self, slot: int, window: Window, value: Value) -> None:
        """Put a tile in its place."""
        tile = as_numpy(value)
        with self._lock:
            if slot not in self._arrays and slot not in self._places and slot not in self._refused:
                self._make(slot, (*self._image, *tile.shape[3:]), tile.dtype)
        at = (slice(None), *window.slices)
        if slot in self._arrays:
            self._arrays[slot][at] = tile
        if slot in self._places:
            with self._lock:  # a file has one place to write at
                self._places[slot][at] = tile

    def same(self, slot: int, value: Value) -> bool:
        """Take a value that is no image, and tell whether it is the same as for the tiles before."""
        with self._lock:
            # The first tile says what it is; all others are compared with it, in whatever order they come.
            if slot not in self._constants:
                self._constants[slot] = value
                return True
        return _equal(self._constants[slot], value)

    def end(self) -> dict[int, Value]:
        """End a pass, and return what nodes read later, as a whole."""
        for slot, place in self._places.items():
            self._answers[self._addresses[slot]] = place
        for slot in self._wanted:
            if slot in self._arrays and slot in self._addresses and slot not in self._places:
                self._answers[self._addresses[slot]] = self._arrays[slot]
            elif slot in self._constants:
                self.take(slot, self._constants[slot])
        constants = {slot: self._constants[slot] for slot in self._wanted if slot in self._constants}
        return {**constants, **self._arrays}

    def take(self, slot: int, value: Value) -> None:
        """Take a value that is there as a whole; only if it is an answer."""
        if slot not in self._addresses:
            return
        address = self._addresses[slot]
        array = None if self._into is None or value is None else _plain_array(value)
        if array is None or self._into is None:
            self._answers[address] = value
            return
        place = self._into(address, array.shape, array.dtype)
        place[...] = array
        self._answers[address] = place

    def answers(self) -> dict[Address, Value]:
        """Return what the run answers."""
        return Results(self._answers)

    def _make(self, slot: int, shape: tuple[int, ...], dtype: "np.dtype[Any]") -> None:
        is_answer, size = slot in self._addresses, int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        if slot in self._spare:
            if size > self._room:
                self._refused.add(slot)
                return
            # Counted down: together they may take no more than what is spare.
            self._room -= size
        if is_answer and self._into is not None:
            self._places[slot] = self._into(self._addresses[slot], shape, dtype)
        if slot in self._inside or (is_answer and self._into is None):
            self._arrays[slot] = np.empty(shape, dtype)


def as_numpy(value: Any) -> NDArray[Any]:
    """Return a value as an array of NumPy; of types of torch that NumPy has not, as float32."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        # `numpy()` raises for bfloat16, which NumPy does not have.
        value = value.float() if str(value.dtype) == "torch.bfloat16" else value
        return np.asarray(value.numpy())
    return np.asarray(value)


def _plain_array(value: Value) -> NDArray[Any] | None:
    try:
        array = as_numpy(value)
    except Exception:  # noqa: BLE001 - a plugin's object may refuse in any way
        return None
    return None if array.dtype.hasobject else array


def _equal(left: Value, right: Value) -> bool:
    """Tell whether two values are the same, also in what they hold: arrays say of each element whether it is equal."""
    if hasattr(left, "shape") and hasattr(right, "shape"):
        one, other = as_numpy(left), as_numpy(right)
        # `equal_nan` raises for texts and objects, which have no NaN.
        return one.dtype == other.dtype and bool(np.array_equal(one, other, equal_nan=one.dtype.kind in "fc"))
    if left is right or type(left) is not type(right):
        return left is right
    if isinstance(left, Mapping):
        return left.keys() == right.keys() and all(_equal(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(_equal, left, right))
    if hasattr(left, "__dict__"):
        return _equal(vars(left), vars(right))
    return bool(left == right or (left != left and right != right))  # noqa: PLR0124 - two that are no numbers
