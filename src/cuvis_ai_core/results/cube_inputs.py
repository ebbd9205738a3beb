"""What a pipeline is given of a cube: also what nodes of the published catalogue take beside it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cuvis_ai_core.data.cu3s_samples import CategoryMasks

if TYPE_CHECKING:
    from cuvis_ai_core.data import Cube


def published_inputs(cube: "Cube", annotations: Path | None = None) -> dict[Any, Any]:
    """Return a batch of one cube, whose image is read tile by tile.

    Beside `cube` and `wavelengths` it has `mesu_index`, the number of the cube in its file, int64 `[1]`, and `mask`,
    int32 `[1, height, width]`, of a COCO file.

    Args:
        cube: The cube.
        annotations: The COCO file.

    Raises:
        AnnotationError: The file cannot be read, or breaks a rule.
        MissingExtraError: Its reader is not installed.
    """
    batch: dict[Any, Any] = {"mesu_index": np.array([cube.index], dtype=np.int64), **cube.tiles()}
    if annotations is not None:
        masks = CategoryMasks(annotations, cube.source or Path("cube"))
        batch["mask"] = masks.mask(cube.index, *cube.data.shape[:2])[np.newaxis]
    return batch
