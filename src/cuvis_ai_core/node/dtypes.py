"""Canonical names of dtypes of NumPy, torch and Python: which overlap, which imply which, what holds their values."""

from collections.abc import Mapping
from typing import Any, Final, get_origin

UNKNOWN: Final = "?"
"""The dtype of a port of which nobody knows more than its name."""

NUMPY: Final = "numpy"

TORCH: Final = "torch"

_BYTES_IN_FLOAT32: Final = 2
"""Integers of so many bytes are exact in float32."""

_REALS = frozenset({"bfloat16", "float16", "float32", "float64", "float"})

_SIGNED = frozenset({"int8", "int16", "int32", "int64", "int"})

_UNSIGNED = frozenset({"uint8", "uint16", "uint32", "uint64"})

_COMPLEX = frozenset({"complex64", "complex128"})

NUMBERS = _REALS | _SIGNED | _UNSIGNED | _COMPLEX

_ALIASES: Final[Mapping[str, str]] = {
    "Any": "any",
    "object": "any",
    "object_": "any",
    "Tensor": "array",
    "generic": "array",
    "ndarray": "array",
    "bool_": "bool",
    "bytes_": "bytes",
    "double": "float64",
    "half": "float16",
    "long": "int64",
    "str_": "str",
}

FAMILIES: Final[Mapping[str, frozenset[str]]] = {
    "array": NUMBERS | {"bool"},
    "number": NUMBERS,
    "inexact": _REALS | _COMPLEX,
    "floating": _REALS,
    "complexfloating": _COMPLEX,
    "integer": _SIGNED | _UNSIGNED,
    "signedinteger": _SIGNED,
    "unsignedinteger": _UNSIGNED,
    "float": _REALS,
    "int": _SIGNED | _UNSIGNED,
}


def dtype_name(dtype: object) -> str:
    """Return the canonical name of a dtype of NumPy or torch, of a Python type, or of a text.

    Examples: `np.float32`, `torch.float32` and `"float32"` are `float32`; `np.ndarray` and `torch.Tensor` are
    `array`; `list[str]` is `list`; a union is `any`.
    """
    if isinstance(dtype, str):
        name = dtype.removeprefix("numpy.").removeprefix("torch.").removeprefix("np.")
    else:
        origin = get_origin(dtype)
        name = _type_or_dtype_name(dtype if origin is None else origin)
    if name.startswith("str") and name[3:].isdigit():  # NumPy counts the bits of its texts: str160
        return "str"
    return _ALIASES.get(name, name)


def _type_or_dtype_name(dtype: object) -> str:
    if isinstance(dtype, type):
        return "any" if dtype.__module__ == "types" else dtype.__name__  # types.UnionType: int | None
    name = str(getattr(dtype, "name", dtype))
    return "any" if name.startswith("typing.") else name.removeprefix("torch.")


def library_of(dtype: object) -> str | None:
    """Return the library to which a dtype belongs: `numpy.float32`, `torch.Tensor`, `"torch.float32"`."""
    if isinstance(dtype, str):
        place = dtype.replace("np.", "numpy.", 1) if dtype.startswith("np.") else dtype
    else:
        place = dtype.__module__ if isinstance(dtype, type) else type(dtype).__module__
    library = place.partition(".")[0]
    return library if library in {NUMPY, TORCH} else None


def _concrete(dtype: str) -> frozenset[str]:
    return FAMILIES.get(dtype) or frozenset({dtype})


def floating_for(dtype: Any) -> str:
    """Return the real type that holds the values of a dtype: itself, and of integers one that has room for them.

    Integers of up to 16 bits fit float32 exactly; larger ones become float64.
    """
    name = dtype_name(dtype)
    if name in _REALS:
        return name
    return "float32" if dtype.itemsize <= _BYTES_IN_FLOAT32 else "float64"


def real_dtype(declared: str, dtype: Any) -> str | None:
    """Return the real type to which numbers of a dtype are converted for a port.

    Args:
        declared: The canonical dtype of the port.
        dtype: That of the value.

    Returns:
        A concrete type; None where the port takes them as they are, or takes no real numbers, or they are no numbers.
    """
    name = dtype_name(dtype)
    if name not in _REALS | _SIGNED | _UNSIGNED or dtypes_overlap(name, declared):
        return None
    if FAMILIES.get(declared, frozenset()) >= _REALS:
        return floating_for(dtype)
    return declared if declared in _REALS else None


def dtypes_overlap(left: str, right: str) -> bool:
    """Tell whether some value fits both canonical dtype names."""
    return (
        not {"any", UNKNOWN}.isdisjoint({left, right})
        or left == right
        or not _concrete(left).isdisjoint(_concrete(right))
    )


def dtype_implies(given: str, wanted: str) -> bool:
    """Tell whether every value of the canonical dtype `given` fits `wanted`."""
    return wanted in {"any", given} or _concrete(given) <= _concrete(wanted)
