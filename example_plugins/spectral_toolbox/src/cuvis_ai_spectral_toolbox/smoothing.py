"""Spectra without noise, and their derivatives."""

from collections.abc import Iterable
from math import factorial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cuvis_ai_core.node import ArrayNode
from cuvis_ai_spectral_toolbox.arrays import CUBE, Array, as_in, like, to_float64


class SavitzkyGolay(ArrayNode):
    """Fit a polynomial around each band of a spectrum, and give its value or derivative there.

    Savitzky and Golay 1964, "Smoothing and differentiation of data by simplified least squares procedures", Analytical
    Chemistry 36, 1627-1639, doi:10.1021/ac60214a047. At the ends the polynomial of the last whole window counts, as in
    `scipy.signal.savgol_filter`. Bands lie at even steps; derivatives are per band. A spectrum with a missing value
    misses those around it.

    Args:
        window: Bands of a window, an odd number above the order.
        order: Of the polynomial.
        derivative: 0 smooths, 1 and 2 differentiate.
        name: Name of this node in its pipeline.
        execution_stages: Stages in which a pipeline runs this node; None means always.
    """

    INPUT_SPECS: ClassVar = {"cube": CUBE}
    OUTPUT_SPECS: ClassVar = {"cube": CUBE}

    per_pixel = True
    thread_safe = True

    def __init__(
        self,
        window: int = 7,
        order: int = 2,
        derivative: int = 0,
        *,
        name: str | None = None,
        execution_stages: Iterable[str] | None = None,
    ) -> None:
        if window % 2 != 1 or not 0 <= derivative <= order < window:
            raise ValueError(
                f"window {window}, order {order}, derivative {derivative}: the window is odd, and the derivative at "
                "most the order, which is below the window."
            )
        super().__init__(name, execution_stages, window=window, order=order, derivative=derivative)
        self._window = window
        self._fit = _fit(window, order, derivative)

    def forward(self, cube: Array) -> dict[str, Array]:
        """Smooth each spectrum.

        Raises:
            ValueError: The cube has fewer bands than the window.
        """
        channels, window = cube.shape[-1], self._window
        if channels < window:
            raise ValueError(f"The cube has {channels} bands; a window of {window} needs as many.")
        xp, values = to_float64(cube)
        weights = like(cube, self._fit)
        smooth = []
        for band in range(channels):
            start = min(max(band - window // 2, 0), channels - window)
            # a product of a whole matrix would make one missing value of all
            smooth.append(xp.matmul(values[..., start : start + window], weights[band - start, :]))
        return {"cube": as_in(cube, xp.stack(smooth, axis=-1))}


def _fit(window: int, order: int, derivative: int) -> NDArray[Any]:
    """Return the weights of a window's bands for the derivative at each of its places, `[place, band]`."""
    places = np.arange(window) - window // 2
    powers = places[:, None] ** np.arange(order + 1)
    coefficients = np.linalg.pinv(powers.astype(np.float64))
    at = np.zeros((window, order + 1))
    for power in range(derivative, order + 1):
        factor = factorial(power) / factorial(power - derivative)
        at[:, power] = factor * places.astype(np.float64) ** (power - derivative)
    return np.asarray(at @ coefficients)
