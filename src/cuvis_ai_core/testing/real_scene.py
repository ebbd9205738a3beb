"""A small real cube for tests, tutorials and trials: it comes with this package."""

from importlib.resources import files
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cuvis_ai_core.data import Cube

_FILE: Final = "indian_pines_20x16.npz"


def small_scene() -> "Cube":
    """Return a corner of Indian Pines, seen by AVIRIS on 12 June 1992: fields, a road and wood.

    Returns:
        `[20, 16, 200]`, uint16 counts of the sensor, with wavelengths from 400 to 2500 nm.
    """
    import numpy as np

    from cuvis_ai_core.data import Cube

    with files(__package__).joinpath(_FILE).open("rb") as file, np.load(file, allow_pickle=False) as found:
        return Cube(found["counts"], found["wavelengths"])
