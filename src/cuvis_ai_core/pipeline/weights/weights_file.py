"""Weights on disk: `<stem>.pt` or `<stem>.safetensors` beside the pipeline file.

Both hold the state of each node under its name. A `.pt` file has the published layout
`{"state_dict": {node: {key: tensor}}, "metadata": {...}}`; in a `.safetensors` file, which needs no torch, a tensor is
named `node.key`: names of nodes have no dots.
"""

import json
import os
import zipfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TypeAlias

from cuvis_ai_core._atomic_writes import replacing
from cuvis_ai_core.errors import MissingExtraError, PipelineError
from cuvis_ai_core.node.ports import dtype_name
from cuvis_ai_core.pipeline.weights.pickle_inspection import refused_part
from cuvis_ai_core.pipeline.weights.plain_values import decode, encode

if TYPE_CHECKING:
    from types import ModuleType

State: TypeAlias = Mapping[str, Mapping[str, Any]]
"""Node to key to array."""

TORCH: Final = ".pt"
SAFETENSORS: Final = ".safetensors"
SUFFIXES: Final = (TORCH, SAFETENSORS)
CHECKPOINT: Final = ".ckpt"
_METADATA: Final = "metadata"
_SAFE_DTYPES: Final = frozenset(
    {"bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"}
    | {"float16", "bfloat16", "float32", "float64", "complex64"}
)
_OF_NUMPY: Final = frozenset({"BOOL", "U8", "U16", "U32", "U64", "I8", "I16", "I32", "I64", "F16", "F32", "F64", "C64"})
"""The dtypes that NumPy has, as a safetensors file spells them."""
_MOST_VALUES: Final = 1_000_000
"""Of one entry of a node's state, beside the numbers in arrays."""

_REPEATED: Final = 64 * 1024**2
"""Bytes by which a tensor may be larger than what is stored of it: of one that repeats a number, torch keeps one."""

EXTRA_STATE: Final = "_extra_state"
"""The key, or the end of one, under which torch keeps what `get_extra_state` returns."""


@dataclass(frozen=True, slots=True)
class Weights:
    """What a file of weights holds.

    Attributes:
        state: Node to key to array: torch tensors of a `.pt` file, of a `.safetensors` file NumPy arrays, unless one
            has a dtype that NumPy lacks.
        metadata: What the file says about itself.
    """

    state: State
    metadata: Mapping[str, Any] = field(default_factory=dict)


def read_weights(path: Path) -> Weights:
    """Read a file of weights; nothing in it is executed.

    Raises:
        PipelineError: The file cannot be read, or does not have the layout of weights.
        MissingExtraError: It is a `.pt` file, or has numbers that NumPy lacks, and torch is not installed.
    """
    _expect_suffix(path)
    # Not `Path.is_file`, which raises where the path cannot be reached.
    if not os.path.isfile(path):  # noqa: PTH113
        raise PipelineError(f"There is no file of weights '{path}'.", path=path)
    return _read_torch(path) if path.suffix == TORCH else _read_safetensors(path)


def read_state(path: Path, nodes: Collection[str]) -> State:
    """Read the state of nodes from a file of weights, or from a checkpoint of Lightning.

    Raises:
        PipelineError: As `read_weights` and `read_checkpoint`.
        MissingExtraError: As these.
    """
    return read_checkpoint(path, nodes) if path.suffix == CHECKPOINT else read_weights(path).state


def read_checkpoint(path: Path, nodes: Collection[str]) -> State:
    """Read the weights of nodes from a checkpoint of Lightning; nothing in it is executed.

    Args:
        path: The file.
        nodes: Names of the nodes; what stands before one in a key is left away.

    Raises:
        PipelineError: The file cannot be read by torch's rules for weights, or holds no weights of these nodes.
        MissingExtraError: torch is not installed.
    """
    content = _load_torch(path)
    flat = content.get("state_dict") if isinstance(content, Mapping) else None
    state: dict[str, dict[str, Any]] = {}
    for name, value in flat.items() if isinstance(flat, Mapping) else ():
        parts = str(name).split(".")
        at = next((at for at, part in enumerate(parts[:-1]) if part in nodes), None)
        if at is not None:
            state.setdefault(parts[at], {})[".".join(parts[at + 1 :])] = _decoded(path, str(name), value)
    if not state:
        raise PipelineError(f"The checkpoint '{path}' holds no weights of this pipeline's nodes.", path=path)
    return state


def trainer_state(path: Path) -> dict[str, Any]:
    """Return what a file of a training says beside weights, the metadata in any case; nothing in it is executed.

    Raises:
        PipelineError: The file cannot be read by torch's rules for weights.
        MissingExtraError: torch is not installed.
    """
    content = _load_torch(path)
    known = content if isinstance(content, Mapping) else {}
    found = {key: known[key] for key in ("optimizer_state", "scheduler_state") if key in known}
    return {"metadata": known.get("metadata", {}), **found}


