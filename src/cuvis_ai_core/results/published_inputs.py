"""What a pipeline is given of a cube: also what nodes of the published catalogue take beside it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cuvis_ai_core.data.session_samples import CategoryMasks, whole_numbers

if TYPE_CHECKING:
    from cuvis_ai_core.data import Cube
    from cuvis_ai_core.pipeline.pipeline import Pipeline

_WAVELENGTHS = "wavelengths"
_OF_BATCH = 2
"""Axes of wavelengths that are there for each image, `[batch, channel]`."""


def published_inputs(pipeline: "Pipeline", cube: "Cube", annotations: Path | None = None) -> dict[Any, Any]:
    """Return a batch of one cube, whose image is read tile by tile.

    Beside `cube` and `wavelengths` it has `mesu_index`, the number of the cube in its file, int64 `[1]`; `mask`, int32
    `[1, height, width]`, of a COCO file; and, for inputs that take wavelengths so, integers in nm, `[1, channel]`.

    Args:
        pipeline: The pipeline.
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
    if cube.wavelengths is not None:
        for node, ports in pipeline.inputs.items():
            port = ports.get(_WAVELENGTHS)
            if port is not None:
                batch |= _spelled((node, _WAVELENGTHS), port, cube.wavelengths)
    return batch


def _spelled(address: tuple[str, str], port: Any, wavelengths: Any) -> dict[Any, Any]:
    values = whole_numbers(wavelengths) if "int" in port.port.dtype else wavelengths
    if len(port.sizes) == _OF_BATCH:
        return {address: values[np.newaxis]}
    return {} if values is wavelengths else {address: values}
