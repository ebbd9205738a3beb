"""An output as a GeoTIFF, which every geographic information system opens."""

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

from cuvis_ai_core.data.formats.ground_control_points import points_of
from cuvis_ai_core.pages.colour_maps import class_colours
from cuvis_ai_core.results.output_bands import Bands

if TYPE_CHECKING:
    from cuvis_ai_core.data import Cube

_WIDER: Final[Mapping[str, str]] = {"bool": "uint8", "float16": "float32"}
_LINES: Final = 64
_POLYNOMIALS: Final = "RPC"
"""Key of a cube's metadata: the rational polynomial coefficients of its camera, as GDAL names them."""


class GeoTiffFile:
    """An image in one file, with the coordinate system of the cube and wavelengths as descriptions of its bands.

    Args:
        folder: Where it is written.
        stem: Begin of its name.
        shape: `[1, height, width]` or `[1, height, width, channel]`.
        dtype: Its type; truth values become 0 and 1.
        cube: The cube, whose place is handed on.
    """

    def __init__(self, folder: Path, stem: str, shape: tuple[int, ...], dtype: "np.dtype[Any]", cube: "Cube") -> None:
        self.file = f"{stem}.tif"
        _, height, width, *channels = shape
        written = np.dtype(_WIDER.get(dtype.name, dtype.name))
        self._cube = cube
        profile = {
            "driver": "GTiff",
            "height": height,
            "width": width,
            "count": channels[0] if channels else 1,
            "dtype": written.name,
            "interleave": "pixel",
            # A TIFF ends at 4 GiB, and GDAL has to know when it makes the file (driver GTiff, creation options).
            "BIGTIFF": "IF_SAFER",
            **_place(cube),
        }
        if written.kind == "f":
            profile["nodata"] = float("nan")
        self.place = _TiffPlace(_opened(folder / self.file, "w+", profile), shape, written)

    def close(self, bands: Bands) -> None:
        """Write what is known of the bands, and close the file."""
        raster = self.place.raster
        if self._cube.transform is None and _POLYNOMIALS in self._cube.metadata:
            from rasterio.rpc import RPC

            raster.rpcs = RPC.from_gdal(self._cube.metadata[_POLYNOMIALS])
        raster.update_tags(output=bands.name, description=bands.description)
        if self._cube.acquired is not None:
            # As TIFF 6.0 has it (section 8, DateTime).
            raster.update_tags(TIFFTAG_DATETIME=self._cube.acquired.strftime("%Y:%m:%d %H:%M:%S"))
        if bands.wavelengths is not None:
            for number, wavelength in enumerate(bands.wavelengths.tolist(), 1):
                raster.set_band_description(number, f"{wavelength:.10g} nm")
                tags = {"wavelength": f"{wavelength:.10g}", "wavelength_units": "Nanometers"}
                if bands.fwhm is not None:
                    tags["fwhm"] = f"{bands.fwhm[number - 1]:.10g}"
                raster.update_tags(number, **tags)
        if bands.classes and raster.dtypes[0] == "uint8":
            numbers = sorted(number for number in bands.classes if 0 <= number < 256)  # noqa: PLR2004 - a byte
            raster.write_colormap(1, {n: (*c, 255) for n, c in zip(numbers, class_colours(numbers), strict=True)})
        if bands.classes:
            raster.update_tags(1, **{f"class_{number}": name for number, name in bands.classes.items()})
        raster.close()


class _TiffPlace:
    def __init__(self, raster: Any, shape: tuple[int, ...], dtype: "np.dtype[Any]") -> None:
        self.raster = raster
        self.shape = shape
        self.dtype = dtype

    def __setitem__(self, key: Any, value: NDArray[Any]) -> None:
        from rasterio.windows import Window

        rows, columns = key[1:] if key is not Ellipsis else (slice(0, self.shape[1]), slice(0, self.shape[2]))
        window = Window(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
        tile = value.astype(self.dtype, copy=False).reshape(*value.shape[1:3], -1)
        self.raster.write(np.moveaxis(tile, -1, 0), window=window)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        del copy
        whole: NDArray[Any] = np.moveaxis(self.raster.read(), 0, -1).reshape(self.shape)
        return whole if dtype is None else whole.astype(dtype, copy=False)

    def blocks(self) -> Iterator[NDArray[Any]]:
        """Read it some lines at a time."""
        from rasterio.windows import Window

        for top in range(0, self.shape[1], _LINES):
            yield self.raster.read(window=Window(0, top, self.shape[2], min(_LINES, self.shape[1] - top)))


def _opened(file: Path, mode: str, profile: Mapping[str, Any]) -> Any:
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # the cube need not be
        return rasterio.open(file, mode, **profile)


def _place(cube: "Cube") -> dict[str, Any]:
    from rasterio.control import GroundControlPoint
    from rasterio.transform import Affine

    found: dict[str, Any] = {}
    if cube.transform is not None:
        found["transform"] = Affine(*cube.transform[:6])
    if points := points_of(cube):
        found["gcps"] = [GroundControlPoint(row=row, col=column, x=x, y=y, z=z) for column, row, x, y, z in points.rows]
        # rasterio takes one system for a file: with points, it is theirs.
        return found | _system(points.crs)
    return found | _system(cube.crs)


def _system(crs: str | None) -> dict[str, Any]:
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    try:
        return {"crs": CRS.from_user_input(crs)} if crs else {}
    except CRSError:  # a name that PROJ does not know; the tags of the file have it
        return {}
