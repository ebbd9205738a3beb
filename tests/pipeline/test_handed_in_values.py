"""What is handed in, for inputs that were written for the batches of published data modules."""

from typing import Any, ClassVar

import numpy as np
import pytest
from cuvis_ai_schemas.pipeline import PortSpec
from numpy.testing import assert_array_equal

from cuvis_ai_core.errors import PortError
from cuvis_ai_core.node import ArrayNode
from cuvis_ai_core.pipeline import Pipeline

ANY = (-1, -1, -1, -1)
WAVELENGTHS = np.array([450.4, 500.5, 611.6])


class _Echo(ArrayNode):
    """Return the wavelengths that it is given."""

    OUTPUT_SPECS: ClassVar = {"seen": PortSpec(np.generic, (-1,))}

    def forward(self, wavelengths: Any, cube: Any = None) -> dict[str, Any]:
        return {"seen": wavelengths}


class Rows(_Echo):
    """Takes them as a published data node: whole numbers, for each image."""

    INPUT_SPECS: ClassVar = {"cube": PortSpec(np.float32, ANY), "wavelengths": PortSpec(np.int32, (-1, -1))}
    OUTPUT_SPECS: ClassVar = {"seen": PortSpec(np.generic, (-1, -1))}


class Whole(_Echo):
    """Takes whole numbers of any type."""

    INPUT_SPECS: ClassVar = {"wavelengths": PortSpec(np.integer, (-1,))}


class Plain(_Echo):
    """Takes them as a cube gives them."""

    INPUT_SPECS: ClassVar = {"wavelengths": PortSpec(np.float64, (-1,))}


class Integers(_Echo):
    """Takes the type of the first, and the axes of the last."""

    INPUT_SPECS: ClassVar = {"wavelengths": PortSpec(np.int32, (-1,))}


class Counts(ArrayNode):
    """Takes the counts of a sensor."""

    INPUT_SPECS: ClassVar = {"cube": PortSpec(np.uint16, ANY)}
    OUTPUT_SPECS: ClassVar = {"cube": PortSpec(np.uint16, ANY)}

    def forward(self, cube: Any) -> dict[str, Any]:
        """Return them."""
        return {"cube": cube}


def _pipeline(*classes: type[ArrayNode]) -> Pipeline:
    return Pipeline("handed in").add(*(each(name=each.__name__) for each in classes))


@pytest.mark.parametrize("images", [1, 2])
@pytest.mark.parametrize("run", ["forward", "forward_tiled"])
def test_each_input_gets_wavelengths_as_it_takes_them(run: str, images: int) -> None:
    """One value for all, in whole nm or as it is, with a row for each image or without."""
    batch = {"cube": np.ones((images, 4, 5, 3), np.float32), "wavelengths": WAVELENGTHS}
    seen = getattr(_pipeline(Rows, Whole, Plain, Integers), run)(batch)
    nm = [450, 500, 612]
    for name, expected in {"Rows": [nm] * images, "Whole": nm, "Plain": WAVELENGTHS, "Integers": nm}.items():
        assert_array_equal(seen[name, "seen"], expected)
    assert {seen[name, "seen"].dtype.name for name in ("Rows", "Whole", "Integers")} == {"int32"}


class Table(_Echo):
    """Takes rows of wavelengths beside what is called a cube, and is none."""

    INPUT_SPECS: ClassVar = {"cube": PortSpec(np.float32, (-1, -1)), "wavelengths": PortSpec(np.int32, (-1, -1))}
    OUTPUT_SPECS: ClassVar = {"seen": PortSpec(np.generic, (-1, -1))}


def test_without_images_there_is_one_row() -> None:
    """What is no batch of cubes says nothing of how many there are."""
    seen = _pipeline(Table).forward({"cube": np.ones((7, 3), np.float32), "wavelengths": WAVELENGTHS})
    assert_array_equal(seen["Table", "seen"], [[450, 500, 612]])


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_no_counts_are_counts(dtype: str) -> None:
    """A batch without images holds none that would be others."""
    taken = _pipeline(Counts).forward({"cube": np.zeros((0, 2, 2, 3), dtype)})["Counts", "cube"]
    assert (taken.dtype, taken.shape) == (np.uint16, (0, 2, 2, 3))


