"""A cube as the image of a batch, of which each tile is read when it is needed."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cuvis_ai_core.data.lazy_array import LazyArray
from cuvis_ai_core.node.dtypes import floating_for


@dataclass(frozen=True, slots=True, eq=False)
class LazyImage:
    """One image `[1, height, width, channel]` whose bands without data are NaN.

    Attributes:
        data: The cube, `[height, width, channel]`.
        good_bands: Which bands have data, bool `[channel]`, or None where all have.
    """

    data: NDArray[Any] | LazyArray
    good_bands: NDArray[np.bool_] | None = None

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Its shape as an image of a batch."""
        height, width, channels = self.data.shape
        return 1, height, width, channels

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of its tiles, in the byte order of the machine."""
        dtype = self.data.dtype
        return np.dtype(dtype if self.good_bands is None else floating_for(dtype)).newbyteorder("=")

    @property
    def chunk(self) -> tuple[int, int]:
        """Height and width of the pieces in which the file stores it."""
        return self.data.chunk if isinstance(self.data, LazyArray) else (1, 1)

    def tile(self, rows: slice, columns: slice) -> NDArray[Any]:
        """Read a tile `[1, rows, columns, channel]`; it may be a part of the cube itself, and is not to be written."""
        # A copy only where it is written into below.
        tile = self.data[rows, columns].astype(self.dtype, order="C", copy=self.good_bands is not None)
        if self.good_bands is not None:
            tile[..., ~self.good_bands] = np.nan
        return tile[np.newaxis]

    def whole(self) -> NDArray[Any]:
        """Read the whole image, as a tile."""
        return self.tile(slice(None), slice(None))
