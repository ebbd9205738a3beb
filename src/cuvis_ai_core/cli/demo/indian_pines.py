"""The scene of the demonstration: Indian Pines, seen by AVIRIS on 12 June 1992.

The cube comes with the package tensorly; the wavelengths of its bands are in `files/indian_pines_bands.csv`.
"""

import csv
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from cuvis_ai_core.cli.demo.workspace import FILES
from cuvis_ai_core.errors import MissingExtraError

if TYPE_CHECKING:
    from cuvis_ai_core.data import Cube

TITLE: Final = "Indian Pines, Indiana"
SUBTITLE: Final = "AVIRIS, 12 June 1992 · 145 by 145 pixels of 20 m · 200 bands, 400 to 2500 nm"
PIXEL_METRES: Final = 20.0


def require_extra() -> None:
    """Check that the packages of the extra `demo` are there.

    Raises:
        MissingExtraError: One of them is not.
    """
    for package in ("tensorly", "matplotlib"):
        if find_spec(package) is None:
            raise MissingExtraError(
                f"The demonstration needs the package '{package}', which is not installed.",
                hint="Install it with: pip install 'cuvis-ai-core[demo]'",
                extra="demo",
            )


def read_scene() -> "Cube":
    """Return the cube in counts of the sensor, uint16 `[145, 145, 200]`, with its wavelengths in nm."""
    import numpy as np
    from tensorly.datasets import load_indian_pines

    from cuvis_ai_core.data import Cube

    table = (FILES / "indian_pines_bands.csv").read_text(encoding="utf-8").splitlines()
    kept = [row for row in csv.DictReader(table) if row["in_corrected_cube"] == "yes"]
    # tensorly hands it over as float64; the sensor's counts are whole numbers.
    counts = np.asarray(load_indian_pines()["tensor"]).astype(np.uint16)
    return Cube(counts, np.array([float(row["center_nm"]) for row in kept]))
