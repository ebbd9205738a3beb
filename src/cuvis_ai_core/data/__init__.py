"""Hyperspectral cubes and the files they are read from.

The names are imported when they are first asked for: whoever only lists readers needs no NumPy.
"""

from typing import TYPE_CHECKING

from cuvis_ai_core._lazy_imports import late

if TYPE_CHECKING:
    from cuvis_ai_core.data.cube import Cube
    from cuvis_ai_core.data.cube_batches import Batches
    from cuvis_ai_core.data.cube_sequence import Cubes
    from cuvis_ai_core.data.labels.annotations import open_annotations
    from cuvis_ai_core.data.lazy_array import LazyArray
    from cuvis_ai_core.data.readers import open_cubes, read_cube

__all__ = ["Batches", "Cube", "Cubes", "LazyArray", "open_annotations", "open_cubes", "read_cube"]

__getattr__, __dir__ = late(
    __name__,
    {
        "Batches": "cuvis_ai_core.data.cube_batches",
        "Cube": "cuvis_ai_core.data.cube",
        "Cubes": "cuvis_ai_core.data.cube_sequence",
        "LazyArray": "cuvis_ai_core.data.lazy_array",
        "open_annotations": "cuvis_ai_core.data.labels.annotations",
        "open_cubes": "cuvis_ai_core.data.readers",
        "read_cube": "cuvis_ai_core.data.readers",
    },
)
