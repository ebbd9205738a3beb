"""Between arrays and `Tensor` messages: `raw_data` is little-endian, in C order."""

import math
import sys
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cuvis_ai_core.errors import MissingExtraError, ServiceError
from cuvis_ai_core.grpc.missing_extra import explain_missing
from cuvis_ai_core.node.dtypes import dtype_name
from cuvis_ai_core.pipeline.execution.value_conversion import without_mask

NUMBERS: Final = {
    "float32": 1,
    "float64": 2,
    "int32": 3,
    "int64": 4,
    "uint8": 5,
    "bool": 6,
    "float16": 7,
    "uint16": 8,
}
"""The `DType` of each dtype that the wire has; 0 is none of them."""

_NAMES: Final = {number: name for name, number in NUMBERS.items()}
_WIDER: Final = {"int8": "int32", "int16": "int32", "uint32": "int64", "bfloat16": "float32"}
"""What dtypes become that the wire lacks, without loss."""

MOST_AXES: Final = 32


def dtype_number(dtype: object) -> int:
    """Return the `DType` of a dtype of NumPy or torch, or of a text; 0 where the wire has none, as for a family."""
    return NUMBERS.get(dtype_name(dtype), 0)


def to_array(value: Any) -> NDArray[Any] | None:
    """Return a value as a NumPy array of a dtype that the wire has, or None where it is no array of numbers."""
    # Not `isinstance`: torch need not be installed, nor imported, for a server of NumPy nodes.
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        # NumPy has no bfloat16: `np.asarray` of such a tensor raises.
        if dtype_name(value.dtype) == "bfloat16":
            value = value.float()
    try:
        # As a pipeline in this process takes it: what is masked is NaN.
        array = np.asarray(without_mask(value))
    except Exception:  # noqa: BLE001 - a plugin's object may refuse in any way
        return None
    name = array.dtype.name
    # The wire's largest integer has a sign; larger values would come out negative.
    if name == "uint64" and (array.size == 0 or int(array.max()) <= np.iinfo(np.int64).max):
        return array.astype(np.int64)
    return array.astype(_WIDER[name]) if name in _WIDER else array if name in NUMBERS else None


def why_not(value: object) -> str:
    """Return why `to_array` makes no array of a value, for the end of a sentence."""
    dtype = getattr(value, "dtype", None)
    if dtype is None or not hasattr(value, "shape"):
        return f"of type {type(value).__name__}, which a message does not have"
    return f"an array of dtype {dtype_name(dtype)}, which a message does not have: {', '.join(NUMBERS)}"


def raw_bytes(array: NDArray[Any]) -> memoryview:
    """Return the content of an array as the wire has it, without a copy where it lies so in memory."""
    # Copies only what is a view with gaps, or in another order.
    array = np.ascontiguousarray(array)
    if array.dtype.byteorder == ">" or (array.dtype.byteorder == "=" and sys.byteorder == "big"):
        array = array.astype(array.dtype.newbyteorder("<"))
    return array.reshape(-1).view(np.uint8).data


def from_raw(raw: Any, shape: list[int], dtype: int, name: str = "tensor") -> NDArray[Any]:
    """Return the array in a buffer: a view of it that cannot be written.

    Args:
        raw: The bytes.
        shape: The sizes; they say how many bytes there must be.
        dtype: A `DType`.
        name: What errors call it.

    Raises:
        ServiceError: The dtype is none, or shape and bytes do not go together.
    """
    if dtype not in _NAMES:
        raise _wrong(f"'{name}' has dtype {dtype}; the wire has {', '.join(f'{n} {d}' for d, n in NUMBERS.items())}.")
    # Before NumPy sees it: a product beyond 64 bits would wrap there, and fit the bytes by chance.
    if len(shape) > MOST_AXES or any(size < 0 for size in shape) or math.prod(filter(None, shape)) > sys.maxsize // 8:
        raise _wrong(f"'{name}' has the shape {shape[:MOST_AXES]}, which no array has.")
    kind = np.dtype(_NAMES[dtype]).newbyteorder("<")
    expected = math.prod(shape) * kind.itemsize
    if expected != len(raw):
        raise _wrong(
            f"'{name}' of shape {shape} and dtype {_NAMES[dtype]} takes {expected} bytes, and has {len(raw)}.",
        )
    array: NDArray[Any] = np.frombuffer(raw, dtype=kind).reshape(shape)
    if _NAMES[dtype] == "bool":
        array = np.frombuffer(raw, dtype=np.uint8).reshape(shape) != 0  # a byte of another value is no bool
    array = array.astype(kind.newbyteorder("="), copy=False)
    # Several nodes may get this one array, and its bytes may be the client's memory.
    array.setflags(write=False)
    return array


def fill(tensor: Any, array: NDArray[Any]) -> Any:
    """Write an array into a message and return the message."""
    tensor.shape[:] = array.shape
    tensor.dtype = NUMBERS[array.dtype.name]
    tensor.raw_data = raw_bytes(array).tobytes()
    return tensor


def numpy_to_proto(array: NDArray[Any]) -> Any:
    """Return an array as a `cuvis_ai_pb2.Tensor`.

    Raises:
        ValueError: The wire has no such dtype.
    """
    with explain_missing():
        from cuvis_ai_schemas.grpc.v1 import cuvis_ai_pb2

    found = to_array(array)
    if found is None:
        raise ValueError(f"What is to be sent is {why_not(array)}.")
    return fill(cuvis_ai_pb2.Tensor(), found)


def proto_to_numpy(tensor: Any, copy: bool = True) -> NDArray[Any]:  # noqa: FBT001, FBT002 - as published
    """Return the array in a `Tensor` message; without `copy` it is a view that cannot be written.

    Raises:
        ServiceError: Its shape, dtype and bytes do not go together.
    """
    array = from_raw(tensor.raw_data, list(tensor.shape), tensor.dtype)
    return array.copy() if copy else array


def tensor_to_proto(tensor: Any) -> Any:
    """Return a torch tensor, from any device, as a `cuvis_ai_pb2.Tensor`."""
    return numpy_to_proto(tensor)


def proto_to_tensor(tensor: Any) -> Any:
    """Return the torch tensor in a `Tensor` message.

    Raises:
        MissingExtraError: torch is not installed.
    """
    try:
        import torch
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "A torch tensor needs the package 'torch', which is not installed.",
            hint="Install the extra: pip install 'cuvis-ai-core[torch]'; or use proto_to_numpy.",
            extra="torch",
        ) from error
    # Of a copy: torch warns of memory that cannot be written, as that of a message.
    return torch.from_numpy(proto_to_numpy(tensor))


def dtype_to_proto(dtype: Any) -> int:
    """Return the `DType` of a dtype.

    Raises:
        ValueError: The wire has none.
    """
    number = dtype_number(dtype)
    if not number:
        raise ValueError(f"The wire has no dtype {dtype!r}.")
    return number


def _wrong(text: str) -> ServiceError:
    return ServiceError(text, code="INVALID_ARGUMENT")
