"""Cubes in NumPy's own files."""

import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from cuvis_ai_core.data.cube import Cube
from cuvis_ai_core.errors import CubeError

_RANK: Final = 3


def read_npy(path: Path) -> Cube:
    """Read a `.npy` file: one array `[height, width, channel]`, no wavelengths.

    Raises:
        CubeError: The file is damaged, holds Python objects, or its array is no cube.
    """
    with _readable(path, "a .npy file with one array of numbers"):
        # mapped, because a damaged header then fails on the size of the file instead of taking all memory
        data = np.array(open_memmap(path, mode="r"))
    return Cube(data, source=path)


def read_npz(path: Path) -> Cube:
    """Read a `.npz` archive: the cube is `cube`, or the only array of three dimensions in it.

    An array `wavelengths` (nm, `[channel]`) is optional.

    Raises:
        CubeError: The archive is damaged, holds Python objects, or it is not clear which array is the cube.
    """
    with _readable(path, "a .npz archive of arrays of numbers"):
        if not zipfile.is_zipfile(path):
            raise ValueError("it is no zip archive")
        arrays = _load_arrays(path)
    return Cube(_choose(path, arrays), arrays.get("wavelengths"), path)


def _load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    with np.load(path, allow_pickle=False) as archive:
        wanted = {"cube", "wavelengths"} if "cube" in archive else set(archive.files)
        return {name: np.asarray(archive[name]) for name in archive.files if name in wanted}


def _choose(path: Path, arrays: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    if "cube" in arrays:
        return arrays["cube"]
    cubes = [array for array in arrays.values() if array.ndim == _RANK]
    if len(cubes) == 1:
        return cubes[0]
    found = ", ".join(f"{name} {array.shape}" for name, array in arrays.items()) or "nothing"
    raise CubeError(
        f"The archive '{path}' has {len(cubes)} arrays of three dimensions; there must be exactly one, "
        f"or one named 'cube'. It holds: {found}.",
        hint="Save it as numpy.savez(path, cube=..., wavelengths=...).",
        path=path,
    )


@contextmanager
def _readable(path: Path, expected: str) -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy remarks on headers written by Python 2; they read well
            yield
    # of damaged files NumPy lets through whatever its parsers meet: even the TokenError of Python's own
    except Exception as error:
        raise CubeError(
            f"The cube '{path}' is not {expected}: {error}",
            hint="The file is damaged or of another kind. Write it again, or give it the right suffix.",
            path=path,
        ) from error
