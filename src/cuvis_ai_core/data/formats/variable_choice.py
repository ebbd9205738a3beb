"""Arrays with names, axes and attributes, as HDF5, NetCDF, Zarr and MATLAB files hold them; which one is the cube."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from cuvis_ai_core._nearest import nearest
from cuvis_ai_core.data.formats.stored_image import Opening
from cuvis_ai_core.errors import CubeError

RANK: Final = 3
_SHOWN: Final = 20
"""So many arrays are named in an error."""

_CUBE: Final = "cube"


@dataclass(frozen=True, slots=True, eq=False)
class Variable:
    """One array of a file, opened and not read.

    Attributes:
        name: Its path in the file, without a slash in front.
        array: What slices read from; it has `shape` and `dtype`.
        dims: Names of its axes, "" where they have none.
        attrs: What the file says of it, as plain values.
        usual: Whether its program shows its axes as height, width, channel (MATLAB).
        reversed: Whether its axes are stored in the other order than its program shows them (MATLAB in HDF5).
        again: What opens it once more; None where `array` stays readable.
    """

    name: str
    array: Any
    dims: tuple[str, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    usual: bool = False
    reversed: bool = False
    again: Opening | None = None

    def opening(self) -> Opening:
        """Return what opens it whenever a piece is read."""
        return self.again or (lambda: nullcontext(self.array))

    @property
    def shape(self) -> tuple[int, ...]:
        """Its sizes as they are stored."""
        return tuple(map(int, self.array.shape))

    @property
    def folder(self) -> str:
        """The group that it lies in."""
        return self.name.rpartition("/")[0]

    def may_be_cube(self) -> bool:
        """Tell whether it has real numbers and three axes, apart from such of one element."""
        return (
            np.dtype(self.array.dtype).kind in "iuf"
            and len(self.shape) >= RANK
            and len(self.shape) - self.shape.count(1) <= RANK
            and 0 not in self.shape
        )


Variables = Mapping[str, Variable]


def choose(file: Path, variables: Variables, wanted: str | None) -> Variable:
    """Return the array that is the cube: the one asked for, the one named `cube`, or the only one of three axes.

    Raises:
        CubeError: There is none, or several, or the one asked for is not there or is no cube.
    """
    if wanted is not None:
        return _wanted(file, variables, wanted)
    cubes = [each for each in variables.values() if each.may_be_cube()]
    named = [each for each in cubes if each.name.rpartition("/")[2].lower() == _CUBE]
    # A layer of an image with a time of one element has three axes as well.
    wide = [each for each in cubes if len(each.shape) - each.shape.count(1) == RANK]
    for found in (named, cubes, wide):
        if len(found) == 1:
            return found[0]
    raise CubeError(
        f"The file '{file}' has {len(cubes) or 'no'} arrays of three dimensions with real numbers; there must be "
        f"exactly one, or one named '{_CUBE}'. It holds: {listed(variables)}.",
        hint=f"Ask for one by name: {file}::{cubes[0].name}" if cubes else "Check that it is the right file.",
        path=file,
    )


def _wanted(file: Path, variables: Variables, wanted: str) -> Variable:
    name = wanted.strip("/")
    found = variables.get(name)
    if found is None:
        inner = [each for each in variables if each.rpartition("/")[2] == name]
        found = variables[inner[0]] if len(inner) == 1 else None
    if found is None:
        near = nearest(name, variables)
        raise CubeError(
            f"The file '{file}' has no array '{wanted}'. It holds: {listed(variables)}.",
            hint=f"Did you mean '{file}::{near}'?" if near else "Ask for one of these by its name.",
            path=file,
        )
    if not found.may_be_cube():
        sizes = " x ".join(map(str, found.shape)) or "one value"
        raise CubeError(
            f"The array '{found.name}' of the file '{file}' is {sizes} of type {found.array.dtype}; a cube is real "
            f"numbers of three dimensions. It holds: {listed(variables)}.",
            hint="Ask for another one by its name.",
            path=file,
        )
    return found


def listed(variables: Variables) -> str:
    """Return names and sizes for people."""
    shown = [f"{each.name} ({' x '.join(map(str, each.shape))}{_other(each)})" for each in variables.values()]
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return (", ".join(shown[:_SHOWN]) or "nothing") + more


def _other(variable: Variable) -> str:
    """Return the type of values that are no real numbers."""
    dtype = np.dtype(variable.array.dtype)
    return "" if dtype.kind in "iuf" or len(variable.shape) < RANK else f" of type {dtype}"
