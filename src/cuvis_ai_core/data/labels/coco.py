"""Annotations in the format of the COCO data set: a JSON file of images, categories, and outlines or runs of pixels."""

import json
import logging
import warnings
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cuvis_ai_core._untrusted_files import read_file
from cuvis_ai_core.data.cube import Cube
from cuvis_ai_core.data.decompression_bombs import refuse_bomb
from cuvis_ai_core.data.labels.cube_matching import PictureNames, Place, refuse_shared, refuse_unmatched
from cuvis_ai_core.data.labels.mask_colours import BACKGROUND_NAMES
from cuvis_ai_core.data.labels.png_masks import Mask, check_size
from cuvis_ai_core.data.magic import stand_in
from cuvis_ai_core.data.rle import coco_rle_decode
from cuvis_ai_core.errors import AnnotationError, CubeError, MissingExtraError

logger = logging.getLogger(__name__)

_LISTS: Final = ("images", "annotations", "categories")
_POLYGON_MINIMUM: Final = 6
"""Numbers of the smallest polygon, a triangle."""

_MOST_BYTES: Final = 512 * 1024**2
_FARTHEST: Final = 2**24
_LONGEST_OUTLINE: Final = 4_000_000
"""In pixels. pycocotools takes memory for each, and ends the process where their number is no longer one of 32 bits."""

_LARGEST: Final = 2**31 - 1
_BYTES_OF_A_PIXEL: Final = 6
"""While it is drawn: one of the outline, four of the class, one for whether it has several."""

_SESSION: Final = ".cu3s"
"""Session files may hold several cubes, and annotations count them even where there is but one."""


