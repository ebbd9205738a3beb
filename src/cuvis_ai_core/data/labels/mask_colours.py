"""Classes of masks in colours: a file beside the masks says which colour is which class."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cuvis_ai_core._untrusted_files import read_file
from cuvis_ai_core.errors import AnnotationError

LABELMAP: Final = "labelmap.txt"
"""As CVAT writes it: `name:r,g,b:parts:actions` in each line."""

CLASS_DICT: Final = "class_dict.csv"
"""As CamVid has it: columns `name`, `r`, `g`, `b`."""

BACKGROUND_NAMES: Final = frozenset({"background", "_background_", "__background__", "bg", "unlabeled", "unlabelled"})
"""Names, in small letters, of what is class 0."""

_CHANNELS: Final = 3
_MOST_BYTES: Final = 1024**2


@dataclass(frozen=True, slots=True)
class Palette:
    """Classes by colour.

    A first line that is named as background, or is black, is class 0; the others are classes from 1 in their order.

    Attributes:
        path: The file.
        names: Name by class.
        colours: Class by colour.
    """

    path: Path
    names: dict[int, str]
    colours: dict[tuple[int, int, int], int]

    def classes(self, pixels: NDArray[np.uint8], mask: Path) -> NDArray[np.int32]:
        """Return the class of each pixel of a picture `[height, width, 3]`.

        Raises:
            AnnotationError: A pixel has a colour that is not in the palette.
        """
        codes = _code(pixels.astype(np.int64))
        known = {int(_code(np.array(colour))): number for colour, number in self.colours.items()}
        found, place = np.unique(codes, return_inverse=True)
        for code in found.tolist():
            if code not in known:
                row, column = np.argwhere(codes == code)[0].tolist()
                raise AnnotationError(
                    f"The mask '{mask}' has the colour {tuple(pixels[row, column].tolist())} at row {row}, column "
                    f"{column}, which '{self.path.name}' beside it does not name.",
                    hint="Add the colour there, or save the mask without blending and compression (PNG, not JPEG).",
                    path=mask,
                )
        numbers = np.array([known[code] for code in found.tolist()], dtype=np.int32)
        # NumPy 1 answers the places flat, NumPy 2 in the shape of the picture.
        return numbers[place.reshape(codes.shape)]


def find_palette(folder: Path) -> Palette | None:
    """Return the palette beside masks: `labelmap.txt` or `class_dict.csv`.

    Raises:
        AnnotationError: It breaks a rule.
    """
    for name, read in ((LABELMAP, _labelmap), (CLASS_DICT, _class_dict)):
        path = folder / name
        if path.is_file():
            try:
                return _palette(path, read(path))
            except (OSError, ValueError, KeyError, IndexError, csv.Error) as error:
                raise AnnotationError(
                    f"The palette '{path}' cannot be read: {type(error).__name__}: {error}",
                    hint=f"{LABELMAP} has lines 'name:r,g,b::', {CLASS_DICT} the columns name,r,g,b; 0 to 255 each, "
                    "and no colour twice.",
                    path=path,
                ) from error
    return None


def _palette(path: Path, entries: list[tuple[str, tuple[int, int, int]]]) -> Palette:
    if not entries or any(not 0 <= part <= 255 for _, colour in entries for part in colour):  # noqa: PLR2004 - a byte
        raise ValueError("there must be colours, of numbers from 0 to 255")
    name, colour = entries[0]
    first = 0 if name.casefold() in BACKGROUND_NAMES or colour == (0, 0, 0) else 1
    colours = {colour: number for number, (_, colour) in enumerate(entries, first)}
    if len(colours) < len(entries):
        raise ValueError("a colour stands there twice")
    return Palette(path, {number: name for number, (name, _) in enumerate(entries, first)}, colours)


def _labelmap(path: Path) -> list[tuple[str, tuple[int, int, int]]]:
    lines = (line.strip() for line in _text(path).splitlines())
    # From the right: a name may have a colon in it.
    fields = [line.rsplit(":", 3) for line in lines if line and not line.startswith("#")]
    return [(each[0], _colour(each[1].split(","))) for each in fields]


def _class_dict(path: Path) -> list[tuple[str, tuple[int, int, int]]]:
    rows = [
        {str(key).strip().casefold(): str(value).strip() for key, value in row.items()}
        # Without a translation of line ends, which the module csv knows itself (its own advice).
        for row in csv.DictReader(io.StringIO(_text(path), newline=""))
    ]
    return [(row["name"], _colour([row["r"], row["g"], row["b"]])) for row in rows]


def _text(path: Path) -> str:
    # Excel writes a byte order mark before a CSV file in UTF-8.
    return read_file(path, _MOST_BYTES).decode("utf-8-sig")


def _colour(parts: list[str]) -> tuple[int, int, int]:
    red, green, blue = map(int, parts)
    return red, green, blue


def _code(colours: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return one number for each colour in the last axis."""
    code: NDArray[np.int64] = (colours[..., 0] * 256 + colours[..., 1]) * 256 + colours[..., 2]
    return code
