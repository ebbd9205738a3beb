"""Classes that nobody named."""

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np
from array_api_compat import array_namespace, device

from cuvis_ai_core.node import ArrayNode, PortSpec
from cuvis_ai_spectral_toolbox.arrays import (
    CLASSES,
    CUBE,
    Array,
    as_in,
    bands_with_data,
    take_bands,
    to_float64,
    whole_pixels,
)


class KMeans(ArrayNode):
    """Divide the spectra of each image into clusters, such that the squares of distances to their means are small.

    Lloyd 1982, "Least squares quantization in PCM", IEEE Transactions on Information Theory 28, 129-137,
    doi:10.1109/TIT.1982.1056489; the first centres are drawn after Arthur and Vassilvitskii 2007, "k-means++: the
    advantages of careful seeding". Clusters are numbered from 1 by the brightness of their centres, so that
    the same image gives the same numbers. It needs the whole image.

    Args:
        clusters: How many.
        iterations: At most so many rounds; it ends where no pixel changes its cluster.
        seed: Of the first centres.
        name: Name of this node in its pipeline.
        execution_stages: Stages in which a pipeline runs this node; None means always.
    """

    INPUT_SPECS: ClassVar = {"cube": CUBE}
    OUTPUT_SPECS: ClassVar = {
        "classes": CLASSES,
        "centres": PortSpec(np.floating, (-1, -1, -1), "mean spectra, [batch, cluster, channel]; NaN: no data"),
    }

    def __init__(
        self,
        clusters: int = 5,
        iterations: int = 100,
        seed: int = 0,
        *,
        name: str | None = None,
        execution_stages: Iterable[str] | None = None,
    ) -> None:
        if clusters < 1 or iterations < 1:
            raise ValueError(f"clusters {clusters}, iterations {iterations}: both are at least 1.")
        super().__init__(name, execution_stages, clusters=clusters, iterations=iterations, seed=seed)
        self.clusters, self.iterations, self.seed = clusters, iterations, seed

    def forward(self, cube: Array) -> dict[str, Array]:
        """Find the clusters of each image.

        Raises:
            ValueError: An image has fewer different spectra than clusters.
        """
        xp = array_namespace(cube)
        found = [self._image(cube[index, ...]) for index in range(cube.shape[0])]
        return {
            "classes": xp.stack([classes for classes, _ in found], axis=0),
            "centres": as_in(cube, xp.stack([centres for _, centres in found], axis=0)),
        }

    def _image(self, image: Array) -> tuple[Array, Array]:
        xp, values = to_float64(image)
        bands = bands_with_data(values)
        seen = take_bands(values, bands)
        valid = whole_pixels(seen)[..., 0]
        pixels = seen[valid, ...]
        if pixels.shape[0] < self.clusters or not bands:
            raise ValueError(f"The image has {pixels.shape[0]} pixels with data for {self.clusters} clusters.")
        centres = self._first(pixels)
        labels = _nearest(pixels, centres)
        for _ in range(self.iterations):
            centres = xp.stack([_mean(pixels, labels == each, centres[each, :]) for each in range(self.clusters)])
            before, labels = labels, _nearest(pixels, centres)
            if bool(xp.all(labels == before)):
                break
        order = [int(each) for each in xp.argsort(xp.sum(centres, axis=-1))]
        numbers = xp.zeros_like(labels, dtype=xp.int32)
        for number, each in enumerate(order, 1):
            numbers = xp.where(labels == each, xp.asarray(number, dtype=xp.int32, device=device(image)), numbers)
        classes = xp.zeros(valid.shape, dtype=xp.int32, device=device(image))
        classes[valid] = numbers
        spread = xp.full((self.clusters, image.shape[-1]), xp.nan, dtype=xp.float64, device=device(image))
        for at, band in enumerate(bands):
            spread[:, band] = xp.stack([centres[each, at] for each in order])
        return classes, spread

    def _first(self, pixels: Array) -> Array:
        """Draw the first centres: each pixel by the square of its distance to those that are there."""
        xp = array_namespace(pixels)
        drawn: Any = np.random.default_rng(self.seed)
        centres = [pixels[int(drawn.integers(pixels.shape[0])), :]]
        nearest = xp.sum((pixels - centres[0]) ** 2, axis=-1)
        while len(centres) < self.clusters:
            total = xp.cumulative_sum(nearest)
            if not float(total[-1]) > 0:
                raise ValueError(f"The image has {len(centres)} different spectra for {self.clusters} clusters.")
            at = int(xp.sum(xp.astype(total <= float(drawn.random()) * float(total[-1]), xp.int64)))
            centres.append(pixels[min(at, pixels.shape[0] - 1), :])
            nearest = xp.minimum(nearest, xp.sum((pixels - centres[-1]) ** 2, axis=-1))
        return xp.stack(centres)


def _nearest(pixels: Array, centres: Array) -> Array:
    xp = array_namespace(pixels)
    distances = [xp.sum((pixels - centres[each, :]) ** 2, axis=-1) for each in range(centres.shape[0])]
    return xp.argmin(xp.stack(distances, axis=-1), axis=-1)


def _mean(pixels: Array, mine: Array, before: Array) -> Array:
    """Return the mean of the pixels of a cluster; an empty one stays where it was."""
    xp = array_namespace(pixels)
    members = pixels[mine, ...]
    return xp.mean(members, axis=0) if members.shape[0] else before
