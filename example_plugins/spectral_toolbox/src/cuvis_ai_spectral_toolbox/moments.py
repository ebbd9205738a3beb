"""Mean and scatter of the spectra of an image, gathered tile by tile and put together."""

from dataclasses import dataclass

from array_api_compat import array_namespace, device

from cuvis_ai_spectral_toolbox.arrays import Array, bands_with_data, take_bands, to_float64, whole_pixels


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Statistics of the pixels that have a value in every band of those with data.

    Attributes:
        bands: The bands in which some pixel has a finite value.
        count: The number of pixels.
        mean: `[band]`, float64.
        scatter: The sum of the products of deviations from the mean, `[band, band]`, float64.
    """

    bands: tuple[int, ...]
    count: int
    mean: Array
    scatter: Array

    def covariance(self) -> Array:
        """Return the covariance, with the divisor n - 1."""
        return self.scatter / max(self.count - 1, 1)

    def needs(self, pixels: int) -> None:
        """Refuse an image with fewer pixels than a method needs.

        Raises:
            ValueError: It has fewer.
        """
        if self.count < pixels:
            raise ValueError(f"The image has {self.count} pixels with data; at least {pixels} are needed.")


def gather(cube: Array) -> list[Moments]:
    """Return the moments of each image of a batch `[batch, height, width, channel]`."""
    return [_of_image(cube[index, ...]) for index in range(cube.shape[0])]


def merge(left: list[Moments], right: list[Moments]) -> list[Moments]:
    """Return the moments of two parts of the same images (Chan, Golub and LeVeque 1979)."""
    return [_merged(*pair) for pair in zip(left, right, strict=True)]


def _of_image(image: Array) -> Moments:
    xp, values = to_float64(image)
    bands = bands_with_data(values)
    seen = take_bands(values, bands)
    pixels = xp.reshape(seen, (image.shape[0] * image.shape[1], len(bands)))
    valid = whole_pixels(pixels) & bool(bands)
    count = int(xp.sum(xp.astype(valid, xp.int64)))
    mean = xp.sum(xp.where(valid, pixels, 0.0), axis=0) / max(count, 1)
    centred = xp.where(valid, pixels - mean, 0.0)
    return Moments(tuple(bands), count, mean, xp.matmul(centred.T, centred))


def _merged(left: Moments, right: Moments) -> Moments:
    if left.bands != right.bands:
        # the pixels of a part miss the bands that only the other part has: none of them counts
        together = set(left.bands) | set(right.bands)
        whole = next((part for part in (left, right) if set(part.bands) == together), None)
        return whole or _nothing(left, tuple(sorted(together)))
    count = left.count + right.count
    if not left.count or not right.count:
        return left if left.count else right
    between = right.mean - left.mean
    mean = left.mean + between * (right.count / count)
    scatter = left.scatter + right.scatter + between[:, None] * between[None, :] * (left.count * right.count / count)
    return Moments(left.bands, count, mean, scatter)


def _nothing(like: Moments, bands: tuple[int, ...]) -> Moments:
    xp = array_namespace(like.mean)
    zeros = xp.zeros((len(bands), len(bands)), dtype=xp.float64, device=device(like.mean))
    return Moments(bands, 0, zeros[0, :], zeros)
