"""Which library's functions work on an array (`xp`)."""

from typing import Any, Final

import array_api_compat
import numpy as np

_FOLLOWS: Final = hasattr(np, "__array_namespace_info__")
"""Whether NumPy follows the array API standard itself, as it does from 2.1 on."""


def array_namespace(*arrays: Any) -> Any:
    """Return the one array namespace that arrays belong to.

    NumPy's own where that will do: `array_api_compat.numpy` imports all of NumPy, its Fortran compiler and its tests
    too, which takes longer than many a run.

    Raises:
        TypeError: A value is no array, or they belong to different libraries.
    """
    if _FOLLOWS and all(type(each) is np.ndarray for each in arrays):
        return np
    return array_api_compat.array_namespace(*arrays)