def epoch_of_checkpoint(path: Path) -> int:
    """Return the epoch after which Lightning wrote a checkpoint, from 0; 0 where it does not say.

    Raises:
        PipelineError: The file cannot be read by torch's rules for weights.
        MissingExtraError: torch is not installed.
    """
    content = _load_torch(path)
    epoch = content.get("epoch") if isinstance(content, Mapping) else None
    return epoch if isinstance(epoch, int) else 0


def write_weights(path: Path, state: State, metadata: Mapping[str, Any]) -> None:
    """Write a file of weights, whole or not at all.

    Args:
        path: The file; its suffix says which kind.
        state: Node to key to array of NumPy or torch, on any device.
        metadata: What JSON can hold.

    Raises:
        PipelineError: A value cannot be written, or the suffix is of neither kind.
        MissingExtraError: It is a `.pt` file, and torch is not installed.
        OSError: The file cannot be written; the old one is as it was.
    """
    _expect_suffix(path)
    write = _write_torch if path.suffix == TORCH else _write_safetensors
    with replacing(path) as file:
        write(file, state, metadata)


def _expect_suffix(path: Path) -> None:
    if path.suffix not in SUFFIXES:
        raise PipelineError(f"'{path}' is no file of weights: these are called .pt or .safetensors.", path=path)


def _torch(what: str) -> "ModuleType":
    try:
        import torch
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{what}, and torch is not installed.",
            hint="Install the extra: pip install 'cuvis-ai-core[torch]'. Without torch, weights are .safetensors.",
            extra="torch",
        ) from error
    return torch


def _load_torch(path: Path) -> Any:
    torch = _torch(f"'{path}' is a file of torch")
    if not os.path.isfile(path):  # noqa: PTH113
        raise PipelineError(f"There is no file of weights '{path}'.", path=path)
    try:
        _refuse_packed(path)
        # Said, though it is the default: TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD changes what is not said.
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise PipelineError(f"Weights '{path}' cannot be read: {error.strerror or error}.", path=path) from error
    except Exception as error:  # torch has no type of its own for a broken file
        problem = "the file is damaged, or none of torch"
        if "Unsupported" in str(error) or "weights_only" in str(error):
            problem = f"the file holds {refused_part(path) or 'other objects than weights'}, which may run code"
        raise PipelineError(f"Weights '{path}' cannot be read: {problem}.", path=path) from error
    return content


def _read_torch(path: Path) -> Weights:
    content = _load_torch(path)
    state = content.get("state_dict") if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not all(isinstance(each, Mapping) for each in state.values()):
        raise PipelineError(
            f"'{path}' holds no weights of a pipeline: these are {{'state_dict': {{node: {{key: tensor}}}}}}.",
            hint="The state of a single module is loaded by the node that owns it.",
            path=path,
        )
    metadata = content.get(_METADATA)
    decoded: dict[str, dict[str, Any]] = {
        str(node): {str(key): _decoded(path, f"{node}.{key}", value) for key, value in values.items()}
        for node, values in state.items()
    }
    return Weights(decoded, metadata if isinstance(metadata, Mapping) else {})


