"""The published helpers of clients."""

import os
from pathlib import Path

from cuvis_ai_core.grpc.messages.tensors import (
    dtype_to_proto,
    numpy_to_proto,
    proto_to_numpy,
    proto_to_tensor,
    tensor_to_proto,
)

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
