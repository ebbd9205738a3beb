"""Cubes in NetCDF files: NetCDF-4 is HDF5 with conventions; the classic format is read by SciPy."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from cuvis_ai_core.data.cube import Cube
from cuvis_ai_core.data.formats.arrays_to_cube import cube_of
from cuvis_ai_core.data.formats.cf_conventions import UNWRITTEN, plain
from cuvis_ai_core.data.formats.hdf5 import read_hdf5
from cuvis_ai_core.data.formats.optional_libraries import library, readable
from cuvis_ai_core.data.formats.variable_choice import Variable
from cuvis_ai_core.errors import CubeError

_CLASSIC: Final = b"CDF"


def read_netcdf(path: Path, array: str | None = None) -> Cube:
    """Read a NetCDF file, such as those of EMIT.

    Axes are put in order by their names. `_FillValue` and `missing_value` become NaN, `scale_factor` and `add_offset`
    are applied (CF conventions 1.11). Wavelengths, widths and good bands may lie in another group, as EMIT has them.

    Args:
        path: The file.
        array: The path of a variable in the file: `scene.nc::reflectance`.

    Raises:
        CubeError: The file is damaged, or it is not clear which variable is the cube.
        MissingExtraError: The package `h5py`, or `scipy` for the classic format, is not installed.
    """
    with path.open("rb") as stream:
        begin = stream.read(len(_CLASSIC) + 1)
    if not begin.startswith(_CLASSIC):
        return read_hdf5(path, array)
    # SciPy knows the versions 1 and 2, and of this one says that a list index is out of range.
    if begin == _CLASSIC + b"\x05":
        raise CubeError(
            f"The cube '{path}' is NetCDF of the format CDF-5 (64-bit data), which is not read.",
            hint="Convert it: nccopy -k nc4 OLD NEW, or with xarray: open_dataset(OLD).to_netcdf(NEW).",
            path=path,
        )
    scipy_io = library("scipy.io", "netcdf", path)
    # Without mmap: SciPy warns, and keeps the file open, while an array on it lives.
    with readable(path, "a NetCDF file"), scipy_io.netcdf_file(path, "r", mmap=False) as file:
        variables = {variable.name: variable for variable in _variables(file)}
        return cube_of(path, variables, _attributes(file), array)


def _variables(file: Any) -> Iterator[Variable]:
    for name, variable in file.variables.items():
        attrs = _attributes(variable)
        if variable.data.dtype.kind == "f":
            attrs.setdefault("_FillValue", UNWRITTEN)
        yield Variable(name, variable.data, tuple(variable.dimensions), attrs)


def _attributes(item: Any) -> dict[str, Any]:
    return {key: plain(value) for key, value in item._attributes.items()}  # noqa: SLF001 - there is no public way