def _refuse_packed(path: Path) -> None:
    """Refuse an archive that is larger inside: torch packs nothing.

    Raises:
        ValueError: It is.
        OSError: It cannot be read.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if sum(each.file_size for each in archive.infolist()) > path.stat().st_size:
                raise ValueError("it is packed")


def _decoded(path: Path, name: str, value: Any) -> Any:
    try:
        _refuse_growth(value)
        return decode(value)
    except PipelineError as error:
        error.message, error.path = f"{path}: {error.message}", path
        raise
    except Exception as error:  # whatever a value says of itself that is not so
        raise PipelineError(
            f"Weights '{path}' cannot be read: '{name}' is no value of a node: {_one_line(error)}.", path=path
        ) from error


def _refuse_growth(value: Any) -> None:
    """Refuse what is small in the file and large in memory: lists of the same lists, tensors that repeat one number.

    Raises:
        ValueError: It is such.
    """
    waiting, count = [value], 0
    while waiting:
        each = waiting.pop()
        count += 1
        if count + len(waiting) > _MOST_VALUES:
            raise ValueError(f"it comes to more than {_MOST_VALUES} values beside arrays")
        if isinstance(each, Mapping):
            waiting += each.values()
        elif isinstance(each, list | tuple):
            waiting += each
        elif _is_strided(each) and each.numel() * each.element_size() > each.untyped_storage().nbytes() + _REPEATED:
            raise ValueError(f"it has {each.numel()} numbers, and the file has fewer")


def _is_strided(value: Any) -> bool:
    return str(getattr(value, "layout", "")) == "torch.strided"


def _read_safetensors(path: Path) -> Weights:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            names = list(file.keys())
            for_torch = any(file.get_slice(name).get_dtype() not in _OF_NUMPY for name in names)
            metadata = _metadata((file.metadata() or {}).get(_METADATA, "{}"))
        if for_torch:
            _torch(f"'{path}' holds numbers of a kind that NumPy does not have")
        with safe_open(path, framework="pt" if for_torch else "numpy") as file:
            tensors = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError, ValueError) as error:
        raise PipelineError(f"Weights '{path}' cannot be read: {_one_line(error)}.", path=path) from error
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


def _write_torch(file: BinaryIO, state: State, metadata: Mapping[str, Any]) -> None:
    torch = _torch("Weights in a .pt file are tensors of torch")
    content = {
        node: {key: for_torch(node, key, value) for key, value in values.items()} for node, values in state.items()
    }
    torch.save({"state_dict": content, _METADATA: dict(metadata)}, file)


def for_torch(node: str, key: str, value: Any) -> Any:
    """Return a value of a node's state as a file of torch holds it.

    Raises:
        PipelineError: It cannot hold such a value.
    """
    if _is_array(value) and not is_extra(key):
        return _tensor(_torch("Weights in a .pt file are tensors of torch"), f"{node}.{key}", value)
    try:
        return encode(value, f"'{key}'")
    except PipelineError as error:
        raise PipelineError(
            f"The state of node '{node}' cannot be saved: {error.message}", hint=error.hint, node=node
        ) from error


def savable(state: State) -> tuple[State, list[str]]:
    """Return the part of a state that a file of torch can hold, and `node.key` of what it cannot."""
    kept: dict[str, dict[str, Any]] = {}
    left: list[str] = []
    for node, values in state.items():
        for key, value in values.items():
            try:
                for_torch(node, key, value)
            except PipelineError:
                left.append(f"{node}.{key}")
            else:
                kept.setdefault(node, {})[key] = value
    return kept, left


def is_extra(key: str) -> bool:
    """Tell whether a key of a state is that of what `get_extra_state` returns, which comes back as it was."""
    return key.rpartition(".")[2] == EXTRA_STATE


def _tensor(torch: "ModuleType", name: str, value: Any) -> Any:
    """Return an array as a tensor on the CPU that owns no more memory than it needs."""
    if not isinstance(value, torch.Tensor):
        array = _array(value)
        try:
            return torch.from_numpy(array if array.flags.writeable else array.copy())
        except TypeError as error:
            raise _cannot_hold(name, value, "holds numbers and flags") from error
    tensor = value.detach().cpu().contiguous()
    # `torch.save` writes all of the memory that a view is of.
    return tensor if tensor.untyped_storage().nbytes() == tensor.nbytes else tensor.clone()


def _write_safetensors(file: BinaryIO, state: State, metadata: Mapping[str, Any]) -> None:
    values = {f"{node}.{key}": value for node, of_node in state.items() for key, value in of_node.items()}
    for name, value in values.items():
        if not _is_array(value) or dtype_name(value.dtype) not in _SAFE_DTYPES:
            raise _cannot_hold(name, value, "holds arrays of numbers and flags only (a .pt file holds more)")
    # In a safetensors file, metadata are texts and nothing else.
    header = {_METADATA: json.dumps(dict(metadata), default=str)}
    if any(hasattr(value, "detach") for value in values.values()):
        from safetensors.torch import save

        file.write(save(_apart(values), header))
    else:
        from safetensors.numpy import save as save_arrays

        file.write(save_arrays({name: _array(value) for name, value in values.items()}, header))


def _apart(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return tensors none of which shares its memory with another: safetensors refuses tied weights."""
    torch = _torch("Some of these weights are tensors of torch")
    tensors = {name: _tensor(torch, name, value) for name, value in values.items()}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        if tensor.data_ptr() in seen:
            tensors[name] = tensor.clone()
        seen.add(tensor.data_ptr())
    return tensors


def _array(value: Any) -> Any:
    """Return an array as one of NumPy, in the byte order of this machine."""
    import numpy as np

    array = np.ascontiguousarray(value).reshape(np.shape(value))  # the first makes [1] of a single number
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _is_array(value: object) -> bool:
    return hasattr(value, "dtype") and hasattr(value, "shape")


def _cannot_hold(name: str, value: Any, rule: str) -> PipelineError:
    kind = f"of dtype {dtype_name(value.dtype)}" if _is_array(value) else f"of type {type(value).__name__}"
    node, _, key = name.partition(".")
    return PipelineError(
        f"The state of node '{node}' cannot be saved: '{key}' is {kind}; a file of weights {rule}.", node=node
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
