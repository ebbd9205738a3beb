"""Files of safetensors, which need no torch: a tensor is named `node.key`, since names of nodes have no dots."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

from cuvis_ai_core.errors import PipelineError
from cuvis_ai_core.node.dtypes import dtype_name
from cuvis_ai_core.pipeline.weights.stored_arrays import (
    State,
    Weights,
    as_array,
    as_tensor,
    cannot_hold,
    import_torch,
    is_array,
    one_line,
)

_METADATA: Final = "metadata"

_SAFE_DTYPES: Final = frozenset(
    {"bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"}
    | {"float16", "bfloat16", "float32", "float64", "complex64"}
)

_OF_NUMPY: Final = frozenset({"BOOL", "U8", "U16", "U32", "U64", "I8", "I16", "I32", "I64", "F16", "F32", "F64", "C64"})
"""The dtypes that NumPy has, as a safetensors file spells them."""


def read_safetensors(path: Path) -> Weights:
    """Return the content of a `.safetensors` file of weights.

    Raises:
        PipelineError: The file cannot be read, or does not have the layout of weights.
        MissingExtraError: It has numbers that NumPy lacks, and torch is not installed.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            names = list(file.keys())
            for_torch = any(file.get_slice(name).get_dtype() not in _OF_NUMPY for name in names)
            metadata = _metadata((file.metadata() or {}).get(_METADATA, "{}"))
        if for_torch:
            import_torch(f"'{path}' holds numbers of a kind that NumPy does not have")
        with safe_open(path, framework="pt" if for_torch else "numpy") as file:
            tensors = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError, ValueError) as error:
        raise PipelineError(f"Weights '{path}' cannot be read: {one_line(error)}.", path=path) from error
    state: dict[str, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        node, dot, key = name.partition(".")
        if not dot:
            raise PipelineError(
                f"'{path}' holds no weights of a pipeline: '{name}' is not named 'node.key'.", path=path
            )
        state.setdefault(node, {})[key] = tensor
    return Weights(state, metadata)


def _metadata(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def write_safetensors(file: BinaryIO, state: State, metadata: Mapping[str, Any]) -> None:
    """Write a `.safetensors` file of weights.

    Raises:
        PipelineError: It cannot hold a value.
    """
    values = {f"{node}.{key}": value for node, of_node in state.items() for key, value in of_node.items()}
    for name, value in values.items():
        if not is_array(value) or dtype_name(value.dtype) not in _SAFE_DTYPES:
            raise cannot_hold(name, value, "holds arrays of numbers and flags only (a .pt file holds more)")
    # In a safetensors file, metadata are texts and nothing else.
    header = {_METADATA: json.dumps(dict(metadata), default=str)}
    if any(hasattr(value, "detach") for value in values.values()):
        from safetensors.torch import save

        file.write(save(_apart(values), header))
    else:
        from safetensors.numpy import save as save_arrays

        file.write(save_arrays({name: as_array(value) for name, value in values.items()}, header))


def _apart(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return tensors none of which shares its memory with another: safetensors refuses tied weights."""
    torch = import_torch("Some of these weights are tensors of torch")
    tensors = {name: as_tensor(torch, name, value) for name, value in values.items()}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        if tensor.data_ptr() in seen:
            tensors[name] = tensor.clone()
        seen.add(tensor.data_ptr())
    return tensors
