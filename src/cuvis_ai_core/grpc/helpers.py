"""The published helpers of clients: arrays to `Tensor` messages of the installed cuvis-ai-schemas, and back."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cuvis_ai_core.grpc.messages.tensors import dtype_number, fill, from_raw, to_array
from cuvis_ai_core.grpc.missing_extra import explain_missing

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "dtype_to_proto",
    "get_server_base_dir",
    "numpy_to_proto",
    "proto_to_numpy",
    "proto_to_tensor",
    "tensor_to_proto",
]


def get_server_base_dir() -> Path:
    """Return the folder of configurations of a server that is started here: CUVIS_CONFIGS_DIR, or `configs`."""
    return Path(os.environ.get("CUVIS_CONFIGS_DIR", "configs")).resolve()


def numpy_to_proto(array: "NDArray[Any]") -> Any:
    """Return an array as a `cuvis_ai_pb2.Tensor`.

    Raises:
        ValueError: The wire has no such dtype.
    """
    with explain_missing():
        from cuvis_ai_schemas.grpc.v1 import cuvis_ai_pb2

    found = to_array(array)
    if found is None:
        raise ValueError(f"An array of dtype {getattr(array, 'dtype', type(array).__name__)} cannot be sent.")
    return fill(cuvis_ai_pb2.Tensor(), found)


def proto_to_numpy(tensor: Any, copy: bool = True) -> "NDArray[Any]":  # noqa: FBT001, FBT002 - as published
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
        from cuvis_ai_core.errors import MissingExtraError

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
