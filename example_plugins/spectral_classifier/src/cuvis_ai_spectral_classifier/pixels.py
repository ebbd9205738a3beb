"""From images to the pixels that are labelled."""

from collections.abc import Mapping
from typing import ClassVar

from cuvis_ai_schemas.pipeline import PortSpec
from torch import Tensor

from cuvis_ai_core.node import Node
from cuvis_ai_spectral_classifier.no_data import pixels_with_data
from cuvis_ai_spectral_classifier.ports import CUBE, MASK


class LabelledPixels(Node):
    """Take the labelled pixels out of images, so that nothing is computed for the others in training.

    Pixels without data are left out too: those with a value that is not finite in a band that has any in their image.

    Without a mask, as in inference, images pass as they are.

    Ports:
        cube (in): Images `[batch, height, width, channel]`.
        mask (in, optional): Class of each pixel `[batch, height, width]`; 0 is not labelled.
        cube (out): The labelled pixels of all images as one image of one column, `[1, pixel, 1, channel]`.
        mask (out, optional): Their classes, `[1, pixel, 1]`.
    """

    INPUT_SPECS: ClassVar[Mapping[str, PortSpec]] = {
        "cube": CUBE,
        "mask": PortSpec(MASK.dtype, MASK.shape, MASK.description, optional=True),
    }
    OUTPUT_SPECS: ClassVar[Mapping[str, PortSpec]] = {
        "cube": CUBE,
        "mask": PortSpec(MASK.dtype, MASK.shape, MASK.description, optional=True),
    }

    def forward(self, cube: Tensor, mask: Tensor | None = None, **_: object) -> dict[str, Tensor | None]:
        """Take them out."""
        if mask is None:
            return {"cube": cube, "mask": None}
        labelled = (mask > 0) & pixels_with_data(cube)
        return {"cube": cube[labelled][None, :, None, :], "mask": mask[labelled][None, :, None]}
