"""Bands of mean 0 and standard deviation 1, by statistics of the training data."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch
from cuvis_ai_schemas.pipeline import PortSpec
from torch import Tensor

from cuvis_ai_core.node import Node
from cuvis_ai_spectral_classifier.ports import CUBE


class BandStandardizer(Node):
    """Shift and scale each band to mean 0 and standard deviation 1 over the training data.

    Mean and deviation are learned by `statistical_initialization` from a stream of any length, in double precision
    (Chan, Golub, LeVeque: Updating formulae and a pairwise algorithm for computing sample variances, 1979).

    Ports:
        cube (in): `[batch, height, width, channel]`, any unit.
        cube (out): The same shape, without unit. Bands that do not vary become 0.
    """

    INPUT_SPECS: ClassVar[Mapping[str, PortSpec]] = {"cube": CUBE}
    OUTPUT_SPECS: ClassVar[Mapping[str, PortSpec]] = {"cube": CUBE}

    def __init__(self, **base: Any) -> None:
        super().__init__(**base)
        self.register_buffer("mean", torch.empty(0))
        self.register_buffer("deviation", torch.empty(0))

    def statistical_initialization(self, input_stream: Iterable[Mapping[str, Any]]) -> None:
        """Learn mean and deviation of each band."""
        count, mean, squares = 0, torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
        for values in input_stream:
            pixels = values["cube"].reshape(-1, values["cube"].shape[-1]).double()
            if not len(pixels):
                continue
            total, difference = count + len(pixels), pixels.mean(dim=0) - mean
            squares = squares + ((pixels - pixels.mean(dim=0)) ** 2).sum(dim=0)
            squares = squares + difference**2 * (count * len(pixels) / total)
            mean = mean + difference * (len(pixels) / total)
            count = total
        if not count:
            raise ValueError("there is no pixel to learn from")
        self.mean = mean.float()
        self.deviation = (squares / count).sqrt().float()

    def forward(self, cube: Tensor, **_: object) -> dict[str, Tensor]:
        """Shift and scale."""
        varies = self.deviation > 0
        scaled = (cube - self.mean) / torch.where(varies, self.deviation, 1.0)
        return {"cube": torch.where(varies, scaled, 0.0)}
