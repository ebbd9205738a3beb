"""One measurement of a session file as what nodes of the published catalogue take, with its mask."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cuvis_ai_core.data.labels.coco import CocoAnnotations
from cuvis_ai_core.data.labels.png_masks import Mask


class CategoryMasks:
    """The annotations of a session file, drawn at the size of its cubes; the class of a pixel is its category's id.

    Outlines are drawn at the size of the annotated image, and the mask is then resized to the cube, pixel by pixel.
    A measurement that has no image, or none with annotations, is 0 everywhere.

    Args:
        path: The COCO file.
        session: The session file.

    Raises:
        AnnotationError: The file cannot be read, or breaks a rule of the format.
        MissingExtraError: `pycocotools` is not installed.
    """

    def __init__(self, path: Path, session: Path) -> None:
        self._coco = CocoAnnotations(path)
        self._session = session

    @property
    def names(self) -> dict[int, str]:
        """Name by category."""
        return dict(self._coco.categories)

    def mask(self, index: int, height: int, width: int) -> Mask:
        """Return the mask of a measurement, int32 `[height, width]`.

        Raises:
            AnnotationError: An outline breaks a rule.
        """
        drawn = self._coco.drawn((self._session, index))
        if drawn is None:
            return np.zeros((height, width), dtype=np.int32)
        return _resized(drawn, height, width)


def _resized(mask: Mask, height: int, width: int) -> Mask:
    if mask.shape == (height, width):
        return mask
    rows, columns = (
        # The pixel in whose middle each new one lies, as OpenCV's nearest-exact does; labels cannot be averaged.
        np.minimum((np.arange(new) + 0.5) * old / new, old - 1).astype(np.intp)
        for new, old in zip((height, width), mask.shape, strict=True)
    )
    resized: Mask = mask[np.ix_(rows, columns)]
    return resized


def whole_numbers(wavelengths: Any) -> NDArray[np.int32]:
    """Return wavelengths in nm as integers."""
    return np.round(np.asarray(wavelengths, dtype=np.float64)).astype(np.int32)


def stretched(cube: Any, lowest: float = 0.0, highest: float = 1.0) -> NDArray[np.float32]:
    """Return a cube in which each channel runs from one value to another.

    Args:
        cube: `[height, width, channel]`.
        lowest: What the lowest value of a channel becomes; so does a channel that has one value only.
        highest: What the highest becomes.

    Returns:
        float32, of the same shape.
    """
    values = np.asarray(cube, dtype=np.float32)
    low, high = values.min(axis=(0, 1), keepdims=True), values.max(axis=(0, 1), keepdims=True)
    # A channel of one value has no range to be divided by.
    share = np.divide(values - low, high - low, out=np.zeros_like(values), where=high > low)
    stretched_cube: NDArray[np.float32] = share * np.float32(highest - lowest) + np.float32(lowest)
    return stretched_cube
