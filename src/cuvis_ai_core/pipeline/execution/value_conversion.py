"""Values as a port takes them: real numbers of another type are converted, and what gets lost is measured and said.

A cube keeps the type of its file. Its values become what a port says where the port is reached, and not before.

What is handed in may also be written for other batches, those of published data modules: a cube gives its wavelengths
as real numbers `[channel]`; the data nodes of published catalogues take whole numbers with a row for each image, and
some of them counts of one type of integers. Nothing else is shaped: a value that does not fit is refused.
"""

import logging
import math
from collections.abc import Mapping
from typing import Any, Final

from cuvis_ai_core.errors import PortError
from cuvis_ai_core.node.array_libraries import Convert
from cuvis_ai_core.node.array_node import Value
from cuvis_ai_core.node.dtypes import dtype_name, real_dtype
from cuvis_ai_core.pipeline.execution.input_sources import BatchKey
from cuvis_ai_core.pipeline.port_compatibility import ResolvedPort

_log = logging.getLogger(__name__)

TOLERANCE: Final = 1e-6
"""A greater relative error of a value is said; rounding to float32 makes one of 6e-8."""

_CHUNK: Final = 1 << 16
"""Values that are compared at once: float64 copies of whole cubes would be large."""

_WAVELENGTHS: Final = "wavelengths"
_AXES_OF_CUBES: Final = 4
_ROWS: Final = 2
"""Axes of wavelengths that are there for each image, `[batch, channel]`."""
_INTEGERS: Final = frozenset({"uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"})


_STORED: Final = ("dtype", "shape", "__array__", "__getitem__")


def in_memory(value: Any) -> Any:
    """Return an array of NumPy of what is read or computed when it is asked for: of xarray, dask, h5py, zarr, netCDF4.

    They have functions of their own, none of which follows the array API standard: nodes would fail in the middle, or
    compute something else.
    """
    # What is in memory, of any library, has `__dlpack__`; a number has no axes.
    if hasattr(value, "__dlpack__") or not all(hasattr(value, name) for name in _STORED) or not value.shape:
        return value
    import numpy as np

    read = value[...]
    return without_mask(read) if type(read).__name__ == "MaskedArray" else np.asarray(read)


def without_mask(value: Any) -> Any:
    """Return a masked array as a plain one, with NaN: nodes would see the values under the mask."""
    if type(value).__name__ != "MaskedArray":
        return value
    import numpy as np

    mask = np.ma.getmaskarray(value)
    # NaN of float32: with a Python float, NumPy would make float64 of integers of 16 bits.
    return np.where(mask, np.float32(np.nan), value.data) if mask.any() else value.data


def make_cast(port: ResolvedPort) -> Convert:
    """Return what makes real numbers of the type of a port of values of another type; it leaves alone what fits.

    Integers become float32 for a port of `floating`, those of more than 16 bits float64. A relative error above 1e-6
    is logged once with node and port.

    Raises (the function): PortError if a finite value is too large for the type.
    """
    said = False

    def cast(value: Value) -> Value:
        nonlocal said
        dtype = getattr(value, "dtype", None)
        wanted = None if dtype is None or not hasattr(value, "shape") else real_dtype(port.port.dtype, dtype)
        if wanted is None or wanted == dtype_name(dtype):
            return value
        converted, error = _to_torch(value, wanted) if hasattr(value, "detach") else _to_numpy(value, wanted)
        what = f"{dtype_name(dtype)} as {wanted}, as the port says"
        if error == float("inf"):
            raise PortError(
                f"Input '{port.port.name}' of node '{port.node}': values are too large for {what}.",
                hint=f"Scale them before the node, or declare the port as {dtype_name(dtype)} or np.floating.",
                node=port.node,
                port=port.port.name,
            )
        if error > TOLERANCE and not said:
            said = True
            _log.warning(
                "Input '%s' of node '%s' gets %s, which makes a relative error of up to %.1e in a value.",
                port.port.name,
                port.node,
                what,
                error,
            )
        return converted

    return cast


def _to_numpy(value: Any, wanted: str) -> tuple[Any, float]:
    """Return an array of another type, and the greatest relative error in it: infinite where a value overflows."""
    import numpy as np

    if wanted == "bfloat16":  # not one of NumPy's
        return value, 0.0
    # An overflow becomes an error with node and port, not a warning of NumPy.
    with np.errstate(over="ignore", under="ignore"):
        converted = value.astype(wanted)
    if np.can_cast(value.dtype, converted.dtype, "safe"):
        return converted, 0.0
    worst = 0.0
    with np.errstate(all="ignore"):
        chunks = np.nditer(
            [value, converted], ["external_loop", "buffered", "zerosize_ok"], op_dtypes=["float64"] * 2,
            casting="same_kind", buffersize=_CHUNK,
        )  # fmt: skip
        for before, after in chunks:
            errors = np.abs((after - before) / before)[np.isfinite(before) & (before != 0)]
            worst = max(worst, float(errors.max(initial=0.0)))
    return converted, worst


def _to_torch(value: Any, wanted: str) -> tuple[Any, float]:
    """Return a tensor of another type, with its gradients, and the greatest relative error in it."""
    import torch

    converted = value.to(getattr(torch, wanted))
    if _type_has_all(converted.dtype, value.dtype):
        return converted, 0.0
    # What is measured here is no part of what gradients flow through.
    with torch.no_grad():
        before = value.double()
        errors = ((converted.double() - before) / before).abs()[before.isfinite() & (before != 0)]
    return converted, float(errors.max()) if errors.numel() else 0.0


def _type_has_all(wanted: Any, given: Any) -> bool:
    """Tell whether a type of real numbers has all numbers of another type."""
    import torch

    if given.is_floating_point:
        return bool(torch.promote_types(given, wanted) == wanted)
    # Not by `promote_types`: for torch any real numbers are more than any integers, also those that they round.
    return bool(given.itemsize * 8 <= 1 - math.log2(torch.finfo(wanted).eps))


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
    return _as(value, declared) if _has_all(declared, _as_numpy(value)) else value


def _has_all(name: str, numbers: Any) -> bool:
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
