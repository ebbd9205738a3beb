"""What has no data in images: NaN in the cube is the mask."""

import torch
from torch import Tensor


def bands_with_data(cube: Tensor) -> Tensor:
    """Tell which bands of each image have a finite value, `[batch, channel]`."""
    return torch.isfinite(cube).any(dim=2).any(dim=1)


def pixels_with_data(cube: Tensor) -> Tensor:
    """Tell which pixels have a finite value in every band that has any in their image, `[batch, height, width]`."""
    bands = bands_with_data(cube)
    pixels = (torch.isfinite(cube) | ~bands[:, None, None]).all(dim=-1)
    return pixels & bands.any(dim=-1)[:, None, None]
