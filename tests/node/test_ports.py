import typing
from typing import Any, ClassVar

import numpy as np
import pytest
from cuvis_ai_schemas.pipeline import PortSpec
from hypothesis import given
from hypothesis import strategies as st

from cuvis_ai_core.errors import InvalidNodeError
from cuvis_ai_core.node.dtypes import dtype_implies, dtype_name, dtypes_overlap
from cuvis_ai_core.node.ports import Port, read_ports, type_text


class TorchDtype:
    """Looks like a dtype of torch: known by its text alone."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return f"torch.{self._name}"


class Tensor:
    """Named like torch's tensor type."""


class Detections:
    """A type of some plugin."""


@pytest.mark.parametrize(
    ("declared", "name"),
    [
        (np.float32, "float32"),
        (np.dtype("float32"), "float32"),
        (np.dtype(">f4"), "float32"),
        ("float32", "float32"),
        ("torch.float32", "float32"),
        ("np.float32", "float32"),
        ("numpy.uint16", "uint16"),
        (TorchDtype("float32"), "float32"),
        (TorchDtype("bfloat16"), "bfloat16"),
        (TorchDtype("int64"), "int64"),
        ("double", "float64"),
        ("long", "int64"),
        (np.bool_, "bool"),
        (bool, "bool"),
        (np.dtype("<U5"), "str"),
        (np.str_, "str"),
        (str, "str"),
        (int, "int"),
        (float, "float"),
        (dict, "dict"),
        (list[str], "list"),
        (dict[str, int], "dict"),
        (np.ndarray, "array"),
        (Tensor, "array"),
        (np.generic, "array"),
        (np.floating, "floating"),
        (np.integer, "integer"),
        (np.number, "number"),
        (object, "any"),
        (np.dtype(object), "any"),
        (typing.Any, "any"),
        (int | None, "any"),
        (typing.Optional[int], "any"),  # noqa: UP045 - this spelling is another type at run time
        (Detections, "Detections"),
    ],
)
def test_a_dtype_of_any_library_has_one_name(declared: object, name: str) -> None:
    """NumPy, torch, Python types and text meet in one canonical name."""
    assert dtype_name(declared) == name


@pytest.mark.parametrize(
    ("left", "right", "fits"),
    [
        ("float32", "float32", True),
        ("float32", "float64", False),
        ("float32", "uint8", False),
        ("floating", "float32", True),
        ("floating", "integer", False),
        ("integer", "uint16", True),
        ("signedinteger", "uint16", False),
        ("number", "complex64", True),
        ("number", "bool", False),
        ("array", "bool", True),
        ("array", "floating", True),
        ("array", "str", False),
        ("any", "str", True),
        ("any", "float32", True),
        ("float", "float32", True),
        ("int", "int64", True),
        ("int", "float", False),
        ("Detections", "Detections", True),
        ("Detections", "Masks", False),
    ],
)
def test_two_ports_fit_where_some_value_fits_both(left: str, right: str, *, fits: bool) -> None:
    """Families contain concrete dtypes; the question is symmetric."""
    assert dtypes_overlap(left, right) is fits
    assert dtypes_overlap(right, left) is fits


@pytest.mark.parametrize(
    ("given_dtype", "wanted", "implied"),
    [
        ("float32", "floating", True),
        ("floating", "float32", False),
        ("integer", "number", True),
        ("str", "any", True),
        ("any", "str", False),
        ("any", "any", True),
        ("array", "number", False),
    ],
)
def test_a_narrow_dtype_implies_a_wide_one(given_dtype: str, wanted: str, *, implied: bool) -> None:
    """One direction only: `floating` promises no `float32`."""
    assert dtype_implies(given_dtype, wanted) is implied


DTYPES = st.sampled_from(
    ["float32", "uint8", "bool", "str", "any", "floating", "integer", "number", "array", "float", "complex64"]
)


@given(DTYPES, DTYPES)
def test_what_implies_also_overlaps(left: str, right: str) -> None:
    """The two relations agree, whatever the dtypes."""
    if dtype_implies(left, right):
        assert dtypes_overlap(left, right)


def ports_of(direction: str = "INPUT_SPECS", **specs: Any) -> dict[str, Port]:
    """Return the ports of a class with these declarations."""
    return read_ports(type("Declared", (), {direction: specs}), direction)


def test_a_port_spec_is_read_with_all_its_fields() -> None:
    """Nothing that `PortSpec` says is lost."""
    spec = PortSpec(dtype=np.float32, shape=(-1, "bands", 3), description="A cube", optional=True)
    assert ports_of(cube=spec) == {
        "cube": Port("cube", "float32", (-1, "bands", 3), "A cube", optional=True, variadic=False)
    }


def test_a_list_with_one_spec_and_the_flag_both_mean_fan_in() -> None:
    """The two generations of the schemas spell fan-in differently."""
    ports = ports_of(
        old=[PortSpec(dtype=np.float32, shape=(-1,))],
        new={"dtype": "float32", "shape": (-1,), "variadic": True},
        single=PortSpec(dtype=np.float32, shape=(-1,)),
    )
    assert [port.variadic for port in ports.values()] == [True, True, False]


def test_a_plain_dict_declares_a_port() -> None:
    """Oldest plugins declare ports without `PortSpec`."""
    assert ports_of("OUTPUT_SPECS", mask={"dtype": "bool", "shape": [-1, 1]}) == {"mask": Port("mask", "bool", (-1, 1))}


@pytest.mark.parametrize(
    "spec",
    [
        None,
        np.float32,
        {},
        {"dtype": "float32"},
        {"shape": (1,)},
        [],
        [PortSpec(np.float32, ()), PortSpec(np.float32, ())],
        {"dtype": "float32", "shape": 3},
        {"dtype": "float32", "shape": "size"},
        {"dtype": "float32", "shape": (1.5,)},
        {"dtype": "float32", "shape": (-2,)},
        {"dtype": "float32", "shape": (True,)},
        {"dtype": "float32", "shape": ("no name",)},
    ],
)
def test_what_declares_no_port_is_an_error_that_names_it(spec: object) -> None:
    """The message has class, port and a correct declaration."""
    with pytest.raises(InvalidNodeError, match=r"Declared\.INPUT_SPECS\['cube'\].*declares no port") as error:
        ports_of(cube=spec)
    assert "PortSpec(dtype=np.float32" in str(error.value)


class Sized:
    """A node with attributes that ports name as sizes."""

    bands: ClassVar[Any] = np.int64(61)
    unknown: ClassVar[Any] = None
    flag: ClassVar[Any] = True
    fraction: ClassVar[Any] = 2.0
    negative: ClassVar[Any] = -3
    several: ClassVar[Any] = np.array([1, 2])


def test_symbolic_sizes_are_attributes_of_the_node() -> None:
    """Integers of NumPy count, and -1 stays free."""
    assert Port("cube", "float32", (-1, 4, "bands")).sizes(Sized()) == (-1, 4, 61)


@pytest.mark.parametrize("symbol", ["absent", "unknown", "flag", "fraction", "negative", "several"])
def test_a_symbolic_size_that_is_no_size_is_an_error_that_names_it(symbol: str) -> None:
    """The message has port, class and attribute."""
    with pytest.raises(InvalidNodeError, match=f"'cube' of Sized has the symbolic size '{symbol}'"):
        Port("cube", "float32", (symbol,)).sizes(Sized())


def test_a_port_reads_as_dtype_and_sizes() -> None:
    """`*` stands for any size."""
    assert str(Port("cube", "float32", (-1, "bands", 3))) == "float32 [*, bands, 3]"
    assert type_text("str", ()) == "str"
