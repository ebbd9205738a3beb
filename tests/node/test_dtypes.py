"""Which library a dtype is of, and what holds the numbers of one."""

import numpy as np
import pytest

from cuvis_ai_core.node.dtypes import floating_for, library_of, real_dtype


@pytest.mark.parametrize(
    ("dtype", "library"),
    [
        (np.float32, "numpy"),
        (np.ndarray, "numpy"),
        (np.dtype("uint8"), "numpy"),
        ("np.float32", "numpy"),
        ("numpy.float32", "numpy"),
        ("torch.float32", "torch"),
        ("float32", None),
        (float, None),
        (list[str], None),
        ("pandas.np.float32", None),
    ],
)
def test_a_dtype_belongs_to_the_library_that_it_names(dtype: object, library: str | None) -> None:
    """A type of Python, or a bare name, to none."""
    assert library_of(dtype) == library


@pytest.mark.parametrize(
    ("dtype", "real"),
    [
        ("float16", "float16"),
        ("float32", "float32"),
        ("float64", "float64"),
        ("uint8", "float32"),
        ("int16", "float32"),
        ("uint16", "float32"),
        ("int32", "float64"),
        ("uint64", "float64"),
    ],
)
def test_a_real_type_has_room_for_all_values_of_a_dtype(dtype: str, real: str) -> None:
    """Integers of more than 16 bits are not exact in float32."""
    kind = np.dtype(dtype)
    assert floating_for(kind) == real
    if kind.kind in "iu" and kind.itemsize < 8:
        ends = np.array([np.iinfo(kind).min, np.iinfo(kind).max], kind)
        assert ends.astype(real).astype(kind).tolist() == ends.tolist()


@pytest.mark.parametrize(
    ("declared", "dtype", "real"),
    [
        ("floating", "uint16", "float32"),
        ("float", "int32", "float64"),
        ("inexact", "uint8", "float32"),
        ("floating", "float16", None),
        ("float64", "uint8", "float64"),
        ("float32", "float64", "float32"),
        ("float16", "float32", "float16"),
        ("complexfloating", "uint8", None),
        ("integer", "float32", None),
        ("integer", "uint8", None),
        ("uint8", "uint16", None),
        ("array", "uint8", None),
        ("number", "uint8", None),
        ("any", "uint8", None),
        ("floating", "bool", None),
        ("floating", "complex64", None),
        ("floating", "<U3", None),
    ],
)
def test_numbers_become_real_where_a_port_takes_real_ones_only(declared: str, dtype: str, real: str | None) -> None:
    """Nothing else is converted, and what fits stays as it is."""
    assert real_dtype(declared, np.dtype(dtype)) == real