class Wide(Counts):
    """Takes counts of 32 bits."""

    INPUT_SPECS: ClassVar = {"cube": PortSpec(np.int32, ANY)}
    OUTPUT_SPECS: ClassVar = {"cube": PortSpec(np.int32, ANY)}


@pytest.mark.parametrize(
    ("value", "dtype", "taken"),
    [
        (2.0**31, "float32", False),
        (-(2.0**31), "float32", True),
        (2.0**31 - 128, "float32", True),
        (3.0, "float16", True),
    ],
)
def test_limits_are_those_of_the_integers(value: float, dtype: str, *, taken: bool) -> None:
    """And not what real numbers make of them: 2147483647 is 2147483648 in float32."""
    cube = np.full((1, 1, 1, 2), value, dtype)
    if taken:
        assert_array_equal(_pipeline(Wide).forward({"cube": cube})["Wide", "cube"], cube)
        return
    with pytest.raises(PortError, match="no whole numbers that int32 has"):
        _pipeline(Wide).forward({"cube": cube})


def test_rows_that_are_the_same_are_one() -> None:
    """A data module gives a row for each image; a node that takes one gets one, but not where they differ."""
    rows = np.array([[450, 500], [450, 500]], np.int32)
    assert_array_equal(_pipeline(Plain).forward({"wavelengths": rows})["Plain", "seen"], [450.0, 500.0])
    with pytest.raises(PortError, match=r"got int\d+ \[2, 2\]"):
        _pipeline(Plain).forward({"wavelengths": rows + np.array([[0], [1]])})


@pytest.mark.parametrize("dtype", ["int16", "uint8", "int64", "float32", "float64"])
def test_counts_of_another_type_are_taken_where_nothing_is_lost(dtype: str) -> None:
    """ENVI files of int16, and whole numbers in float32, for a node that takes uint16."""
    cube = np.arange(12).reshape(1, 2, 2, 3).astype(dtype)
    taken = _pipeline(Counts).forward({"cube": cube})["Counts", "cube"]
    assert taken.dtype == np.uint16
    assert_array_equal(taken, cube)


@pytest.mark.parametrize(
    ("value", "dtype", "told"),
    [(0.5, "float32", "processing mode Raw"), (np.nan, "float64", "no whole numbers"), (-1, "int16", None),
     (70000, "int32", None), (70000.0, "float32", "that uint16 has"), (1, "bool", None)],
)  # fmt: skip
def test_counts_that_would_be_others_are_refused(value: float, dtype: str, told: str | None) -> None:
    """With what to do, where they are real numbers."""
    with pytest.raises(PortError, match=f"got {dtype}") as refused:
        _pipeline(Counts).forward({"cube": np.full((1, 2, 2, 3), value).astype(dtype)})
    assert (refused.value.hint is None) if told is None else told in str(refused.value.hint)


def test_tensors_are_taken_alike() -> None:
    """With the library and the place that they have."""
    torch = pytest.importorskip("torch")
    batch = {"cube": torch.ones(2, 4, 5, 3), "wavelengths": torch.tensor(WAVELENGTHS)}
    seen = _pipeline(Rows, Whole).forward(batch)
    assert_array_equal(seen["Rows", "seen"], [[450, 500, 612]] * 2)
    assert_array_equal(seen["Whole", "seen"], [450, 500, 612])
    for value, dtype in ((65535.0, torch.float32), (192.0, torch.bfloat16), (192.0, torch.float16)):
        taken = _pipeline(Counts).forward({"cube": torch.full((1, 2, 2, 3), value, dtype=dtype)})["Counts", "cube"]
        assert_array_equal(taken, np.full((1, 2, 2, 3), value))
