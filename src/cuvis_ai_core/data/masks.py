"""Masks: the class of each pixel of a cube, and PNG files of them."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cuvis_ai_core.data.cube import Cube
from cuvis_ai_core.errors import AnnotationError

Mask = NDArray[np.int32]
"""The class of each pixel, int32 `[height, width]`; 0 is background, or not known."""


class PngMasks:
    """Masks in PNG files: grey values, or the numbers of palette entries, are classes.

    Args:
        path: One mask, for every cube; or a folder with a mask `<stem of the file>.png` for each cube, or
            `<stem>_<number in the file>.png` where a file holds several.

    Raises:
        AnnotationError: There is no such file or folder.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.exists():
            raise no_annotations(path)

    def mask(self, cube: Cube) -> Mask:
        """Read the mask of a cube.

        Raises:
            AnnotationError: There is none, it is no mask, or it is of another size than the cube.
        """
        file = self._file(cube) if self._path.is_dir() else self._path
        mask = read_mask(file)
        check_size(mask, cube, file)
        return mask

    def _file(self, cube: Cube) -> Path:
        stem = cube.source.stem if cube.source else "cube"
        names = [f"{stem}_{cube.index}.png"] + [f"{stem}.png"] * (cube.index == 0)
        for name in names:
            if (self._path / name).is_file():
                return self._path / name
        raise AnnotationError(
            f"The folder '{self._path}' has no mask for cube {cube.index} of '{cube.source}'.",
            hint=f"Masks are named after cubes: {' or '.join(names)}.",
            path=self._path,
        )


def read_mask(path: Path) -> Mask:
    """Read a PNG mask of grey values or palette numbers.

    Raises:
        AnnotationError: There is no such file, or it is no such picture.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            if image.mode not in {"1", "L", "P", "I", "I;16"}:
                raise AnnotationError(
                    f"The mask '{path}' is a picture of mode {image.mode}; a mask has one grey value, or one palette "
                    "number, per pixel.",
                    hint="Save the class numbers as a grey PNG of 8 or 16 bits.",
                    path=path,
                )
            values: NDArray[Any] = np.asarray(image)
    except FileNotFoundError as error:
        raise no_annotations(path) from error
    except (OSError, UnidentifiedImageError, SyntaxError, Image.DecompressionBombError) as error:
        raise AnnotationError(f"The mask '{path}' is no picture that can be read: {error}", path=path) from error
    return values.astype(np.int32)


def check_size(mask: Mask, cube: Cube, path: Path) -> None:
    """Check that a mask has the size of its cube.

    Raises:
        AnnotationError: It has another.
    """
    if mask.shape != cube.data.shape[:2]:
        raise AnnotationError(
            f"The annotations in '{path}' are {mask.shape[0]} x {mask.shape[1]} pixels, but cube {cube.index} of "
            f"'{cube.source}' is {cube.data.shape[0]} x {cube.data.shape[1]} (height x width).",
            hint="Annotations fit the cube as it is read. Were they drawn on a turned or a scaled picture?",
            path=path,
        )


def no_annotations(path: Path) -> AnnotationError:
    """Return the error for a path at which there is nothing."""
    return AnnotationError(f"There are no annotations at '{path}'.", hint="Check the path.", path=path)
