"""What is known about the pixels of a cube: a class for each, from COCO files and PNG masks."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from cuvis_ai_core.data.cube import Cube
from cuvis_ai_core.data.labels.cube_matching import Place
from cuvis_ai_core.data.labels.png_masks import Mask, PngMasks, no_annotations
from cuvis_ai_core.errors import AnnotationError

logger = logging.getLogger(__name__)


class Annotations(Protocol):
    """Masks by cube."""

    @property
    def classes(self) -> Mapping[int, str]:
        """The names of classes, where the annotations have them."""
        ...

    @property
    def remarks(self) -> tuple[str, ...]:
        """What somebody should know who reads the masks, a sentence for each."""
        ...

    def check(self, cubes: Sequence[Place], used: Sequence[Place]) -> None:
        """Check that annotations and cubes belong together.

        Args:
            cubes: File and number in the file of each cube of the data.
            used: Those whose masks will be asked for.

        Raises:
            AnnotationError: An annotated image matches no cube, or one mask would serve several.
        """
        ...

    def mask(self, cube: Cube) -> Mask:
        """Return the class of each pixel of a cube, int32 `[height, width]`.

        Raises:
            AnnotationError: There is no mask for it, or it is of another size.
        """
        ...


def open_annotations(path: Path) -> Annotations:
    """Return the annotations at a path; what they remark is logged as a warning.

    Args:
        path: A COCO file (`.json`), a PNG mask, or a folder of masks.

    Raises:
        AnnotationError: There is nothing, it is of another kind, or it cannot be read.
        MissingExtraError: COCO annotations are asked for, and `pycocotools` is not installed.
    """
    annotations = _open(path)
    for remark in annotations.remarks:
        logger.warning("%s", remark)
    return annotations


def _open(path: Path) -> Annotations:
    if path.suffix.lower() == ".json":
        from cuvis_ai_core.data.labels.coco import CocoAnnotations

        return CocoAnnotations(path)
    if path.suffix.lower() == ".png" or path.is_dir():
        return PngMasks(path)
    if not path.exists():
        raise no_annotations(path)
    raise AnnotationError(
        f"'{path}' is no file of annotations.",
        hint="Annotations are a COCO file (.json), a mask (.png), or a folder of masks.",
        path=path,
    )
