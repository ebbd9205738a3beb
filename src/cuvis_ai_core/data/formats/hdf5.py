"""Cubes in HDF5 files: PRISMA (`.he5`), EMIT and other NetCDF-4, MATLAB from 7.3 on, and any other by its path."""

from dataclasses import replace
from pathlib import Path
from typing import Final

from cuvis_ai_core.data.cube import Cube
from cuvis_ai_core.data.formats.arrays_to_cube import cube_of
from cuvis_ai_core.data.formats.hdf5_datasets import attributes, datasets, open_file
from cuvis_ai_core.data.formats.hdf5_filters import unpacked
from cuvis_ai_core.data.formats.hdf_eos import place_of_grid
from cuvis_ai_core.data.formats.optional_libraries import library
from cuvis_ai_core.data.formats.prisma import is_prisma, read_prisma
from cuvis_ai_core.data.formats.variable_choice import choose
from cuvis_ai_core.errors import CubeError

_HDF4: Final = b"\x0e\x03\x13\x01"


def read_hdf5(path: Path, array: str | None = None) -> Cube:
    """Read an HDF5 file; a product of PRISMA is known by its groups.

    The cube is the array asked for by its path, the one named `cube`, or the only one of three axes. Axes with names
    (dimension scales, as NetCDF-4 has them) are put in order by these; of MATLAB they are as MATLAB shows them;
    otherwise the axis is the channel that is as long as the list of wavelengths.

    Args:
        path: The file.
        array: The path of an array in the file: `scene.h5::/group/dataset`.

    Raises:
        CubeError: The file is damaged, or it is not clear which array is the cube.
        MissingExtraError: The package `h5py` is not installed.
    """
    h5py = library("h5py", "hdf5", path)
    with path.open("rb") as stream:
        # The suffix is often .hdf for both, and h5py says only that it cannot find a signature.
        if stream.read(len(_HDF4)) == _HDF4:
            raise CubeError(
                f"The cube '{path}' is an HDF4 file, which is another format than HDF5 and is not read.",
                hint="Convert it, for example with h4toh5 or gdal_translate.",
                path=path,
            )
    with open_file(path) as file:
        if is_prisma(path, file, array):
            return read_prisma(path, file, array)
        variables = {variable.name: variable for variable in datasets(path, file)}
        stored = [each.array for each in variables.values() if isinstance(each.array, h5py.Dataset)]
        stored.sort(key=lambda each: each.ndim)  # lists of bands are what is read here
        with unpacked(path, stored):
            cube = cube_of(path, variables, attributes(file), array)
        if cube.crs is None and cube.transform is None:
            place = place_of_grid(path, file, choose(path, variables, array).name, *cube.data.shape[:2])
            return replace(cube, crs=place.crs, transform=place.transform)
        return cube
