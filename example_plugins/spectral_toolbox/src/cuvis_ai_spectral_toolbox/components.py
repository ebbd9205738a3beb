"""Linear transforms that order what is in a cube: by variance, or by signal over noise."""

from collections.abc import Iterable
from math import nan
from typing import ClassVar

from array_api_compat import array_namespace

from cuvis_ai_core.node import ArrayNode
from cuvis_ai_spectral_toolbox.arrays import CUBE, Array, as_in, take_bands, to_float64, whole_pixels
from cuvis_ai_spectral_toolbox.moments import Moments, gather, merge


def _checked(components: object) -> int:
    if isinstance(components, bool) or not isinstance(components, int) or components < 1:
        raise ValueError(f"components is {components!r}; it is a whole number, at least 1.")
    return components


def _project(image: Array, moments: Moments, directions: Array) -> Array:
    """Return the components of centred spectra, NaN for pixels without data."""
    xp, values = to_float64(image)
    seen = take_bands(values, list(moments.bands))
    valid = whole_pixels(seen)
    return xp.where(valid, xp.matmul(xp.where(valid, seen, 0.0) - moments.mean, directions), nan)


def _upright(directions: Array) -> Array:
    """Return directions `[band, component]` whose largest entry is positive: their sign means nothing otherwise."""
    xp = array_namespace(directions)
    largest = xp.max(directions, axis=0) >= -xp.min(directions, axis=0)
    return directions * xp.where(largest, 1.0, -1.0)


def _enough(moments: Moments, components: int) -> None:
    moments.needs(2)
    if components > len(moments.bands):
        raise ValueError(f"The image has {len(moments.bands)} bands with data; {components} components are asked for.")


class PrincipalComponents(ArrayNode):
    """Project the spectra of each image on the directions in which they vary most.

    Pearson 1901, "On lines and planes of closest fit to systems of points in space", Philosophical Magazine 2, 559-572,
    doi:10.1080/14786440109462720. The sign of a direction is such that its largest entry is positive.

    Args:
        components: How many components are kept, at most the number of bands.
        name: Name of this node in its pipeline.
        execution_stages: Stages in which a pipeline runs this node; None means always.
    """

    INPUT_SPECS: ClassVar = {"cube": CUBE}
    OUTPUT_SPECS: ClassVar = {"components": CUBE}

    per_pixel = True
    thread_safe = True

    def __init__(
        self, components: int = 3, *, name: str | None = None, execution_stages: Iterable[str] | None = None
    ) -> None:
        super().__init__(name, execution_stages, components=_checked(components))
        self.components = components

    def forward(self, cube: Array) -> dict[str, Array]:
        """Transform the cube.

        Raises:
            ValueError: An image has fewer bands or pixels with data.
        """
        return self.forward_tile(self.tile_statistics(cube), cube)

    def tile_statistics(self, cube: Array) -> list[Moments]:
        """Gather the moments of a part of the images."""
        return gather(cube)

    def merge_statistics(self, left: list[Moments], right: list[Moments]) -> list[Moments]:
        """Put the moments of two parts together."""
        return merge(left, right)

    def forward_tile(self, statistics: list[Moments], cube: Array) -> dict[str, Array]:
        """Transform a part of the images."""
        xp = array_namespace(cube)
        images = []
        for index, moments in enumerate(statistics):
            _enough(moments, self.components)
            _, directions = xp.linalg.eigh(moments.covariance())
            kept = _upright(xp.flip(directions, axis=-1)[:, : self.components])
            images.append(_project(cube[index, ...], moments, kept))
        return {"components": as_in(cube, xp.stack(images, axis=0))}


class MinimumNoiseFraction(ArrayNode):
    """Project the spectra of each image on directions ordered by signal over noise; the noise then has variance 1.

    Green et al. 1988, "A transformation for ordering multispectral data in terms of image quality with implications
    for noise removal", IEEE Transactions on Geoscience and Remote Sensing 26, 65-74, doi:10.1109/36.3001. The
    covariance of the noise is half of that of the differences between neighbours to the right and below. It needs the
    whole image.

    Args:
        components: How many components are kept, at most the number of bands.
        name: Name of this node in its pipeline.
        execution_stages: Stages in which a pipeline runs this node; None means always.
    """

    INPUT_SPECS: ClassVar = {"cube": CUBE}
    OUTPUT_SPECS: ClassVar = {"components": CUBE}

    def __init__(
        self, components: int = 3, *, name: str | None = None, execution_stages: Iterable[str] | None = None
    ) -> None:
        super().__init__(name, execution_stages, components=_checked(components))
        self.components = components

    def forward(self, cube: Array) -> dict[str, Array]:
        """Transform the cube.

        Raises:
            ValueError: An image has fewer bands or pixels with data, or no noise in some combination of bands.
        """
        xp = array_namespace(cube)
        images = [self._image(cube[index, ...]) for index in range(cube.shape[0])]
        return {"components": as_in(cube, xp.stack(images, axis=0))}

    def _image(self, image: Array) -> Array:
        xp, values = to_float64(image)
        moments = gather(values[None, ...])[0]
        _enough(moments, self.components)
        seen = take_bands(values, list(moments.bands))
        noise = self._noise(seen)
        scales, basis = xp.linalg.eigh(noise)
        if float(scales[0]) <= 1e-12 * float(scales[-1]):
            raise ValueError(
                "The noise of some combination of bands is 0: bands follow from others, or there are too few pixels. "
                "Leave such bands out, or use PrincipalComponents."
            )
        whitening = basis / xp.sqrt(scales)
        _, directions = xp.linalg.eigh(xp.matmul(xp.matmul(whitening.T, moments.covariance()), whitening))
        kept = _upright(xp.matmul(whitening, xp.flip(directions, axis=-1)[:, : self.components]))
        return _project(image, moments, kept)

    def _noise(self, seen: Array) -> Array:
        xp = array_namespace(seen)
        channels = seen.shape[-1]
        differences = xp.concat(
            [
                xp.reshape(seen[:, 1:, :] - seen[:, :-1, :], (-1, channels)),
                xp.reshape(seen[1:, ...] - seen[:-1, ...], (-1, channels)),
            ],
            axis=0,
        )
        moments = gather(differences[None, None, ...])[0]
        moments.needs(2)
        return moments.covariance() / 2
