"""Masks as runs of pixels, as COCO files have them: column after column, background first."""

import logging
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from types import ModuleType
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cuvis_ai_core._deprecated import old_spelling
from cuvis_ai_core.errors import AnnotationError, MissingExtraError

logger = logging.getLogger(__name__)

Rle: TypeAlias = Mapping[str, Any]
"""`size`, [height, width], and `counts`: text, bytes, or a list of the lengths of the runs."""

_SIGNS: Final = 64
_MOST: Final = 2**32 - 1
_LONGEST: Final = 7
"""Signs of a number of 32 bits, and its own sign."""


ByteMask: TypeAlias = NDArray[np.uint8]
BoolMask: TypeAlias = NDArray[np.bool_]


def coco_rle_encode(mask_np: NDArray[Any]) -> dict[str, Any]:
    """Return a mask as runs, ready for JSON.

    Args:
        mask_np: `[height, width]`; what is not 0 belongs to it.

    Returns:
        `{"size": [height, width], "counts": text}`.

    Raises:
        AnnotationError: It has other axes.
    """
    array = np.asarray(mask_np)
    if array.ndim != 2:  # noqa: PLR2004
        raise AnnotationError(f"A mask has the axes [height, width], and this one the shape {array.shape}.")
    # pycocotools goes through the memory column after column.
    runs = _pycocotools().encode(np.asfortranarray(array != 0, dtype=np.uint8))
    return {"size": [int(each) for each in runs["size"]], "counts": runs["counts"].decode("ascii")}


def coco_rle_decode(rle: Rle) -> ByteMask:
    """Return runs as a mask of 0 and 1, uint8 `[height, width]`.

    Raises:
        AnnotationError: They break a rule of the format.
    """
    runs = _compressed(rle)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its arrays come by a protocol that NumPy calls old
        mask: ByteMask = _pycocotools().decode(runs)
    return mask


def coco_rle_area(rle: Rle) -> int:
    """Return how many pixels runs have.

    Raises:
        AnnotationError: They break a rule of the format.
    """
    return int(_pycocotools().area(_compressed(rle)))


def coco_rle_to_bbox(rle: Rle) -> list[float]:
    """Return the smallest box around runs: x, y, width and height in pixels.

    Raises:
        AnnotationError: They break a rule of the format.
    """
    return [float(each) for each in _pycocotools().toBbox(_compressed(rle))]


def rle_list_to_mask(rle: Sequence[int], height: int, width: int) -> BoolMask:
    """Return a list of the lengths of runs as a mask of booleans `[height, width]`.

    Raises:
        AnnotationError: They break a rule of the format.
    """
    return coco_rle_decode({"size": [height, width], "counts": list(rle)}).astype(bool)


def decode_rle_mask_for_canvas(mask: Rle, target_height: int, target_width: int) -> BoolMask:
    """Return runs as a mask of booleans of the size of a canvas.

    Some files have the size the wrong way round, [width, height]: where it is that of the canvas so, it is taken for
    it, which is said once.

    Raises:
        AnnotationError: The runs break a rule, or do not fit the canvas.
    """
    canvas = [int(target_height), int(target_width)]
    size = [int(each) for each in mask.get("size") or canvas]
    if size == canvas:
        return coco_rle_decode({**mask, "size": canvas}).astype(bool)
    if size[::-1] == canvas:
        _say_turned()
        return coco_rle_decode({**mask, "size": canvas}).astype(bool)
    raise AnnotationError(
        f"A mask has {size[0]} x {size[1]} pixels (height x width), and its picture {canvas[0]} x {canvas[1]}.",
        hint="Annotate the picture at its own size.",
    )


@old_spelling("rle_list_to_mask")
def RLE2mask(rle: Sequence[int], mask_width: int, mask_height: int) -> Any:  # noqa: N802 - the published name
    """Return a list of the lengths of runs as booleans `[mask_width, mask_height]`; they go down first."""
    return rle_list_to_mask(rle, mask_width, mask_height)


def _compressed(rle: Rle) -> dict[str, Any]:
    """Return runs as pycocotools has them, checked: of too few it would make a mask of whatever lies in memory."""
    try:
        height, width = (int(each) for each in rle["size"])
        counts = rle["counts"]
        text = counts.encode("ascii") if isinstance(counts, str) else counts
        # Of lists as objects: their integers have any size, and are added as they are.
        lengths = _lengths(text) if isinstance(text, bytes) else np.array([int(each) for each in text], dtype=object)
    except (KeyError, TypeError, ValueError) as error:
        raise AnnotationError(
            "Runs of pixels are a mapping of 'size', [height, width], and 'counts', a text or a list of integers; "
            f"this is {rle!r:.80}."
        ) from error
    least, total = int(np.min(lengths, initial=0)), int(np.sum(lengths))
    if min(height, width, least) < 0 or total != height * width:
        raise AnnotationError(
            f"The runs have {total} pixels together, and the picture {height} x {width} = {height * width}."
        )
    if isinstance(text, bytes):
        return {"size": [height, width], "counts": text}
    listed = {"size": [height, width], "counts": lengths.tolist()}
    runs: dict[str, Any] = _pycocotools().frPyObjects(listed, height, width)
    return runs


def _lengths(text: bytes) -> NDArray[np.int64]:
    """Return the lengths of runs that are written as text: five bits to a sign, from the fourth on as differences.

    Raises:
        ValueError: A sign is none of the alphabet, the text ends within a number, or one has more than 32 bits.
    """
    parts = np.frombuffer(text, np.uint8) - ord("0")  # what lies below becomes large
    ends = np.flatnonzero(parts & 0x20 == 0)
    starts = np.append(0, ends + 1)
    sizes = np.diff(starts)
    longest = int(np.max(sizes, initial=0))
    if (parts >= _SIGNS).any() or starts[-1] != parts.size or longest > _LONGEST:
        raise ValueError("no numbers of 32 bits")
    # The highest of the last five bits is the sign (maskApi.c, rleFrString).
    lengths: NDArray[np.int64] = -(parts[ends] >> 4 & 1).astype(np.int64) << 5 * sizes
    for place in range(longest):
        has = sizes > place
        lengths[has] |= (parts[starts[:-1][has] + place] & 0x1F).astype(np.int64) << 5 * place
    # Each is the difference to the last but one. No step is so large that 64 bits overflow unseen.
    for every in (lengths[1::2], lengths[2::2]):
        np.cumsum(every, out=every)
    if np.max(lengths, initial=0) > _MOST:
        raise ValueError("no numbers of 32 bits")
    return lengths


# Said once: a cached function runs once.
@cache
def _say_turned() -> None:
    logger.warning("the size of a mask is written [width, height], and taken for that of its canvas")


def _pycocotools() -> ModuleType:
    try:
        from pycocotools import mask
    except ModuleNotFoundError as error:
        # Something that it needs is missing, which its own words say.
        if error.name != "pycocotools":
            raise
        raise MissingExtraError(
            "Runs of pixels are read and written by the package 'pycocotools', which is not installed.",
            hint="Install the extra: pip install 'cuvis-ai-core[train]'",
            extra="train",
        ) from error
    found: ModuleType = mask
    return found
