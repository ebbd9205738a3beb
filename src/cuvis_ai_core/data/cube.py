"""What every cube reader returns."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cuvis_ai_core.errors import CubeError

SHORTEST_WAVELENGTH: Final = 100.0
"""Smaller values (nm) are taken for micrometres and refused; cameras see from the near ultraviolet on."""

_RANK: Final = 3


@dataclass(frozen=True, slots=True, eq=False)
class Cube:
    """One hyperspectral image with the wavelengths of its bands.

    Pixels that are not finite (NaN: masked, saturated, outside the scene) may occur in `data`: the built-in
    nodes leave them out of statistics and answer NaN for them.

    Attributes:
        data: Real numbers `[height, width, channel]`, none of the sizes 0.
        wavelengths: Centre of each band in nm, float64 `[channel]`, in any order; None where nobody knows.
        source: The file that the cube was read from.
        index: Its place in that file, counted from 0.

    Raises:
        CubeError: `data` or `wavelengths` is something else.
    """

    data: NDArray[Any]
    wavelengths: NDArray[np.float64] | None = None
    source: Path | None = None
    index: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", self._checked_data())
        if self.wavelengths is not None:
            object.__setattr__(self, "wavelengths", self._checked_wavelengths(self.wavelengths))

    def batch(self) -> dict[str, NDArray[Any]]:
        """Return what a pipeline takes: one image, and the wavelengths if they are known.

        Returns:
            `cube`, float32 `[1, height, width, channel]`, and `wavelengths`, float64 `[channel]` in nm.

        Raises:
            CubeError: A value is too large for float32.
        """
        try:
            with np.errstate(over="raise"):
                data = self.data.astype(np.float32)
        except FloatingPointError as error:
            raise self._error("has values too large for float32 (3.4e38).") from error
        batch: dict[str, NDArray[Any]] = {"cube": data[np.newaxis]}
        if self.wavelengths is not None:
            batch["wavelengths"] = self.wavelengths
        return batch

    def _checked_data(self) -> NDArray[Any]:
        data = np.asarray(self.data)
        if data.dtype.kind not in "iuf":
            raise self._error(f"has values of type {data.dtype}; a cube holds real numbers.")
        if data.ndim != _RANK:
            raise self._error(
                f"has shape {data.shape}; a cube has three dimensions, [height, width, channel].",
                hint="A single band is stored as data[:, :, None], a batch as one file per image.",
            )
        if data.size == 0:
            raise self._error(f"has shape {data.shape}; a cube has at least one pixel and one band.")
        return data

    def _checked_wavelengths(self, values: ArrayLike) -> NDArray[np.float64]:
        try:
            wavelengths = np.asarray(values, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise self._error(f"has wavelengths that are no numbers: {error}") from error
        channels = self.data.shape[-1]
        if wavelengths.shape != (channels,):
            raise self._error(
                f"has {channels} bands, but wavelengths of shape {wavelengths.shape}; there is one wavelength per band."
            )
        wrong = ~np.isfinite(wavelengths) | (wavelengths < SHORTEST_WAVELENGTH)
        if wrong.any():
            band = int(wrong.argmax())
            raise self._error(
                f"has the wavelength {wavelengths[band]:g} at band {band} (counted from 0); wavelengths are "
                f"finite and in nm, at least {SHORTEST_WAVELENGTH:g}.",
                hint="Multiply micrometres by 1000.",
            )
        return wavelengths

    def _error(self, message: str, hint: str | None = None) -> CubeError:
        where = f"The cube '{self.source}'" if self.source else "The cube"
        return CubeError(f"{where} {message}", hint=hint, path=self.source)
