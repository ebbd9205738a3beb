"""What is handed in, as inputs take it that were written for other batches: those of published data modules.

A cube gives its wavelengths as real numbers `[channel]`; the data nodes of published catalogues take whole numbers with
a row for each image, and some of them counts of one type of integers. Nothing else is shaped: a value that does not
fit is refused.
"""

from collections.abc import Mapping
from typing import Any, Final

from cuvis_ai_core.node.array_node import Value
from cuvis_ai_core.node.ports import dtype_name
from cuvis_ai_core.pipeline.execution.input_sources import BatchKey
from cuvis_ai_core.pipeline.port_compatibility import ResolvedPort

_WAVELENGTHS: Final = "wavelengths"
_AXES_OF_CUBES: Final = 4
_ROWS: Final = 2
"""Axes of wavelengths that are there for each image, `[batch, channel]`."""
_INTEGERS: Final = frozenset({"uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"})


def as_taken(port: ResolvedPort, value: Value, batch: Mapping[BatchKey, Value]) -> Value:
    """Return what is handed in for an input, as the input takes it, where nothing of it gets lost.

    Wavelengths get an axis for the images of the batch, or lose it where all rows are the same; they are rounded to
    whole nm for an input of integers. Other numbers become integers of one type, such as uint16, where all of them are
    whole and within its range.

    Args:
        port: The input.
        value: What is handed in.
        batch: What is handed in with it: a cube says how many images there are.

    Returns:
        The value as it is where it is no array, or another rule than these is in the way.
    """
    if not hasattr(value, "dtype") or not hasattr(value, "shape"):
        return value
    if port.port.name == _WAVELENGTHS:
        return _whole(_rows(value, len(port.sizes), batch), port.port.dtype)
    return _same_integers(value, port.port.dtype)


def why_not(port: ResolvedPort, value: Value) -> str | None:
    """Return what to do about real numbers that an input of integers does not take, if that is what is wrong."""
    dtype = getattr(value, "dtype", None)
    if port.port.dtype not in _INTEGERS or dtype is None or "float" not in dtype_name(dtype):
        return None
    return (
        f"Some of its values are no whole numbers that {port.port.dtype} has. Hand in counts as the sensor gave them "
        "(of a session file: processing mode Raw), or run a pipeline without this node."
    )


def _rows(value: Any, axes: int, batch: Mapping[BatchKey, Value]) -> Any:
    if value.ndim == 1 and axes == _ROWS:
        rows = value.reshape(1, -1)
        # By an index, which NumPy and torch both take: `repeat` means another thing in each of them.
        return rows[[0] * _images(batch)]
    if value.ndim == _ROWS and axes == 1 and len(value) and bool((value == value[0]).all()):
        return value[0]
    return value


def _images(batch: Mapping[BatchKey, Value]) -> int:
    shape: tuple[int, ...] = getattr(batch.get("cube"), "shape", ())
    return int(shape[0]) if len(shape) == _AXES_OF_CUBES else 1


def _whole(value: Any, declared: str) -> Any:
    if "int" not in declared or "int" in dtype_name(value.dtype):
        return _same_integers(value, declared)
    # int32 as published data sets have them, where a port takes any integers.
    return _same_integers(value.round(), declared if declared in _INTEGERS else "int32")


def _same_integers(value: Any, declared: str) -> Any:
    """Return the same numbers as integers of a type, or the value as it is where one of them would be another."""
    given = dtype_name(value.dtype)
    if declared not in _INTEGERS or given == declared or not ("int" in given or "float" in given):
        return value
    return _as(value, declared) if _holds(declared, _as_numpy(value)) else value


def _holds(name: str, numbers: Any) -> bool:
    """Tell whether a type of integers has all of some numbers."""
    import numpy as np

    if not numbers.size:
        return True
    # As Python's: NumPy would round the limits to float32, or to infinity. NaN, where one is there.
    lowest, highest = numbers.min().item(), numbers.max().item()
    limits = np.iinfo(name)
    within = bool(lowest >= limits.min and highest <= limits.max)
    return within and ("int" in numbers.dtype.name or bool((np.trunc(numbers) == numbers).all()))


def _as_numpy(value: Any) -> Any:
    if not hasattr(value, "detach"):
        return value
    found = value.detach().cpu()
    # NumPy does not have the type.
    return (found.float() if dtype_name(found.dtype) == "bfloat16" else found).numpy()


def _as(value: Any, name: str) -> Any:
    if not hasattr(value, "detach"):
        return value.astype(name)
    import torch

    return value.detach().to(getattr(torch, name))
