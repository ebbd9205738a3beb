"""Lists with a value for each band, as files of named arrays have them: beside the cube, or among its attributes."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cuvis_ai_core.data.bands import in_nanometres
from cuvis_ai_core.data.formats.named import Variable, Variables
from cuvis_ai_core.data.units import Numbers

_MOST_BANDS: Final = 1 << 16
"""Longer lists are none of bands, and are not read."""

_WAVELENGTHS: Final = (
    *("wavelengths", "wavelength", "wavelengths_nm", "wavelength_nm", "wavelength_3d", "wl", "wvl", "lambda", "wave"),
    *("waves", "wvls"),
    *("center_wavelengths", "center_wavelength", "centre_wavelengths", "centre_wavelength", "central_wavelength"),
    *("band_centers", "band_centres", "bands_nm"),
)
_FWHM: Final = ("fwhm", "fwhms", "fwhm_nm", "bandwidth", "bandwidths", "band_width", "band_widths")
_GOOD: Final = ("good_wavelengths", "good_bands", "bbl", "good_band_list", "good_bands_list")
_UNITS: Final = ("units", "unit", "wavelength_units", "wavelengths_units", "wavelength units", "wavelength_unit")
_IN_NM: Final = "_nm"


class Bands(NamedTuple):
    """As in `Cube`."""

    wavelengths: Numbers | None
    fwhm: Numbers | None
    good: NDArray[np.bool_] | None


class _Found(NamedTuple):
    values: Numbers
    unit: str


def list_lengths(cube: Variable, variables: Variables, root: Mapping[str, Any]) -> list[int]:
    """Return how long the lists of wavelengths are that lie in a file."""
    return [len(found.values) for found in _lists(cube, variables, root, _WAVELENGTHS)]


def bands_of(cube: Variable, channels: int, variables: Variables, root: Mapping[str, Any], remarks: list[str]) -> Bands:
    """Return what a file says of the bands of its cube.

    Args:
        cube: The array that is the cube.
        channels: How many bands it has.
        variables: All arrays of the file.
        root: The attributes of the file.
        remarks: What somebody may want to know is added here.
    """
    stated = _fitting(cube, channels, variables, root, _WAVELENGTHS, remarks)
    width = _fitting(cube, channels, variables, root, _FWHM, remarks)
    good = _fitting(cube, channels, variables, root, _GOOD, remarks)
    if stated is None:
        return Bands(None, None, None if good is None else good.values > 0)
    wavelengths, fwhm = in_nanometres(stated.values, stated.unit, None if width is None else width.values, remarks)
    return Bands(wavelengths, fwhm, None if good is None else good.values > 0)


def _fitting(
    cube: Variable,
    channels: int,
    variables: Variables,
    root: Mapping[str, Any],
    names: tuple[str, ...],
    remarks: list[str],
) -> _Found | None:
    found = list(_lists(cube, variables, root, names))
    fits = next((each for each in found if len(each.values) == channels), None)
    if fits is None and found:
        remarks.append(
            f"The list '{names[0]}' in the file has {len(found[0].values)} values for {channels} bands; "
            "it was left out."
        )
    return fits


def _lists(cube: Variable, variables: Variables, root: Mapping[str, Any], names: tuple[str, ...]) -> Iterator[_Found]:
    """Yield the lists of a kind: of the cube itself, in its group, then elsewhere in the file."""
    for attrs in (cube.attrs, root):
        for key, value in attrs.items():
            if key.lower() in names and (values := _numbers(value)) is not None:
                yield _Found(values, _unit(attrs, key))
    for variable in sorted(variables.values(), key=lambda each: each.folder != cube.folder):
        name = variable.name.rpartition("/")[2].lower()
        if name in names and variable is not cube and _is_list(variable):
            values = _numbers(np.asarray(variable.array[...]).ravel())
            if values is not None:
                yield _Found(values, _unit(variable.attrs, name))


def _is_list(variable: Variable) -> bool:
    shape = variable.shape
    longest = max(shape, default=0)
    return np.dtype(variable.array.dtype).kind in "iufb" and 0 < longest <= _MOST_BANDS and np.prod(shape) == longest


def _numbers(value: Any) -> Numbers | None:
    try:
        values = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    return values.ravel() if values.size else None


def _unit(attrs: Mapping[str, Any], name: str) -> str:
    if name.lower().endswith(_IN_NM):
        return "nm"
    by_name = {key.lower(): value for key, value in attrs.items()}
    return next((str(by_name[key]) for key in _UNITS if by_name.get(key) is not None), "")
