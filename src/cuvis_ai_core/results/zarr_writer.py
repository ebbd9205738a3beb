"""An output as a Zarr store, packed into one file."""

import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

from cuvis_ai_core.results.output_bands import Bands

if TYPE_CHECKING:
    from cuvis_ai_core.data import Cube

_PIXELS: Final = 2**16
"""Of a chunk; all bands of a pixel are in one."""

_DIMS: Final = ("y", "x", "wavelength")
_UNITS: Final = {"latitude": "degrees_north", "longitude": "degrees_east"}
"""Of the places of all pixels (CF 5.2), where an image is on no grid."""


class ZarrFile:
    """An image in a store of format 3 in one file, `<stem>.zarr.zip`; it holds `cube`, and `wavelength` where known.

    Args:
        folder: Where it is written.
        stem: Begin of its name.
        shape: `[1, height, width]` or `[1, height, width, channel]`.
        dtype: Its type; truth values become 0 and 1.
        cube: The cube, whose place is handed on.
    """

    def __init__(self, folder: Path, stem: str, shape: tuple[int, ...], dtype: "np.dtype[Any]", cube: "Cube") -> None:
        import zarr

        self.file = f"{stem}.zarr.zip"
        self._packed = folder / self.file
        self._cube = cube
        # Chunks are written again and again, which a zip cannot do
        self._store = Path(tempfile.mkdtemp(prefix=".zarr.", dir=folder))
        self._root = zarr.open_group(self._store, mode="w")
        _, height, width, *channels = shape
        rows = max(1, min(height, _PIXELS // width))
        written = np.dtype(np.uint8) if dtype.kind == "b" else dtype.newbyteorder("=")
        array = self._root.create_array(
            "cube",
            shape=shape[1:],
            dtype=written,
            chunks=(rows, min(width, _PIXELS), *channels),
            dimension_names=_DIMS[: len(shape) - 1],
            fill_value=np.nan if written.kind == "f" else 0,
        )
        self.place = _ZarrPlace(array, shape, written)

    def close(self, bands: Bands) -> None:
        """Write what is known of the bands, and pack the store."""
        attributes: dict[str, Any] = {"output": bands.name, "long_name": bands.description}
        coordinates: list[str] = []
        if place := self._grid():
            attributes["grid_mapping"] = "spatial_ref"
            # An array without values whose attributes are the system, as CF 5.6 has it, by the name that GDAL and
            # rioxarray give it.
            self._root.create_array("spatial_ref", shape=(), dtype=np.int64, fill_value=0).attrs.update(place)
            coordinates.append("spatial_ref")  # what is no coordinate, xarray takes for an image
            self._add_axes()
        places = {name: values for name, values in self._cube.metadata.items() if name in _UNITS}
        if all(getattr(each, "shape", None) == self.place.shape[1:3] for each in places.values()):
            for name, values in places.items():
                self._add(name, values, _DIMS[:2], units=_UNITS[name])
            coordinates += places
        for name, values in (("wavelength", bands.wavelengths), ("fwhm", bands.fwhm)):
            if values is not None:
                self._add(name, values, _DIMS[2:], units="nm")
                coordinates += [name] * (name not in _DIMS)
        attributes |= {"coordinates": " ".join(coordinates)} if coordinates else {}
        if self._cube.acquired is not None:
            attributes["time_coverage_start"] = self._cube.acquired.isoformat()
        if bands.classes:
            attributes["flag_values"] = sorted(bands.classes)
            # Blanks part the meanings (CF 3.5).
            attributes["flag_meanings"] = " ".join(
                bands.classes[each].replace(" ", "_") for each in sorted(bands.classes)
            )
        self._root["cube"].attrs.update(attributes)
        with zipfile.ZipFile(self._packed, "w") as packed:
            for file in sorted(each for each in self._store.rglob("*") if each.is_file()):
                entry = zipfile.ZipInfo(file.relative_to(self._store).as_posix())  # no time: twice the same bytes
                entry.file_size = file.stat().st_size
                with file.open("rb") as source, packed.open(entry, "w") as target:
                    shutil.copyfileobj(source, target)
                file.unlink()  # there is never a second copy of all
        shutil.rmtree(self._store)

    def _add_axes(self) -> None:
        """Write where the middles of columns and rows are, on a grid that is not turned: xarray selects by them."""
        width, turn, left, turn_y, height, top = (self._cube.transform or (1.0,) * 6)[:6]
        if self._cube.transform is None or turn or turn_y:
            return
        rows, columns = self.place.shape[1:3]
        self._add("x", left + width * (np.arange(columns) + 0.5), _DIMS[1:2], axis="X")
        self._add("y", top + height * (np.arange(rows) + 0.5), _DIMS[:1], axis="Y")

    def _add(self, name: str, values: Any, dims: tuple[str, ...], **attributes: str) -> None:
        numbers = np.asarray(values)
        array = self._root.create_array(name, shape=numbers.shape, dtype=numbers.dtype, dimension_names=dims)
        array[...] = numbers
        array.attrs.update(attributes)

    def _grid(self) -> dict[str, str]:
        """Return the coordinate system and the transform as CF and GDAL have them."""
        found: dict[str, str] = {}
        if self._cube.crs is not None:
            found["crs_wkt"] = self._cube.crs
        if self._cube.transform is not None:
            width, turn, x, turn_y, height, y = self._cube.transform[:6]
            # GDAL has the offset first in each row, affine transforms have it last.
            found["GeoTransform"] = " ".join(repr(float(each)) for each in (x, width, turn, y, turn_y, height))
        return found


class _ZarrPlace:
    def __init__(self, array: Any, shape: tuple[int, ...], dtype: "np.dtype[Any]") -> None:
        self.shape = shape
        self.dtype = dtype
        self._array = array

    def __setitem__(self, key: Any, value: NDArray[Any]) -> None:
        self._array[... if key is Ellipsis else key[1:]] = value[0]

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        del copy
        whole = np.asarray(self._array[...])[np.newaxis]
        return whole if dtype is None else whole.astype(dtype, copy=False)

    def blocks(self) -> Iterator[NDArray[Any]]:
        """Read it chunk by chunk."""
        rows = self._array.chunks[0]
        for top in range(0, self.shape[1], rows):
            yield np.asarray(self._array[top : top + rows])
