"""Wavelengths, widths and good bands in files of named arrays: what they are called, and which are of the cube."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cuvis_ai_core.data.formats.variable_choice import Variable, Variables
from cuvis_ai_core.data.wavelength_texts import lengths_in, numbers_in
from cuvis_ai_core.data.wavelength_units import INVERSE, KNOWN, NO_UNIT, Numbers, in_nanometres, unit_of

_MOST_BANDS: Final = 1 << 16
"""Longer lists are none of bands, and are not read."""

WAVELENGTHS: Final = (
    *("wavelengths", "wavelength", "wavelength_3d", "wl", "wvl", "lambda", "wave", "waves", "wvls"),
    *("center_wavelengths", "center_wavelength", "centre_wavelengths", "centre_wavelength", "central_wavelength"),
    *("central_wavelengths", "band_wavelengths", "band_wavelength", "spectral_bands", "wavenumber", "wavenumbers"),
    *("band_centers", "band_centres", "band_center", "band_centre", "bands_nm", "nm"),
)
FWHM: Final = ("fwhm", "fwhms", "bandwidth", "bandwidths", "band_width", "band_widths")
GOOD: Final = (
    *("good_wavelengths", "good_bands", "bbl", "good_band_list", "good_bands_list"),
    *("bad_band_multiplier", "good"),
)
_LABELS: Final = ("long_name", "band_names", "band_name", "band_descriptions", "descriptions")
"""Attributes with a text for each band."""

_WAVENUMBER: Final = "cm-1"
_UNITS: Final = ("wavelength_units", "wavelengths_units", "wavelength_unit", "units", "unit")
_IN_NAME: Final = re.compile(r"(.+)_(nm|nanomet\w+|um|micromet\w+|microns?)")
"""A name that ends in a unit."""

_STANDARD: Final = {
    "radiation_wavelength": "wavelength",
    "sensor_band_central_radiation_wavelength": "wavelength",
    "sensor_band_central_radiation_wavenumber": "wavenumber",
}
"""Standard names of CF, whatever a list is called."""

_OF_SOME: Final = re.compile(r"(?!(good|bad|valid)_)\w+_wavelengths?")
"""A list of the bands of one part of a sensor, beside others: `red_wavelength`; which ones are good is another list."""

_LEAST: Final = 250.0
"""Smaller coordinates without a unit may count bands."""


class Bands(NamedTuple):
    """As in `Cube`."""

    wavelengths: Numbers | None
    fwhm: Numbers | None
    good: NDArray[np.bool_] | None


class Listed(NamedTuple):
    """A list of numbers, and the unit that is said of it, or ""."""

    values: Numbers
    unit: str


def list_lengths(cube: Variable, variables: Variables, root: Mapping[str, Any]) -> list[int]:
    """Return how long the lists of wavelengths are that lie in a file."""
    return [len(found.values) for found in _lists(cube, variables, root, WAVELENGTHS)]


def bands_of(cube: Variable, axis: int, variables: Variables, root: Mapping[str, Any], remarks: list[str]) -> Bands:
    """Return what a file says of the bands of its cube.

    Args:
        cube: The array that is the cube.
        axis: Which of its axes has the bands.
        variables: All arrays of the file.
        root: The attributes of the file.
        remarks: What somebody may want to know is added here.
    """
    channels = cube.shape[axis]
    own = _of_axis(cube, axis, variables)
    stated = _fitting(channels, list(_lists(cube, variables, root, WAVELENGTHS)), "wavelengths", remarks) or own
    width = _fitting(channels, list(_lists(cube, variables, root, FWHM)), "fwhm", remarks)
    good = _fitting(channels, list(_lists(cube, variables, root, GOOD)), "good_wavelengths", remarks)
    if stated is None:
        remarks.extend(_of_each_pixel(cube, variables))
        return Bands(None, None, None if good is None else good.values > 0)
    wavelengths, fwhm = in_nanometres(stated.values, stated.unit, None if width is None else width.values, remarks)
    return Bands(wavelengths, fwhm, None if good is None else good.values > 0)


def attribute_lists(attrs: Mapping[str, Any], names: Sequence[str]) -> Iterator[Listed]:
    """Yield the lists of a kind among attributes, as numbers or as texts of them.

    Args:
        attrs: The attributes.
        names: What they may be called, in small letters with `_` for all else; a unit may follow.
    """
    for key, value in attrs.items():
        unit = _unit_of_name(key, names)
        if unit is None:
            continue
        if (values := numbers_in(value)) is not None:
            yield Listed(values, _unit(attrs, of_list=False) or unit)
        elif (
            lengths := lengths_in([value] if isinstance(value, str | bytes) else np.ravel(value).tolist())
        ) is not None:
            yield Listed(*lengths)


def _of_each_pixel(cube: Variable, variables: Variables) -> Iterator[str]:
    """Say which wavelengths are no list: some files have them for each column, or each pixel."""
    for variable in variables.values():
        sizes = [size for size in variable.shape if size > 1]
        named = _unit_of_name(variable.name.rpartition("/")[2], WAVELENGTHS) is not None
        if named and variable is not cube and len(sizes) > 1:
            shown = " x ".join(map(str, variable.shape))
            yield f"The array '{variable.name}' has {shown} wavelengths, not one for each band; it was left out."


def _fitting(channels: int, found: Sequence[Listed], name: str, remarks: list[str]) -> Listed | None:
    fits = next((each for each in found if len(each.values) == channels), None)
    if fits is None and found:
        remarks.append(
            f"The list '{name}' in the file has {len(found[0].values)} values for {channels} bands; it was left out."
        )
    return fits


def _lists(cube: Variable, variables: Variables, root: Mapping[str, Any], names: tuple[str, ...]) -> Iterator[Listed]:
    """Yield the lists of a kind: of the cube itself, in its group, then elsewhere in the file."""
    for attrs in (cube.attrs, root):
        yield from attribute_lists(attrs, names)
    # False sorts before True: those in the cube's own group first.
    for variable in sorted(variables.values(), key=lambda each: each.folder != cube.folder):
        if variable is cube or not _is_list(variable):
            continue
        for column in np.dtype(variable.array.dtype).names or ():
            unit = _unit_of_name(column, names)
            if unit is not None and (values := numbers_in(variable.array[column])) is not None:
                yield Listed(values, unit)
        standard = _STANDARD.get(str(variable.attrs.get("standard_name")))
        unit = _unit_of_name(standard or variable.name.rpartition("/")[2], names)
        if unit is not None and (listed := _values(variable)) is not None:
            yield Listed(listed.values, listed.unit or _unit(variable.attrs) or unit)


def _of_axis(cube: Variable, axis: int, variables: Variables) -> Listed | None:
    """Return the wavelengths in the labels of the bands, or the coordinate of their axis where it is wavelengths."""
    for key, value in cube.attrs.items():
        if _plain(key) in _LABELS and isinstance(value, list) and len(value) == cube.shape[axis]:
            labels = lengths_in(value)
            if labels is not None:
                return Listed(*labels)
    dim = cube.dims[axis]
    for each in variables.values() if dim else ():
        name = _plain(each.name.rpartition("/")[2])
        if each.dims == (dim,) and _OF_SOME.fullmatch(name) and _is_list(each) and (listed := _values(each)):
            return Listed(listed.values, listed.unit or _unit(each.attrs))
    variable = next((variables[path] for path in (f"{cube.folder}/{dim}".strip("/"), dim) if path in variables), None)
    if variable is None or not _is_list(variable) or (found := _values(variable)) is None:
        return None
    unit = found.unit or _unit(variable.attrs)
    is_length = unit_of(unit) in KNOWN - NO_UNIT
    # 400, 401, 402 may be numbers of bands as well as nanometres: only a unit tells.
    counts = len(found.values) > 1 and bool((np.diff(found.values) == 1).all())
    return Listed(found.values, unit) if is_length or (not counts and found.values.min() >= _LEAST) else None


def _values(variable: Variable) -> Listed | None:
    """Return the numbers of a list, or the lengths in its texts."""
    if np.dtype(variable.array.dtype).names:
        return None
    content = np.asarray(variable.array[...]).ravel()
    if content.dtype.kind in "iufb":
        return Listed(content.astype(np.float64), "")
    if (values := numbers_in(content.tolist())) is not None:
        return Listed(values, "")
    found = lengths_in(content.tolist())
    return None if found is None else Listed(*found)


def _is_list(variable: Variable) -> bool:
    shape = variable.shape
    longest = max(shape, default=0)
    return (
        # Looked at by shape: a list may lie as a row, a column, or a variable of one dimension.
        np.dtype(variable.array.dtype).kind in "iufbOSUTV" and 0 < longest <= _MOST_BANDS and np.prod(shape) == longest
    )


def _plain(name: str) -> str:
    """Return a name in small letters with `_` for all else."""
    return re.sub(r"[\W_]+", "_", name.lower()).strip("_")


def _unit_of_name(name: str, names: Sequence[str]) -> str | None:
    """Return the unit that a name implies, or "", if it is one of some names; else None."""
    plain = _plain(name)
    ends = _IN_NAME.fullmatch(plain)
    if plain not in names and (ends is None or ends[1] not in names):
        return None
    return ends[2] if ends else _WAVENUMBER if plain.startswith("wavenumber") else ""


def _unit(attrs: Mapping[str, Any], *, of_list: bool = True) -> str:
    """Return the unit that attributes name; beside other attributes `units` may be that of the cube."""
    by_name = {_plain(key): value for key, value in attrs.items()}
    for key in _UNITS:
        unit = by_name.get(key)
        if unit is not None and (of_list or key.startswith("wave") or unit_of(str(unit)) in KNOWN | INVERSE):
            return str(unit)
    return ""
