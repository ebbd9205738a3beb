"""Which array of a file is its cube, and which of its axes are which, asked of arrays in memory."""

from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuvis_ai_core.data.formats.axis_order import axes_of
from cuvis_ai_core.data.formats.variable_choice import Variable, choose, listed
from cuvis_ai_core.errors import CubeError

FILE = Path("scene.h5")


def _variable(name: str, *shape: int, dims: tuple[str, ...] = (), dtype: str = "f4", **options: Any) -> Variable:
    return Variable(name, np.zeros(shape, dtype), dims or ("",) * len(shape), **options)


def _by_name(*variables: Variable) -> dict[str, Variable]:
    return {each.name: each for each in variables}


@pytest.mark.parametrize(
    ("shape", "dtype", "is_cube"),
    [
        ((2, 3, 4), "f4", True),
        ((2, 3, 4), "u1", True),
        ((2, 3, 4), "c8", False),
        ((2, 3, 4), "?", False),
        ((2, 3), "f4", False),
        ((2, 0, 4), "f4", False),
        ((1, 2, 3, 4), "f4", True),
        ((2, 2, 3, 4), "f4", False),
        ((1, 1, 1, 1), "f4", True),
    ],
)
def test_what_may_be_a_cube(shape: tuple[int, ...], dtype: str, *, is_cube: bool) -> None:
    """Real numbers of three axes, apart from such of one element."""
    assert _variable("a", *shape, dtype=dtype).may_be_cube() == is_cube


@pytest.mark.parametrize(
    ("names", "wanted", "chosen"),
    [
        (["a", "b/Cube", "cubes"], None, "b/Cube"),
        (["a"], None, "a"),
        (["a/data", "b/data"], "/b/data/", "b/data"),
        (["a/data", "b/other"], "other", "b/other"),
        (["a/cube", "b/cube"], None, None),
        (["a/data", "b/data"], "data", None),
        (["a", "b"], None, None),
    ],
)
def test_one_of_several(names: list[str], wanted: str | None, chosen: str | None) -> None:
    """The one asked for by its path or its clear last name, the one called cube, or the only one."""
    variables = _by_name(*(_variable(name, 2, 3, 4) for name in names), _variable("cube/line", 5))
    if chosen is not None:
        assert choose(FILE, variables, wanted).name == chosen
        return
    with pytest.raises(CubeError) as error:
        choose(FILE, variables, wanted)
    assert error.value.path == FILE
    assert all(name in error.value.message for name in names)
    assert "scene.h5" in str(error.value.hint or "") or "Ask for one of these" in str(error.value.hint)


@pytest.mark.parametrize(
    ("layer", "chosen"), [((1, 3, 4), "image"), ((1, 2, 3, 1), "image"), ((5, 3, 4), None), ((1, 5, 3, 4), None)]
)
def test_layers_beside_an_image(layer: tuple[int, ...], chosen: str | None) -> None:
    """A layer with a time of one element, as of quality, is no second image: it has two axes."""
    variables = _by_name(_variable("quality", *layer), _variable("image", 1, 5, 3, 4))
    if chosen is None:
        with pytest.raises(CubeError, match="has 2 arrays of three dimensions"):
            choose(FILE, variables, None)
    else:
        assert choose(FILE, variables, None).name == chosen


@pytest.mark.parametrize(("count", "more"), [(20, ""), (21, " and 1 more"), (23, " and 3 more")])
def test_twenty_arrays_are_named(count: int, more: str) -> None:
    """And how many more there are; types where they are no real numbers of an image."""
    variables = _by_name(*(_variable(f"v{number:02}", 2) for number in range(count)))
    assert listed(variables) == ", ".join(f"v{number:02} (2)" for number in range(20)) + more
    found = listed(_by_name(_variable("m", 2, 3, 4, dtype="?"), _variable("t", 2, 3, dtype="?")))
    assert found == "m (2 x 3 x 4 of type bool), t (2 x 3)"
    assert listed({}) == "nothing"


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("named", [("y", "x", "band"), ("Lines", "samples", "wavelength"), ("lat", "lon", "b")])
def test_names_order_axes(order: tuple[int, ...], named: tuple[str, ...]) -> None:
    """Whatever their order is, and whether others are as long as the list of wavelengths."""
    remarks: list[str] = []
    cube = _variable("a", 2, 3, 4, dims=tuple(named[axis] for axis in order), attrs={"interleave": "bil"})
    assert axes_of(cube, [2], remarks) == tuple(order.index(axis) for axis in range(3))
    assert remarks == []


