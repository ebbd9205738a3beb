"""What every cube reader returns."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cuvis_ai_core.data.lazy_array import LazyArray, as_stored
from cuvis_ai_core.data.lazy_image import LazyImage
from cuvis_ai_core.data.malloc_reuse import keep_freed_memory
from cuvis_ai_core.errors import CubeError

SHORTEST_WAVELENGTH: Final = 100.0
"""Smaller values (nm) are taken for micrometres and refused; cameras see from the near ultraviolet on."""

_RANK: Final = 3
_PIECE: Final = 1 << 22
"""So many values are looked at at once."""

_UNPACKED: Final = 1 << 32
"""So many bytes are unpacked in order to tell whether a cube has any data."""

_NO_DATA: Final = "The cube has no data: no value is finite."
OUT_OF_ORDER: Final = "The wavelengths do not ascend"


@dataclass(frozen=True, slots=True, eq=False)
class Cube:
    """One hyperspectral image with the wavelengths of its bands, and what else its file says.

    "No data" is NaN in `data` (masked, saturated, outside the scene), and a band that is not in `good_bands`. `batch()`
    makes one of both: NaN, which travels inside the array through every node. The built-in nodes leave it out of
    statistics and answer NaN, class 0 or False for it.

    Attributes:
        data: Real numbers `[height, width, channel]`, none of the sizes 0, in the type of the file; scale, gain and
            offset of the file are applied. What a masked array masks becomes NaN. An array of NumPy, or a `LazyArray`,
            which reads what an index asks for; of a dataset of h5py, zarr or the like one is made.
        wavelengths: Centre of each band in nm, float64 `[channel]`, in any order; 0 or less for a band that was not
            taken; None where nobody knows.
        source: The file that the cube was read from.
        index: Its place in that file, counted from 0.
        fwhm: Full width at half maximum of each band in nm, float64 `[channel]`.
        good_bands: Which bands have data, bool `[channel]`, or None where all have; a band that was not taken has none.
        crs: The coordinate reference system, as the file has it (WKT or a name).
        transform: `(a, b, c, d, e, f)`: `x = a * column + b * row + c`, `y = d * column + e * row + f`, of the upper
            left corner of a pixel, as in rasterio.
        acquired: When the image was taken.
        metadata: What else the file says, by its own names.
        remarks: One sentence for each thing that the reader met and somebody may want to know.

    Raises:
        CubeError: `data`, `wavelengths`, `fwhm` or `good_bands` is something else.
    """

    data: NDArray[Any] | LazyArray
    wavelengths: NDArray[np.float64] | None = None
    source: Path | None = None
    index: int = 0
    fwhm: NDArray[np.float64] | None = None
    good_bands: NDArray[np.bool_] | None = None
    crs: str | None = None
    transform: tuple[float, ...] | None = None
    acquired: datetime | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        # Frozen: there is no other way to set what was checked.
        object.__setattr__(self, "data", self._checked_data())
        if self.wavelengths is not None:
            object.__setattr__(self, "wavelengths", self._checked_wavelengths(self.wavelengths))
        if self.fwhm is not None:
            object.__setattr__(self, "fwhm", self._per_band("fwhm", self.fwhm))
        object.__setattr__(self, "good_bands", self._checked_good_bands())
        # Of a cube that another one was made of by `replace`, what was said of that one need not be true.
        said = [each for each in self.remarks if each != _NO_DATA and not each.startswith(OUT_OF_ORDER)]
        own = (("" if self._has_data() else _NO_DATA), self._order())
        object.__setattr__(self, "remarks", (*said, *filter(None, own)))

    def batch(self) -> dict[str, NDArray[Any]]:
        """Return what a pipeline takes: one image, and the wavelengths if they are known.

        Returns:
            `cube` `[1, height, width, channel]`, a copy in the type that the file has, and `wavelengths`, float64
            `[channel]` in nm. Bands without data are NaN; where there are such, integers become float32, those of more
            than 16 bits float64.
        """
        batch = {key: value if isinstance(value, np.ndarray) else value.whole() for key, value in self.tiles().items()}
        # A node that writes into its input would change the cube that somebody still has.
        if isinstance(self.data, np.ndarray) and np.may_share_memory(self.data, batch["cube"]):
            batch["cube"] = batch["cube"].copy()
        return batch

    def tiles(self) -> "dict[str, NDArray[Any] | LazyImage]":
        """Return the same as `batch` for `Pipeline.forward_tiled`: the image is read tile by tile."""
        # The C library gives large pieces back at once: a loop over small cubes got its memory anew each time.
        keep_freed_memory(self.data.nbytes)
        batch: dict[str, NDArray[Any] | LazyImage] = {"cube": LazyImage(self.data, self.good_bands)}
        if self.wavelengths is not None:
            batch["wavelengths"] = self.wavelengths
        return batch

    def _repr_html_(self) -> str:
        """Show this in a notebook: its false colour, and what it is."""
        from cuvis_ai_core.data.cube_preview import false_colour

        return false_colour(self)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        """Have a slider through the bands in a notebook, where ipywidgets is there; the other ways stay beside it."""
        from cuvis_ai_core.data.cube_preview import slider

        widget = slider(self)
        return {} if widget is None else {**widget._repr_mimebundle_(), "text/html": self._repr_html_()}

    def _order(self) -> str:
        """Say which band is the first that is not above the one before it, of those that were taken."""
        if self.wavelengths is None:
            return ""
        taken = np.flatnonzero(self.wavelengths > 0)
        lengths = self.wavelengths[taken]
        steps = np.flatnonzero(np.diff(lengths) <= 0)
        if not steps.size:
            return ""
        before, band = taken[steps[0]], taken[steps[0] + 1]
        return (
            f"{OUT_OF_ORDER}: band {band} (counted from 0) has {self.wavelengths[band]:.10g} nm, "
            f"band {before} before it {self.wavelengths[before]:.10g} nm."
        )

    def _has_data(self) -> bool:
        """Tell whether a value in a good band is finite; the first piece of an image tells it mostly.

        What takes more than a bounded amount of unpacking to tell counts as data.
        """
        # Integers have no NaN: without looking at a pixel.
        if self.data.dtype.kind != "f":
            return True
        good = slice(None) if self.good_bands is None else self.good_bands
        height, width, channels = self.data.shape
        rows, across = self.data.chunk if isinstance(self.data, LazyArray) else (1, 1)
        # one line of an image may be longer than memory; of larger pieces in a file each of ours unpacks a whole one
        columns = min(width, max(1, _PIECE // (rows * channels)))
        most = max(1, _UNPACKED // (rows * max(across, columns) * channels * self.data.dtype.itemsize))
        if -(-height // rows) * -(-width // columns) > most:
            return True
        places = product(range(0, height, rows), range(0, width, columns))
        pieces = (self.data[top : top + rows, left : left + columns] for top, left in places)
        return any(bool(np.isfinite(piece[..., good]).any()) for piece in pieces)

    def _checked_data(self) -> NDArray[Any] | LazyArray:
        given: Any = self.data
        try:
            data = as_stored(given)
        except (TypeError, ValueError, RuntimeError) as error:
            raise self._error(f"has data of type {type(given).__name__}, which is no array: {error}.") from error
        if data.dtype.kind not in "iuf":
            raise self._error(f"has values of type {data.dtype}; a cube holds real numbers.")
        if data.ndim != _RANK:
            raise self._error(
                f"has shape {data.shape}; a cube has three dimensions, [height, width, channel].",
                hint="A single band is stored as data[:, :, None], a batch as one file per image.",
            )
        if data.size == 0:
            raise self._error(f"has shape {data.shape}; a cube has at least one pixel and one band.")
        # by its name: to ask for its class imports `numpy.ma`
        # `getmask` may be a single False; this is always an array.
        if type(given).__name__ == "MaskedArray" and (mask := np.ma.getmaskarray(given)).any():
            return np.where(mask, np.float32(np.nan), np.asarray(data))
        return data

    def _checked_wavelengths(self, values: ArrayLike) -> NDArray[np.float64]:
        wavelengths = self._per_band("wavelengths", values)
        wrong = ~np.isfinite(wavelengths) | ((wavelengths > 0) & (wavelengths < SHORTEST_WAVELENGTH))
        if wrong.any():
            band = int(wrong.argmax())
            raise self._error(
                f"has the wavelength {wavelengths[band]:g} at band {band} (counted from 0); wavelengths are "
                f"finite and in nm, at least {SHORTEST_WAVELENGTH:g}, or 0 for a band that was not taken.",
                hint="Multiply micrometres by 1000.",
            )
        return wavelengths

    def _checked_good_bands(self) -> NDArray[np.bool_] | None:
        """Return which bands have data; those that were not taken have none."""
        good = np.ones(self.data.shape[-1], dtype=bool) if self.wavelengths is None else self.wavelengths > 0
        if self.good_bands is not None:
            given = self._per_band("good_bands", self.good_bands)
            if (wrong := (given != 0) & (given != 1)).any():
                raise self._error(
                    f"has good_bands with other values than 0 and 1, such as {given[wrong][0]:g}.",
                    hint="1 is good; of numbers of good bands make numpy.isin(numpy.arange(channels), numbers).",
                )
            good &= given == 1
        if not good.any():
            raise self._error(
                "has no band with data: none is in good_bands and has a wavelength above 0.",
                hint="Correct the list of bad bands (bbl: 1 is good) or the wavelengths.",
            )
        return None if good.all() else good

    def _per_band(self, name: str, values: ArrayLike) -> NDArray[np.float64]:
        try:
            given = np.asarray(values)
            # NumPy would drop the imaginary part, and the unit of a time
            # float64 whatever the file has: float16 has no 1000.3.
            numbers = given.astype(np.float64, casting="same_kind" if given.dtype.kind in "cmM" else "unsafe")
        except (TypeError, ValueError) as error:
            raise self._error(f"has {name} that are no numbers: {error}") from error
        channels = self.data.shape[-1]
        if numbers.shape != (channels,):
            raise self._error(f"has {channels} bands, but {name} of shape {numbers.shape}; there is one per band.")
        return numbers

    def _error(self, message: str, hint: str | None = None) -> CubeError:
        where = f"The cube '{self.source}'" if self.source else "The cube"
        return CubeError(f"{where} {message}", hint=hint, path=self.source)
