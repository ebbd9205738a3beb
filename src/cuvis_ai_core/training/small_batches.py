"""Layers that need more than one value to normalise over, and batches that have only one."""

import re
from collections.abc import Mapping
from typing import Any

from cuvis_ai_core.errors import NodeRunError, TrainRunError


def too_few(error: NodeRunError, batch: Mapping[str, Any]) -> TrainRunError | None:
    """Return what to change where a node failed since a layer of it needs more values; None where it is something else.

    BatchNorm takes the mean over batch and pixels, InstanceNorm and GroupNorm over the pixels of an image.

    Args:
        error: How the node failed.
        batch: With which batch.
    """
    words = str(error.__cause__)
    # torch's words (`_verify_batch_size` and `_verify_spatial_size` of nn.functional).
    if not re.search(r"Expected more than 1 (value per channel|spatial element)", words):
        return None
    cubes = len(batch["cube"]) if "cube" in batch else 1
    if "spatial" in words or cubes > 1:
        step = "Give it more pixels: a layer before it shrinks images to one."
    else:
        step = (
            "data.drop_last: true leaves a last batch out that is not full; or choose a data.batch_size of 2 or more, "
            "so that the last batch has more than one cube."
        )
    return TrainRunError(
        f"Node '{error.node}' cannot learn from a batch of {cubes} cube{'s' if cubes > 1 else ''}: a layer that "
        f"normalises needs more than one value. {words}.",
        hint=step,
        key="data.drop_last",
    )
