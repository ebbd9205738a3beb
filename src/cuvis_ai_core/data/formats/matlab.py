"""Cubes in MATLAB files: up to version 7 by SciPy, from 7.3 on they are HDF5."""

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np

from cuvis_ai_core.data.cube import Cube
from cuvis_ai_core.data.decompression_bombs import refuse_bomb
from cuvis_ai_core.data.formats.arrays_to_cube import cube_of
from cuvis_ai_core.data.formats.hdf5 import read_hdf5
from cuvis_ai_core.data.formats.matlab_sizes import unpacked_size
from cuvis_ai_core.data.formats.optional_libraries import library, readable
from cuvis_ai_core.data.formats.stored_image import check_size
from cuvis_ai_core.data.formats.variable_choice import Variable, choose

_HDF5: Final = b"\x89HDF\r\n\x1a\n"
_USER_BLOCK: Final = 512
"""Bytes of text before the HDF5 part of a MATLAB file."""

_TYPES: Final = {
    "char": "U",
    "double": "f8",
    "single": "f4",
    **{f"{sign}int{bits}": f"{sign or 'i'}{bits // 8}" for bits in (8, 16, 32, 64) for sign in ("", "u")},
}
_LIST: Final = 1 << 16
"""Longer lists are none of bands."""


class _Listed:
    """An array that the directory of a file names, not read yet."""

    def __init__(self, shape: tuple[int, ...], kind: str) -> None:
        self.shape = shape
        self.dtype = np.dtype(_TYPES.get(kind, "O"))


def read_matlab(path: Path, array: str | None = None) -> Cube:
    """Read a `.mat` file: the array asked for by its name, the one named `cube`, or the only one of three axes.

    Axes are height, width, channel, as MATLAB shows them, unless another one alone is as long as the list of
    wavelengths. `wavelengths`, `fwhm` and `good_bands` beside it are taken under the names that people give them.
    Fields of structures are arrays, too.

    Args:
        path: The file.
        array: The name of an array: `scene.mat::indian_pines_corrected`, `scene.mat::data/cube`.

    Raises:
        CubeError: The file is damaged, or it is not clear which array is the cube.
        MissingExtraError: The package `scipy`, or `h5py` for version 7.3, is not installed.
    """
    with path.open("rb") as stream:
        begin = stream.read(_USER_BLOCK + len(_HDF5))
    # MATLAB 7.3 writes 512 bytes of text before the HDF5 part; other programs write none.
    if begin.startswith(_HDF5) or begin.endswith(_HDF5):
        return read_hdf5(path, array)
    scipy_io = library("scipy.io", "matlab", path)
    with readable(path, "a MATLAB file"):
        # The directory first: `loadmat` without names reads every variable of the file.
        listed = scipy_io.whosmat(path)
        found = {name: _variable(name, _Listed(tuple(shape), kind)) for name, shape, kind in listed}
        structures = [name for name, _, kind in listed if kind in {"struct", "cell"}]
        # SciPy believes what parts say of their size: 3 MB took 3.3 GiB.
        unpacked = unpacked_size(path)
        if structures:
            refuse_bomb(path, unpacked)
            contents = scipy_io.loadmat(path, variable_names=structures)
            found.update((each.name, each) for name in structures for each in _inside(name, contents[name]))
        chosen = choose(path, found, array if array is None or array in found else array.replace(".", "/"))
        check_size(path, chosen.shape, chosen.array.dtype)
        refuse_bomb(path, prod(map(int, chosen.shape)) * chosen.array.dtype.itemsize)
        wanted = [
            name
            for name, each in found.items()
            if isinstance(each.array, _Listed)
            and (each is chosen or (np.prod(each.shape) <= _LIST and each.array.dtype.kind in "iufU"))
        ]
        read: dict[str, Any] = scipy_io.loadmat(path, variable_names=wanted) if wanted else {}
        variables = {name: each for name, each in found.items() if not isinstance(each.array, _Listed)}
        variables.update((name, _variable(name, read[name])) for name in wanted)
        return cube_of(path, variables, {}, chosen.name)


def _inside(name: str, value: Any) -> Iterator[Variable]:
    """Yield the arrays of numbers and texts in a structure, or in cells, by their paths."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "O" and 1 < value.size <= _LIST:
        # A value for each band, as texts often are kept; structures and further cells are none.
        single = [each.item() for each in value.ravel() if _is_value(each)]
        if len(single) == value.size:
            yield _variable(name, np.array(single, dtype=object))
        return
    # MATLAB wraps everything in arrays of 1 x 1; larger ones of structures are tables.
    if not isinstance(value, np.ndarray) or (value.dtype.kind in "OV" and value.size != 1):
        return
    if value.dtype.names:
        for field in value.dtype.names:
            yield from _inside(f"{name}/{field}", value[field].ravel()[0])
    elif value.dtype.kind == "O":
        yield from _inside(name, value.ravel()[0])
    elif value.dtype.kind in "iufU":
        yield _variable(name, value)


def _is_value(cell: Any) -> bool:
    return isinstance(cell, np.ndarray) and cell.dtype.kind in "iufbU" and cell.size == 1


def _variable(name: str, array: Any) -> Variable:
    return Variable(name, array, ("",) * len(array.shape), usual=True)
