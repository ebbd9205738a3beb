"""Bands of mean 0 and standard deviation 1, by statistics of the training data."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final

import torch
from cuvis_ai_schemas.pipeline import PortSpec
from torch import Tensor

from cuvis_ai_core.node import Node
from cuvis_ai_spectral_classifier.no_data import bands_with_data, pixels_with_data
from cuvis_ai_spectral_classifier.ports import CUBE

logger = logging.getLogger(__name__)

_ROUNDING: Final = 64 * torch.finfo(torch.float64).eps
"""A deviation up to this share of the mean is what rounding leaves of a band that does not vary."""


class BandStandardizer(Node):
    """Shift and scale each band to mean 0 and standard deviation 1 over the training data.

    Mean and deviation are learned by `statistical_initialization` from a stream of any length, in double precision
    (Chan, Golub, LeVeque: Updating formulae and a pairwise algorithm for computing sample variances, 1979). Pixels
    without data, and bands without data in an image, add nothing.

    Ports:
        cube (in): `[batch, height, width, channel]`, any unit.
        cube (out): The same shape, without unit. Bands that do not vary become 0, and so do those that had no data in
            training; values that are not finite stay so.
    """

    INPUT_SPECS: ClassVar[Mapping[str, PortSpec]] = {"cube": CUBE}
    OUTPUT_SPECS: ClassVar[Mapping[str, PortSpec]] = {"cube": CUBE}

    mean: Tensor
    deviation: Tensor

    def __init__(self, **base: Any) -> None:
        super().__init__(**base)
        self.register_buffer("mean", torch.empty(0, dtype=torch.float64))
        self.register_buffer("deviation", torch.empty(0, dtype=torch.float64))

    def statistical_initialization(self, input_stream: Iterable[Mapping[str, Any]]) -> None:
        """Learn mean and deviation of each band.

        Raises:
            ValueError: There is no pixel with data to learn from.
        """
        count = mean = squares = self.mean.new_zeros(1)
        for image in (image for values in input_stream for image in values["cube"]):
            pixels = image[pixels_with_data(image[None])[0]].double()
            bands = bands_with_data(image[None])[0]
            pixels, number = torch.where(bands, pixels, 0.0), bands.double() * len(pixels)
            if not len(pixels):
                continue
            total, own = count + number, pixels.mean(dim=0)
            share = number / total.clamp(min=1)
            squares = squares + ((pixels - own) ** 2).sum(dim=0) + (own - mean) ** 2 * count * share
            mean = mean + (own - mean) * share
            count = total
        if not count.any():
            raise ValueError("there is no pixel to learn from")
        if never := torch.nonzero(count == 0).flatten().tolist():
            logger.warning(
                "Node '%s': no data to learn from in the bands %s (from 0); they become 0.", self.name, never
            )
        deviation = (squares / count.clamp(min=1)).sqrt()
        self.deviation = torch.where(deviation > _ROUNDING * mean.abs(), deviation, 0.0)
        self.mean = torch.where(count > 0, mean, torch.nan)

    def forward(self, cube: Tensor, **_: object) -> dict[str, Tensor]:
        """Shift and scale."""
        varies = self.deviation > 0
        scaled = (cube.double() - self.mean) / torch.where(varies, self.deviation, 1.0)
        # of a band that does not vary the product keeps what is not finite
        known = torch.where(varies, scaled, cube.double() * 0.0)
        return {"cube": torch.where(self.mean.isnan(), 0.0, known).to(cube.dtype)}
