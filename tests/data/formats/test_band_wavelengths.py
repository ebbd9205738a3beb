"""Lists of a file that say something of each band, found among attributes and arrays in memory."""

from typing import Any

import numpy as np
import pytest

from cuvis_ai_core.data.formats.band_wavelengths import attribute_lists, bands_of, list_lengths
from cuvis_ai_core.data.formats.variable_choice import Variable

NM = [400.0, 500.0, 700.0]


def _bands(
    root: dict[str, Any] | None = None,
    attrs: dict[str, Any] | None = None,
    dim: str = "",
    **arrays: Any,
) -> tuple[list[float] | None, list[float] | None, list[bool] | None, list[str]]:
    """Return wavelengths, widths and good bands of a cube of three bands in the group `g`, and what is remarked."""
    cube = Variable("g/cube", np.zeros((2, 2, 3)), ("", "", dim), attrs or {})
    variables = {"g/cube": cube}
    for key, given in arrays.items():
        values, about = given if isinstance(given, tuple) else (given, {})
        name, array = key.replace("__", "/"), np.asarray(values)
        variables[name] = Variable(name, array, ("",) * array.ndim, about)
    remarks: list[str] = []
    found = bands_of(cube, 2, variables, root or {}, remarks)
    lists = [None if each is None else each.tolist() for each in found]
    return lists[0], lists[1], lists[2], remarks


@pytest.mark.parametrize(("name", "shape"), [("wl", (2, 3)), ("other__wavelengths", (3, 2, 2))])
def test_wavelengths_of_each_pixel_are_said(name: str, shape: tuple[int, ...]) -> None:
    """They are no list of the bands; where there is a list, nothing is said."""
    arrays: Any = {name: np.full(shape, 500.0)}
    sizes = " x ".join(map(str, shape))
    remark = f"The array '{name.replace('__', '/')}' has {sizes} wavelengths, not one for each band; it was left out."
    assert _bands(**arrays) == (None, None, None, [remark])
    assert _bands(**arrays, root={"wavelengths": NM})[0] == NM
    assert remark not in _bands(**arrays, root={"wavelengths": NM})[3]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"attrs": {"wavelength": [1.0, 2.0, 3.0], "wavelength_units": "um"}}, [1000, 2000, 3000]),
        ({"attrs": {"Wavelengths": NM}, "root": {"wavelengths": [1, 2, 3]}, "g__wl": [4, 5, 6]}, NM),
        ({"root": {"wavelengths": "400, 500, 700"}, "g__wl": [4, 5, 6]}, NM),
        ({"root": {"band wavelengths": ["400 nm", "0.5 um", "700 nm"]}}, None),
        ({"root": {"band wavelengths": ["400 nm", "500 nm", "700 nm"]}}, NM),
        ({"other__wl": [[1.0, 2.0, 3.0]], "g__wl": [NM]}, NM),
        ({"other__wl": NM}, NM),
        ({"wl": [[each] for each in NM]}, NM),
        ({"g__lines": NM}, None),
        ({"g__wl": NM[:2], "other__wl": NM}, NM),
        ({"wl": ([0.4, 0.5, 0.7], {"units": "um"})}, NM),
        ({"wavelength_um": [0.4, 0.5, 0.7]}, NM),
        ({"wavelength_um": (NM, {"units": "nm"})}, NM),
        ({"table": np.array([(each, 1) for each in NM], [("wl_nm", "f8"), ("x", "f8")])}, NM),
        ({"wl": np.array(["400", "500", "700"])}, NM),
        ({"wl": np.array(["0.4 um", "0.5 um", "0.7 um"])}, NM),
        ({"attrs": {"long_name": ["400 nm", "500 nm", "700 nm"]}}, NM),
        ({"attrs": {"long_name": ["400 nm", "500 nm"]}}, None),
        ({"attrs": {"title": ["400 nm", "500 nm", "700 nm"]}}, None),
        ({"centre": ([0.4, 0.5, 0.7], {"units": "um", "standard_name": "radiation_wavelength"})}, NM),
        ({"centre": (NM, {"standard_name": "radiation_frequency"})}, None),
        ({"dim": "band", "band": NM}, NM),
        ({"dim": "band", "band": [1.0, 2.0, 3.0], "g__band": NM}, NM),
        ({"dim": "band", "band": [400.0, 401.0, 402.0]}, None),
        ({"dim": "band", "band": ([400.0, 401.0, 402.0], {"units": "nm"})}, [400, 401, 402]),
        ({"dim": "band", "band": [200.0, 300.0, 400.0]}, None),
        ({"dim": "band", "band": NM, "wl": [1000.0, 2000.0, 3000.0]}, [1000, 2000, 3000]),
    ],
)
def test_where_wavelengths_are_found(given: dict[str, Any], found: list[float] | None) -> None:
    """With the cube, in the file, in its group, elsewhere; in labels and coordinates where no list has that name."""
    wavelengths, fwhm, good, _ = _bands(**given)
    assert wavelengths is None if found is None else wavelengths == pytest.approx(found)
    assert (fwhm, good) == (None, None)


