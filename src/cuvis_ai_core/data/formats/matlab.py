"""Cubes in MATLAB files: up to version 7 by SciPy, from 7.3 on they are HDF5."""

from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np

from cuvis_ai_core.data.cube import Cube
from cuvis_ai_core.data.formats.arrays import cube_of
from cuvis_ai_core.data.formats.hdf5 import read_hdf5
from cuvis_ai_core.data.formats.libraries import library, readable
from cuvis_ai_core.data.formats.named import RANK, Variable, choose
from cuvis_ai_core.data.formats.stored import check_size
from cuvis_ai_core.data.unpacking import refuse_bomb

_HDF5: Final = b"\x89HDF\r\n\x1a\n"
_USER_BLOCK: Final = 512
"""Bytes of text before the HDF5 part of a MATLAB file."""

_TYPES: Final = {
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

    Axes are height, width, channel, as MATLAB shows them. `wavelengths`, `fwhm` and `good_bands` beside it are taken
    under the names that people give them.

    Args:
        path: The file.
        array: The name of an array: `scene.mat::indian_pines_corrected`.

    Raises:
        CubeError: The file is damaged, or it is not clear which array is the cube.
        MissingExtraError: The package `scipy`, or `h5py` for version 7.3, is not installed.
    """
    with path.open("rb") as stream:
        begin = stream.read(_USER_BLOCK + len(_HDF5))
    if begin.startswith(_HDF5) or begin.endswith(_HDF5):
        return read_hdf5(path, array)
    scipy_io = library("scipy.io", "matlab", path)
    with readable(path, "a MATLAB file"):
        found = {
            name: Variable(name, _Listed(tuple(shape), kind), _dims(shape))
            for name, shape, kind in scipy_io.whosmat(path)
        }
        chosen = choose(path, found, array)
        check_size(path, chosen.shape, chosen.array.dtype)
        refuse_bomb(path, prod(map(int, chosen.shape)) * chosen.array.dtype.itemsize)
        small = [
            name for name, each in found.items() if np.prod(each.shape) <= _LIST and each.array.dtype.kind in "iuf"
        ]
        contents: dict[str, Any] = scipy_io.loadmat(path, variable_names=[chosen.name, *small])
        variables = {name: Variable(name, contents[name], found[name].dims) for name in (chosen.name, *small)}
        return cube_of(path, variables, {}, chosen.name)


def _dims(shape: tuple[int, ...]) -> tuple[str, ...]:
    return ("height", "width", "channel") if len(shape) == RANK else ("",) * len(shape)
