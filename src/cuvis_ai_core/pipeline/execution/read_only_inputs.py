"""What a node is given is lent: it reads it, and writes nothing into it, since others have the same arrays.

Those are other nodes, the caller who handed a value in, and whoever gets the results. An array of NumPy is lent as a
view that cannot be written, so that NumPy itself raises at the very line. A tensor cannot be made so: it is looked at
before and after. Lists and mappings are lent as copies, of which the arrays are lent.
"""

import ctypes
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from cuvis_ai_core.node.array_node import Value

ARRAY: Final = np.ndarray
_PLAIN: Final = frozenset({bool, int, float, complex, str, bytes, type(None)})
_WHOLE: Final = 1 << 12
"""Bytes of a tensor that are compared, all of them. More would cost more than many a node."""
_PICKED: Final = 256
"""So many are compared of a larger one."""


@dataclass(slots=True)
class Lent:
    """A tensor that a node is given, and how it was before.

    Attributes:
        port: The input port.
        tensor: The tensor.
        before: What tells whether it was written since.
    """

    port: str
    tensor: Any
    before: tuple[object, ...]

    @property
    def is_written(self) -> bool:
        """Whether somebody wrote into it."""
        return _state(self.tensor) != self.before


def lend(arguments: dict[str, Value], copied: Iterable[str] = ()) -> list[Lent]:
    """Put in place of the arguments of a node what it can only read, and return the tensors to look at afterwards.

    Args:
        arguments: What it is given.
        copied: Names of the arguments of which it gets copies that are its own.
    """
    lent: list[Lent] = []
    for name, value in arguments.items():
        arguments[name] = _own(value) if name in copied else _lent(value, name, lent)
    return lent


def span_of(value: Any) -> tuple[int, int]:
    """Return the addresses between which the values of an array, or of a tensor with memory, lie."""
    if isinstance(value, ARRAY):
        start, size, strides = value.__array_interface__["data"][0], value.itemsize, value.strides
    else:
        start, size = value.data_ptr(), value.element_size()
        strides = tuple(step * size for step in value.stride())
    if 0 in value.shape:
        return start, start
    reach = [(count - 1) * step for count, step in zip(value.shape, strides, strict=True)]
    return start + sum(each for each in reach if each < 0), start + sum(each for each in reach if each > 0) + size


def arrays_in(value: Value) -> Iterator[Any]:
    """Yield the arrays, and the tensors with memory, in a value."""
    if isinstance(value, ARRAY):
        yield value
    elif type(value) in {list, tuple, dict}:
        for each in value.values() if isinstance(value, dict) else value:
            yield from arrays_in(each)
    elif hasattr(value, "untyped_storage") and _has_memory(value):
        yield value


def _own(value: Value) -> Value:
    if isinstance(value, list):
        return [_own(each) for each in value]
    return value.copy() if isinstance(value, ARRAY) else value


def _lent(value: Value, port: str, lent: list[Lent]) -> Value:
    if type(value) in _PLAIN:
        return value
    if isinstance(value, ARRAY):
        view = value.view()
        view.setflags(write=False)
        return view
    if type(value) in {list, tuple}:
        plain = set(map(type, value)) <= _PLAIN
        return type(value)(value if plain else [_lent(each, port, lent) for each in value])
    if type(value) is dict:
        return {key: _lent(each, port, lent) for key, each in value.items()}
    torch: Any = sys.modules.get("torch")
    if torch is None or not isinstance(value, torch.Tensor):
        return value
    if value.is_inference() and not _is_compared_whole(value):
        value = _counting(value)
    lent.append(Lent(port, value, _state(value)))
    return value


def _counting(tensor: Any) -> Any:
    """Return a tensor on the same memory whose changes torch counts, as it does not of those made in inference mode."""
    torch: Any = sys.modules["torch"]
    plain = type(tensor) in {torch.Tensor, torch.nn.Parameter} and tensor.layout is torch.strided
    if not plain or tensor.is_quantized or tensor.is_conj() or tensor.is_neg():
        return tensor  # it is more than its memory
    with torch.inference_mode(mode=False):
        return tensor.new_empty(0).set_(tensor)


def _state(tensor: Any) -> tuple[object, ...]:
    """Return what changes when a tensor does: torch's count, its form, and bytes for what goes past that count.

    Nothing is counted that is written by way of `tensor.numpy()` or `tensor.data`.
    """
    version = None if tensor.is_inference() else tensor._version
    return version, tensor.shape, _bytes(tensor)


def _bytes(tensor: Any) -> bytes | None:
    if not _has_memory(tensor):
        return None
    if tensor.is_contiguous():
        start, size = tensor.data_ptr(), tensor.nbytes
    else:
        start, stop = span_of(tensor)
        size = stop - start
    if not start:
        return None  # its storage was given up: there is nothing at its address
    if size <= _WHOLE:
        return ctypes.string_at(start, size)
    memory = memoryview((ctypes.c_char * size).from_address(start))
    return bytes(memory[:: size // _PICKED | 1])  # an odd step meets every byte of numbers in turn


def _is_compared_whole(tensor: Any) -> bool:
    return _has_memory(tensor) and tensor.untyped_storage().nbytes() <= _WHOLE


def _has_memory(value: Any) -> bool:
    torch: Any = sys.modules["torch"]
    return type(value) in {torch.Tensor, torch.nn.Parameter} and value.is_cpu and value.layout is torch.strided