class CocoAnnotations:
    """The annotations of a COCO file, drawn by `pycocotools` when they are asked for.

    The image of a cube is the one whose `file_name` is named after the cube's file, and in a file of several cubes else
    the one whose `id` is the number of the cube. The class of a pixel is that of the last annotation that covers it:
    the `category_id`, or one more where a category that is not the background has the id 0, since class 0 is
    background. An image without annotations is all background.

    Args:
        path: The file.

    Raises:
        AnnotationError: It cannot be read, or breaks a rule of the format.
        MissingExtraError: `pycocotools` is not installed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        _pycocotools(path)
        content = _read(path)
        self.categories = {key: str(each.get("name", "")) for key, each in self._by_id(content, "categories").items()}
        """Name by category id."""
        zero = self.categories.get(0)
        self._shift = 0 if zero is None or zero.casefold() in BACKGROUND_NAMES else 1
        self._images = self._by_id(content, "images")
        self._names = PictureNames({key: _name(image) for key, image in self._images.items()})
        self._several: frozenset[Path] = frozenset()
        self._by_image: dict[int, list[tuple[str, Mapping[str, Any]]]] = defaultdict(list)
        for at, each in enumerate(content["annotations"]):
            self._file_annotation(each, f"annotations[{at}]")
        self._without_pixel: set[str] = set()
        self._overlap_said = False

    @property
    def classes(self) -> Mapping[int, str]:
        """Name by class."""
        return {key + self._shift: name for key, name in self.categories.items()}

    @property
    def remarks(self) -> tuple[str, ...]:
        """Which category became which class, where that is not its id."""
        if not self._shift:
            return ()
        listed = ", ".join(f"{key} '{name}' = {key + 1}" for key, name in self.categories.items())
        start = f"The COCO file '{self._path}' numbers its categories from 0, which is the class of the background"
        return (f"{start}: each class is the id of its category and 1: {listed}.",)

    def check(self, cubes: Sequence[Place], used: Sequence[Place]) -> None:
        """Check that images and cubes belong together.

        Args:
            cubes: File and number in the file of each cube of the data.
            used: Those whose masks will be asked for.

        Raises:
            AnnotationError: An image with annotations matches no cube, one would serve several, or a cube has none.
        """
        counts = Counter(file for file, _ in cubes)
        self._several = frozenset(file for file, count in counts.items() if count > 1)
        matched = {place: self._find(place) for place in cubes}
        annotated = {key: _name(self._images[key]) or f"id {key}" for key in self._by_image}
        refuse_unmatched(self._path, annotated, {key for key in matched.values() if key is not None}, cubes)
        images = [(place, self._image(place)) for place in used]
        refuse_shared(self._path, ((place, image["id"], f"the image '{_name(image)}'") for place, image in images))

    def mask(self, cube: Cube) -> Mask:
        """Draw the annotations of a cube.

        Raises:
            AnnotationError: The file has no image for it, or one of another size, or an outline breaks a rule.
        """
        image = self._image((cube.source or Path("cube"), cube.index))
        check_size(self._size(image), cube, self._path)
        return self._painted(image, self._shift)

    def drawn(self, place: Place) -> Mask | None:
        """Draw the annotations of a cube at the size of its image, with the ids of categories as classes.

        Returns:
            int32 `[height, width]` of the image; None where there is no image for the cube.

        Raises:
            AnnotationError: An outline breaks a rule, or the image would take far more memory than the file.
        """
        found = self._find(place)
        if found is None:
            return None
        height, width = self._size(self._images[found])
        try:
            refuse_bomb(self._path, _BYTES_OF_A_PIXEL * height * width)
        except CubeError as error:
            raise AnnotationError(error.message, hint=error.hint, path=self._path) from error
        return self._painted(self._images[found], 0)

    def _size(self, image: Mapping[str, Any]) -> tuple[int, int]:
        height, width = (self._number(image, key, f"image {image['id']}") for key in ("height", "width"))
        return height, width

    def _painted(self, image: Mapping[str, Any], shift: int) -> Mask:
        height, width = self._size(image)
        mask: Mask = np.zeros((height, width), dtype=np.int32)
        several = None if self._overlap_said else np.zeros((height, width), dtype=bool)
        for place, annotation in self._by_image.get(image["id"], ()):
            drawn, number = self._draw(annotation, place, height, width) > 0, annotation["category_id"] + shift
            if several is not None:
                covered = mask[drawn]
                if (other := (covered > 0) & (covered != number)).any():
                    several[drawn] |= other
            mask[drawn] = number
            if not drawn.any() and place not in self._without_pixel:
                self._without_pixel.add(place)
                logger.warning("%s: %s marks no pixel: its outline is smaller than one, or outside", self._path, place)
        if several is not None and several.any():
            # Once for a file: where instances are annotated, they overlap in most images.
            self._overlap_said = True
            logger.warning(
                "%s: annotations of two classes overlap in %d pixels of the image '%s': the later one counts, "
                "as in any other image of the file",
                *(self._path, np.count_nonzero(several), _name(image) or image["id"]),
            )
        return mask

    def _file_annotation(self, annotation: Mapping[str, Any], place: str) -> None:
        for key, known in (("image_id", self._images), ("category_id", self.categories)):
            number = self._number(annotation, key, place)
            if number not in known:
                raise self._error(f"{place} has the {key} {number}, which is not in the file.")
        self._by_image[annotation["image_id"]].append((place, annotation))

    def _image(self, place: Place) -> Mapping[str, Any]:
        found = self._find(place)
        if found is not None:
            return self._images[found]
        file, index = place
        by_id = f", or its id would be {index}" if self._has_several(place) else ""
        raise self._error(
            f"there is no image for cube {index} of '{file}'.{self._names.near(place)}",
            f"Its file_name would have the stem '{file.stem}'{by_id}.",
        )

    def _find(self, place: Place) -> int | None:
        """Return the id of the image of a cube."""
        found = self._names.find(place)
        if len(found) == 1:
            return found[0]
        if place[1] in (found or self._images) and self._has_several(place):
            return place[1]
        if found:
            raise self._error(
                f"{len(found)} images have the name of cube {place[1]} of '{place[0]}', such as "
                f"'{_name(self._images[found[0]])}' and '{_name(self._images[found[1]])}'.",
                "Keep one, or put the folder of the cube into file_name.",
            )
        return None

    def _has_several(self, place: Place) -> bool:
        """Tell whether the file of a cube holds several, so that they have numbers."""
        file, index = place
        return index > 0 or file in self._several or file.suffix.lower() == _SESSION

    def _by_id(self, content: Mapping[str, list[Any]], key: str) -> dict[int, Mapping[str, Any]]:
        found: dict[int, Mapping[str, Any]] = {}
        for at, each in enumerate(content[key]):
            number = self._number(each, "id", f"{key}[{at}]")
            if number in found:
                raise self._error(f"{key}[{at}] has the id {number}, which another one of them has too.")
            found[number] = each
        return found

    def _draw(self, annotation: Mapping[str, Any], place: str, height: int, width: int) -> NDArray[np.uint8]:
        outline, coco = annotation.get("segmentation"), _pycocotools(self._path)
        if isinstance(outline, Mapping):
            return self._of_runs(outline, place, height, width)
        polygons = self._polygons(outline, place)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # its arrays come by a protocol that NumPy calls old
                drawn: NDArray[np.uint8] = coco.decode(coco.merge(coco.frPyObjects(polygons, height, width)))
        except (ValueError, TypeError) as error:
            raise self._error(f"{place}.segmentation cannot be drawn: {error}.") from error
        return drawn

    def _of_runs(self, outline: Mapping[str, Any], place: str, height: int, width: int) -> NDArray[np.uint8]:
        size, counts = outline.get("size"), outline.get("counts")
        if size != [height, width]:
            raise self._error(f"{place}.segmentation.size is {size}, its image {[height, width]}.")
        whole = isinstance(counts, list) and all(type(each) is int and each >= 0 for each in counts)
        if not whole and not isinstance(counts, str):
            raise self._error(f"{place}.segmentation.counts are neither a text nor a list of integers from 0.")
        try:
            return coco_rle_decode({"size": size, "counts": counts})
        except AnnotationError as error:
            raise self._error(f"{place}.segmentation: {error.message}") from error

    def _polygons(self, outline: object, place: str) -> list[list[float]]:
        polygons = outline if isinstance(outline, list) else []
        whole = [each for each in polygons if isinstance(each, list) and _is_polygon(each)]
        if not polygons or len(whole) != len(polygons):
            raise self._error(
                f"{place}.segmentation is no outline.",
                "It is polygons [[x1, y1, x2, y2, x3, y3, ...], ...], or runs {size: [height, width], counts: ...}.",
            )
        if (length := sum(map(_length, whole))) > _LONGEST_OUTLINE:
            raise self._error(
                f"{place}.segmentation is an outline of {length:.0f} pixels; the limit is {_LONGEST_OUTLINE}."
            )
        return whole

    def _number(self, entry: object, key: str, place: str) -> int:
        value = entry.get(key) if isinstance(entry, dict) else None
        # Not `isinstance`: `true` is an int to Python.
        if type(value) is not int or not 0 <= value < _LARGEST:
            raise self._error(f"{place}.{key} is {value!r}; it is an integer from 0, below 2^31.")
        return value

    def _error(self, message: str, hint: str | None = None) -> AnnotationError:
        return AnnotationError(f"The COCO file '{self._path}': {message}", hint=hint, path=self._path)


def _name(image: Mapping[str, Any]) -> str:
    """Return the name of an image; Roboflow keeps that of the upload in `extra`."""
    extra = image.get("extra")
    return str((extra.get("name") if isinstance(extra, dict) else None) or image.get("file_name") or "")


def _is_polygon(points: list[Any]) -> bool:
    numbers = all(type(each) in {int, float} and abs(each) < _FARTHEST for each in points)
    return numbers and len(points) >= _POLYGON_MINIMUM and len(points) % 2 == 0


def _length(points: list[float]) -> float:
    """Return the length of an outline, counted as it is drawn: in each step by the larger of both distances."""
    corners = np.asarray(points, dtype=np.float64).reshape(-1, 2)
    return float(np.abs(corners - np.roll(corners, 1, axis=0)).max(axis=1).sum())


def _read(path: Path) -> dict[str, list[Any]]:
    try:
        content = json.loads(read_file(path, _MOST_BYTES))
    except FileNotFoundError as error:
        raise AnnotationError(f"There are no annotations at '{path}'.", hint="Check the path.", path=path) from error
    except OSError as error:
        raise AnnotationError(
            f"The COCO file '{path}' cannot be read: {error.strerror or error}.", hint="Check the path.", path=path
        ) from error
    # The reader of JSON calls itself for each level.
    except (ValueError, RecursionError) as error:
        what, hint = stand_in(path) or (f"no JSON: {error}", "Is it the right file? Write it again.")
        raise AnnotationError(f"The COCO file '{path}' is {what}.", hint=hint, path=path) from error
    missing = [key for key in _LISTS if not isinstance(content, dict) or not isinstance(content.get(key), list)]
    if missing:
        raise AnnotationError(
            f"The COCO file '{path}' has no list '{missing[0]}'.",
            hint=f"A COCO file is a JSON object with the lists {', '.join(_LISTS)}.",
            path=path,
        )
    return {key: content[key] for key in _LISTS}


def _pycocotools(path: Path) -> ModuleType:
    try:
        from pycocotools import mask
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"Reading the COCO file '{path}' needs the package 'pycocotools', which is not installed.",
            hint="Install it with: pip install 'cuvis-ai-core[train]'",
            extra="train",
        ) from error
    module: ModuleType = mask
    return module