@pytest.mark.parametrize(
    ("given", "fwhm", "good"),
    [
        ({"wl": NM, "fwhm": [4, 5, 6], "bbl": [1, 0, 2]}, [4, 5, 6], [True, False, True]),
        ({"wl": ([0.4, 0.5, 0.7], {"units": "um"}), "bandwidth": [0.01, 0.02, 0.03]}, [10, 20, 30], None),
        ({"fwhm": [4, 5, 6], "good": [1, 0, -1]}, None, [True, False, False]),
        ({"root": {"wl": NM, "FWHM (nm)": [4, 5, 6], "Good Bands": "1 1 0"}}, [4, 5, 6], [True, True, False]),
    ],
)
def test_widths_and_good_bands(given: dict[str, Any], fwhm: list[float] | None, good: list[bool] | None) -> None:
    """Widths have the unit of the wavelengths and are nothing without them; positive numbers are good bands."""
    _, found, is_good, _ = _bands(**given)
    assert found is None if fwhm is None else found == pytest.approx(fwhm)
    assert is_good == good


def test_a_list_that_does_not_fit_is_told_and_left_out() -> None:
    """With both numbers; one that fits says nothing."""
    wavelengths, fwhm, _, remarks = _bands(wl_nm=NM, fwhm=[1.0, 2.0])
    assert (wavelengths, fwhm) == (NM, None)
    assert remarks == ["The list 'fwhm' in the file has 2 values for 3 bands; it was left out."]
    assert _bands(g__wl=NM[:2], wl_nm=NM)[3] == []


@pytest.mark.parametrize(
    ("attrs", "found"),
    [
        ({"wavelength": NM, "units": "um"}, "um"),
        ({"wavelength": NM, "units": "reflectance"}, ""),
        ({"wavelength": NM, "units": "1/cm"}, "1/cm"),
        ({"wavelength": NM, "wavelength_units": "steps"}, "steps"),
        ({"wavelength_um": NM, "units": "reflectance"}, "um"),
        ({"Wavenumber": NM}, "cm-1"),
    ],
)
def test_the_unit_of_a_list_among_attributes(attrs: dict[str, Any], found: str) -> None:
    """The one that is said of wavelengths, or is a length; `units` are mostly those of the values."""
    names = ("wavelength", "wavenumber")
    assert [each.unit for each in attribute_lists(attrs, names)] == [found]
    assert list(attribute_lists(attrs, ("fwhm",))) == []


def test_lengths_of_lists_tell_axes() -> None:
    """Those of wavelengths alone, each list of the file."""
    cube = Variable("cube", np.zeros((2, 2, 3)), ("",) * 3)
    others = {name: Variable(name, np.ones(size), ("",)) for name, size in (("wl", 3), ("fwhm", 4), ("wave", 5))}
    assert list_lengths(cube, {"cube": cube, **others}, {"wvl": [1.0, 2.0]}) == [2, 3, 5]


@pytest.mark.parametrize("name", ["good_wavelengths", "bad_wavelengths"])
def test_a_list_of_good_bands_is_none_of_wavelengths(name: str) -> None:
    """Its name ends as that of the list of one part of a sensor, `red_wavelength`, and its axis is the same."""
    cube = Variable("cube", np.zeros((2, 2, 3)), ("y", "x", "band"))
    flags = Variable(name, np.array([1, 0, 1]), ("band",))
    remarks: list[str] = []
    found = bands_of(cube, 2, {"cube": cube, name: flags}, {}, remarks)
    assert (found.wavelengths, remarks) == (None, [])
