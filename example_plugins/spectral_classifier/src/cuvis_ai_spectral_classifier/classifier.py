"""A small network that sees one spectrum at a time."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from cuvis_ai_schemas.pipeline import PortSpec
from torch import Tensor, nn

from cuvis_ai_core.node import Node
from cuvis_ai_spectral_classifier.no_data import bands_with_data
from cuvis_ai_spectral_classifier.ports import CUBE, LOGITS, MASK


class SpectralClassifier(Node):
    """Classify each pixel by its spectrum alone: a perceptron with two hidden layers and dropout.

    Ports:
        cube (in): `[batch, height, width, channel]`, bands of similar range. Every band has a finite value in an image
            that has any.
        logits (out): `[batch, height, width, class]`; NaN for a pixel with a value that is not finite.
        classes (out): The likeliest class of each pixel, 1 to `classes`, `[batch, height, width]`; 0 for such a pixel.

    Args:
        channels: Number of bands.
        classes: Number of classes.
        hidden: Size of the hidden layers.
        dropout: Share of hidden values that training leaves out.
    """

    INPUT_SPECS: ClassVar[Mapping[str, PortSpec]] = {
        "cube": PortSpec(CUBE.dtype, (-1, -1, -1, "channels"), CUBE.description)
    }
    OUTPUT_SPECS: ClassVar[Mapping[str, PortSpec]] = {
        "logits": PortSpec(LOGITS.dtype, (-1, -1, -1, "number_of_classes"), LOGITS.description),
        "classes": MASK,
    }

    def __init__(self, channels: int, classes: int, hidden: int = 256, dropout: float = 0.3, **base: Any) -> None:
        self.channels, self.number_of_classes = channels, classes
        super().__init__(channels=channels, classes=classes, hidden=hidden, dropout=dropout, **base)
        self.network = nn.Sequential(
            *(nn.Linear(channels, hidden), nn.ReLU(), nn.Dropout(dropout)),
            *(nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(dropout)),
            nn.Linear(hidden, classes),
        )

    def forward(self, cube: Tensor, **_: object) -> dict[str, Tensor]:
        """Classify.

        Raises:
            ValueError: A band has no finite value in an image that has others.
        """
        valid = torch.isfinite(cube).all(dim=-1, keepdim=True)
        if not valid.all():
            self._refuse_without_data(cube)
        logits = torch.where(valid, self.network(torch.where(valid, cube, 0.0)), torch.nan)
        return {"logits": logits, "classes": torch.where(valid[..., 0], logits.argmax(dim=-1).int() + 1, 0)}

    def _refuse_without_data(self, cube: Tensor) -> None:
        found = bands_with_data(cube)
        if bands := torch.nonzero(found.any(dim=-1, keepdim=True) & ~found)[:, 1].tolist():
            raise ValueError(
                f"Node '{self.name}': band {bands[0]} (counted from 0) has no finite value in an image; "
                "each of its bands is needed."
            )
