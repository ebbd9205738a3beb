"""Values that stand for "no data", as they are stored."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_HUGE: Final = 1e30
"""From here on a "no data" value is the end of the range of a type, written with too few digits."""

_FEW_DIGITS: Final = 1e-3
"""How far: R and ArcGIS write -3.4e+38 for -3.40282347e+38."""


def is_missing(raw: NDArray[Any], value: float) -> NDArray[np.bool_]:
    """Tell which values are a "no data" value, as they are in the file."""
    if raw.dtype.kind == "f":
        if abs(value) > _HUGE:
            with np.errstate(invalid="ignore", over="ignore"):
                return np.asarray(np.isclose(raw, value, rtol=_FEW_DIGITS, atol=0))
        # A value that the type does not hold becomes infinite.
        with np.errstate(over="ignore"):
            return np.asarray(raw == raw.dtype.type(value))
    # No integer equals it, and NumPy would make floats of all to see that.
    if not float(value).is_integer():
        return np.zeros(raw.shape, dtype=bool)
    return np.asarray(raw == int(value))
