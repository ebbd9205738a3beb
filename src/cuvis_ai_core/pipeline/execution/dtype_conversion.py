"""Real numbers of one type for a port of another: converted, and what gets lost is measured and said.

A cube keeps the type of its file. Its values become what a port says where the port is reached, and not before.
"""

import logging
import math
from typing import Any, Final

from cuvis_ai_core.errors import PortError
from cuvis_ai_core.node.array_libraries import Convert
from cuvis_ai_core.node.array_node import Value
from cuvis_ai_core.node.ports import dtype_name, real_dtype
from cuvis_ai_core.pipeline.port_compatibility import ResolvedPort

_log = logging.getLogger(__name__)

TOLERANCE: Final = 1e-6
"""A greater relative error of a value is said; rounding to float32 makes one of 6e-8."""

_CHUNK: Final = 1 << 16
"""Values that are compared at once: float64 copies of whole cubes would be large."""


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
    if _holds(converted.dtype, value.dtype):
        return converted, 0.0
    # What is measured here is no part of what gradients flow through.
    with torch.no_grad():
        before = value.double()
        errors = ((converted.double() - before) / before).abs()[before.isfinite() & (before != 0)]
    return converted, float(errors.max()) if errors.numel() else 0.0


def _holds(wanted: Any, given: Any) -> bool:
    """Tell whether a type of real numbers has all numbers of another type."""
    import torch

    if given.is_floating_point:
        return bool(torch.promote_types(given, wanted) == wanted)
    # Not by `promote_types`: for torch any real numbers are more than any integers, also those that they round.
    return bool(given.itemsize * 8 <= 1 - math.log2(torch.finfo(wanted).eps))