@pytest.mark.parametrize(
    ("dims", "options", "lengths", "axes"),
    [
        (("band", "", ""), {}, [], (1, 2, 0)),
        (("blue_bands", "scans", "pixels"), {}, [], (1, 2, 0)),
        (("", "x", "y"), {}, [3], (2, 1, 0)),
        (("band", "x", ""), {}, [], (2, 1, 0)),
        (("band", "", "y"), {}, [], (2, 1, 0)),
        (("band", "y", ""), {}, [], (1, 2, 0)),
        (("", "band", ""), {}, [4], (0, 2, 1)),
        (("", "", ""), {}, [2], (1, 2, 0)),
        (("", "", ""), {}, [7, 3], (0, 2, 1)),
        (("", "", ""), {"attrs": {"interleave": "BSQ"}}, [4], (1, 2, 0)),
        (("", "", ""), {"attrs": {"interleave": "bil"}, "usual": True}, [], (0, 1, 2)),
        (("", "", ""), {"usual": True}, [], (0, 1, 2)),
        (("", "", ""), {"usual": True}, [2], (1, 2, 0)),
        (("", "", ""), {"usual": True, "reversed": True}, [], (2, 1, 0)),
        (("", "", ""), {"usual": True, "reversed": True}, [4], (1, 0, 2)),
    ],
)
def test_what_tells_axes_without_names(
    dims: tuple[str, ...], options: dict[str, Any], lengths: list[int], axes: tuple[int, ...]
) -> None:
    """One name, the interleave that a program says, the length of a list, or the habit of a program: nothing to say."""
    remarks: list[str] = []
    assert axes_of(_variable("a", 2, 3, 4, dims=dims, **options), lengths, remarks) == axes
    assert remarks == []


def test_two_names_leave_the_channel() -> None:
    """An axis whose name nobody knows is the channel beside height and width, which is said."""
    remarks: list[str] = []
    assert axes_of(_variable("a", 2, 3, 4, dims=("date", "y", "x")), [3], remarks) == (1, 2, 0)
    assert remarks == ["The axis 'date' of 'a' was taken for the channel: the others have names."]


@pytest.mark.parametrize("lengths", [[], [5], [4]])
def test_what_nothing_tells_is_assumed_and_said(lengths: list[int]) -> None:
    """Also where a list is as long as two axes."""
    remarks: list[str] = []
    assert axes_of(_variable("a", 4, 4, 3), lengths, remarks) == (0, 1, 2)
    assert remarks == ["The axes of 'a' have no names; they were taken for height, width, channel."]


@pytest.mark.parametrize(
    ("shape", "dims", "axes"),
    [
        ((1, 2, 3, 4), ("", "", "", ""), (1, 2, 3)),
        ((2, 3, 4, 1), ("", "", "", ""), (0, 1, 2)),
        ((1, 1, 3, 4), ("", "", "", ""), (1, 2, 3)),
        ((1, 2, 3, 1), ("band", "y", "x", "time"), (1, 2, 0)),
        ((1, 1, 2, 3, 1), ("band", "t", "y", "x", "z"), (2, 3, 0)),
    ],
)
def test_axes_of_one_element_are_left_out(shape: tuple[int, ...], dims: tuple[str, ...], axes: tuple[int, ...]) -> None:
    """Those that nothing names first, until three are left."""
    assert axes_of(_variable("a", *shape, dims=dims), [], []) == axes
