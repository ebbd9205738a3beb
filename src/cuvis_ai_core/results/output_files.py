"""The files of a run's outputs: which place each output gets, and what is written when all have come."""

from collections.abc import Mapping
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from cuvis_ai_core.data.numpy_files import place_arrays
from cuvis_ai_core.errors import MissingExtraError
from cuvis_ai_core.results.array_storage import Place
from cuvis_ai_core.results.folder import safe_name
from cuvis_ai_core.results.npz_writer import Archive
from cuvis_ai_core.results.output_bands import Bands

if TYPE_CHECKING:
    import numpy as np

    from cuvis_ai_core.data import Cube

ARCHIVE: Final = "outputs.npz"
FORMATS: Final = ("npz", "envi", "geotiff", "zarr")
_AXES: Final = (3, 4)

Address = tuple[str, str]


class ImageFile(Protocol):
    """A file of one image."""

    file: str
    place: Place

    def close(self, bands: Bands) -> None:
        """Write what else is known, when all tiles have come."""


class Outputs:
    """The files that a run writes its outputs to.

    Args:
        folder: Where they are written.
        kind: One of `FORMATS`. What is no image of the cube's size goes to the archive whatever it is.
        cube: The cube, whose place and bands are handed on.

    Raises:
        MissingExtraError: The format needs what is not installed.
    """

    def __init__(self, folder: Path, kind: str, cube: "Cube") -> None:
        self._folder = folder
        self._kind = kind
        self._cube = cube
        self._make = _maker(kind)
        self._archive: Archive | None = None
        self._images: dict[Address, ImageFile] = {}
        self._stems: list[str] = []
        if kind == FORMATS[0]:
            self._archive = Archive(folder / ARCHIVE)

    def place(self, address: Address, shape: tuple[int, ...], dtype: "np.dtype[Any]") -> Place:
        """Return where an output is written, tile after tile.

        Raises:
            OSError: The disk is full.
        """
        if self._make is not None and self._is_image(shape, dtype):
            image: ImageFile = self._make(self._folder, self._stem(".".join(address)), shape, dtype, self._cube)
            self._images[address] = image
            return image.place
        if self._archive is None:
            self._archive = Archive(self._folder / ARCHIVE)
        place: Place = self._archive.place(".".join(address), shape, dtype)
        return place

    def file_of(self, address: Address) -> str:
        """Return the name of the file that holds an output."""
        return self._images[address].file if address in self._images else ARCHIVE

    def close(self, bands: Mapping[Address, Bands]) -> None:
        """Complete all files.

        Args:
            bands: What is known of the outputs.

        Raises:
            OSError: The disk is full.
        """
        for address, image in self._images.items():
            image.close(bands[address])
        if self._archive is not None:
            for name, array in {**place_arrays(self._cube), **_pixel_places(self._cube), **self._lists(bands)}.items():
                self._archive.place(name, array.shape, array.dtype)[...] = array
            self._archive.close()

    def _lists(self, bands: Mapping[Address, Bands]) -> "dict[str, Any]":
        """Return wavelengths and widths of the cube, if an output in the archive has its bands."""
        own = self._cube.wavelengths
        here = (each for address, each in bands.items() if address not in self._images)
        if own is None or not any(each.wavelengths is own for each in here):
            return {}
        found = {"wavelengths": own, "fwhm": self._cube.fwhm}
        return {name: values for name, values in found.items() if values is not None}

    def _is_image(self, shape: tuple[int, ...], dtype: "np.dtype[Any]") -> bool:
        size = (1, *self._cube.data.shape[:2])
        return len(shape) in _AXES and shape[:3] == size and 0 not in shape and dtype.kind in "biuf"

    def _stem(self, name: str) -> str:
        """Return the begin of a file name; two that differ only in case would be one on many disks."""
        safe = safe_name(name)
        stem = next(
            each
            for number in count(1)
            if (each := safe if number == 1 else f"{number}_{safe}").casefold() not in self._stems
        )
        self._stems.append(stem.casefold())
        return stem


def _pixel_places(cube: "Cube") -> dict[str, Any]:
    """Return the places of all pixels, where the cube has them."""
    return {name: cube.metadata[name] for name in ("latitude", "longitude") if _is_map(cube.metadata.get(name), cube)}


def _is_map(value: Any, cube: "Cube") -> bool:
    return getattr(value, "shape", None) == cube.data.shape[:2]


def _maker(kind: str) -> Any:
    """Return what makes a file of an image; its libraries are imported now, before the work."""
    match kind:
        case "envi":
            from cuvis_ai_core.results.envi_writer import EnviFile

            return EnviFile
        case "geotiff":
            _expect(kind, "rasterio")
            from cuvis_ai_core.results.geotiff_writer import GeoTiffFile

            return GeoTiffFile
        case "zarr":
            _expect(kind, "zarr")
            from cuvis_ai_core.results.zarr_writer import ZarrFile

            return ZarrFile
    return None


def _expect(kind: str, library: str) -> None:
    try:
        import_module(library)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"The format '{kind}' needs the library {library}, which is not installed.",
            hint=f"Install the extra: pip install 'cuvis-ai-core[{kind}]'",
            extra=kind,
        ) from error
