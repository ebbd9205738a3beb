"""Hyperspectral cubes and the files they are read from.

The names are imported when they are first asked for: whoever only lists readers needs no NumPy.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cuvis_ai_core.data.cube import Cube
    from cuvis_ai_core.data.readers import read_cube

__all__ = ["Cube", "read_cube"]

_HOMES = {"Cube": "cuvis_ai_core.data.cube", "read_cube": "cuvis_ai_core.data.readers"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
