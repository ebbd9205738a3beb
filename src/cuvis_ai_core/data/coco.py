"""Annotations in the format of the COCO data set: a JSON file of images, categories, and outlines or runs of pixels."""

import json
import warnings
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cuvis_ai_core.data.cube import Cube
from cuvis_ai_core.data.masks import Mask, check_size
from cuvis_ai_core.errors import AnnotationError, MissingExtraError

_LISTS: Final = ("images", "annotations", "categories")
_POLYGON_MINIMUM: Final = 6
"""Numbers of the smallest polygon, a triangle."""


class CocoAnnotations:
    """The annotations of a COCO file, drawn by `pycocotools` when they are asked for.

    The image of a cube is the one whose `file_name` has the stem of the cube's file, if there is one, and else the one
    whose `id` is the number of the cube in its file. The class of a pixel is the `category_id` of the last annotation
    that covers it. An image without annotations is all background.

    Args:
        path: The file.

    Raises:
        AnnotationError: It cannot be read, or breaks a rule of the format.
        MissingExtraError: `pycocotools` is not installed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._coco = _pycocotools(path)
        content = _read(path)
        self.categories = {
            self._number(each, "id", f"categories[{at}]"): str(each.get("name", ""))
            for at, each in enumerate(content["categories"])
        }
        """Name by category id."""
        self._images: dict[int, Mapping[str, Any]] = {
            self._number(each, "id", f"images[{at}]"): each for at, each in enumerate(content["images"])
        }
        self._by_image: dict[int, list[tuple[str, Mapping[str, Any]]]] = defaultdict(list)
        for at, each in enumerate(content["annotations"]):
            self._file_annotation(each, f"annotations[{at}]")

    def mask(self, cube: Cube) -> Mask:
        """Draw the annotations of a cube.

        Raises:
            AnnotationError: The file has no image for it, or one of another size, or an outline breaks a rule.
        """
        image = self._image(cube)
        height, width = (self._number(image, key, f"image {image['id']}") for key in ("height", "width"))
        mask: Mask = np.zeros((height, width), dtype=np.int32)
        check_size(mask, cube, self._path)
        for place, annotation in self._by_image[image["id"]]:
            mask[self._draw(annotation, place, height, width) > 0] = annotation["category_id"]
        return mask

    def _file_annotation(self, annotation: Mapping[str, Any], place: str) -> None:
        for key, known in (("image_id", self._images), ("category_id", self.categories)):
            number = self._number(annotation, key, place)
            if number not in known:
                raise self._error(f"{place} has the {key} {number}, which is not in the file.")
        self._by_image[annotation["image_id"]].append((place, annotation))

    def _image(self, cube: Cube) -> Mapping[str, Any]:
        stem = cube.source.stem if cube.source else None
        named = [image for image in self._images.values() if Path(str(image.get("file_name", ""))).stem == stem]
        if len(named) == 1:
            return named[0]
        if cube.index in self._images:
            return self._images[cube.index]
        raise self._error(
            f"there is no image for cube {cube.index} of '{cube.source}'.",
            f"Its file_name would have the stem '{stem}', or its id would be {cube.index}.",
        )

    def _draw(self, annotation: Mapping[str, Any], place: str, height: int, width: int) -> NDArray[np.uint8]:
        outline = annotation.get("segmentation")
        try:
            if isinstance(outline, Mapping):
                runs = self._runs(outline, place, height, width)
            else:
                runs = self._coco.merge(self._coco.frPyObjects(self._polygons(outline, place), height, width))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # its arrays come by a protocol that NumPy calls old
                drawn: NDArray[np.uint8] = self._coco.decode(runs)
        except (ValueError, TypeError) as error:
            raise self._error(f"{place}.segmentation cannot be drawn: {error}.") from error
        if isinstance(outline, Mapping) and self._coco.encode(np.asfortranarray(drawn))["counts"] != runs["counts"]:
            raise self._error(f"{place}.segmentation.counts do not cover {height} x {width} pixels.")
        return drawn

    def _polygons(self, outline: object, place: str) -> list[list[float]]:
        polygons = outline if isinstance(outline, list) else []
        whole = [each for each in polygons if isinstance(each, list) and _is_polygon(each)]
        if not polygons or len(whole) != len(polygons):
            raise self._error(
                f"{place}.segmentation is no outline.",
                "It is polygons [[x1, y1, x2, y2, x3, y3, ...], ...], or runs {size: [height, width], counts: ...}.",
            )
        return whole

    def _runs(self, outline: Mapping[str, Any], place: str, height: int, width: int) -> dict[str, Any]:
        counts = outline.get("counts")
        if outline.get("size") != [height, width]:
            raise self._error(f"{place}.segmentation.size is {outline.get('size')}, its image {[height, width]}.")
        if isinstance(counts, str):
            return {"size": [height, width], "counts": counts.encode()}
        whole = isinstance(counts, list) and all(type(each) is int and each >= 0 for each in counts)
        if not whole or sum(counts or ()) != height * width:
            raise self._error(f"{place}.segmentation.counts are no runs that add up to {height} x {width} pixels.")
        runs: dict[str, Any] = self._coco.frPyObjects({"size": [height, width], "counts": counts}, height, width)
        return runs

    def _number(self, entry: object, key: str, place: str) -> int:
        value = entry.get(key) if isinstance(entry, dict) else None
        if type(value) is not int or value < 0:
            raise self._error(f"{place}.{key} is {value!r}; it is an integer from 0.")
        return value

    def _error(self, message: str, hint: str | None = None) -> AnnotationError:
        return AnnotationError(f"The COCO file '{self._path}': {message}", hint=hint, path=self._path)


def _is_polygon(points: list[Any]) -> bool:
    numbers = all(isinstance(each, int | float) and not isinstance(each, bool) and np.isfinite(each) for each in points)
    return numbers and len(points) >= _POLYGON_MINIMUM and len(points) % 2 == 0


def _read(path: Path) -> dict[str, list[Any]]:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise AnnotationError(f"There are no annotations at '{path}'.", hint="Check the path.", path=path) from error
    except (OSError, ValueError, RecursionError) as error:
        raise AnnotationError(f"The COCO file '{path}' cannot be read: {error}", path=path) from error
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
