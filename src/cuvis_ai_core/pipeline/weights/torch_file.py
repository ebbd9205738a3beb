"""Files of torch, read by its rules for weights and written: those of weights, `.pt`, and checkpoints of Lightning.

One of weights has the published layout `{"state_dict": {node: {key: tensor}}, "metadata": {...}}`.
"""

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

from cuvis_ai_core.errors import PipelineError
from cuvis_ai_core.pipeline.weights.pickle_inspection import pickle_protocol, refuse_growth, refuse_packed, refused_part
from cuvis_ai_core.pipeline.weights.plain_values import decode, encode
from cuvis_ai_core.pipeline.weights.stored_arrays import State, Weights, as_tensor, import_torch, is_array, one_line

_METADATA: Final = "metadata"
_PROTOCOL: Final = 2
"""The version of pickle that torch writes, and reads by its rules for weights."""

EXTRA_STATE: Final = "_extra_state"
"""The key, or the end of one, under which torch keeps what `get_extra_state` returns."""


def trainer_state(path: Path) -> dict[str, Any]:
    """Return what a file of a training says beside weights, the metadata in any case; nothing in it is executed.

    Raises:
        PipelineError: The file cannot be read by torch's rules for weights.
        MissingExtraError: torch is not installed.
    """
    content = load_torch(path)
    known = content if isinstance(content, Mapping) else {}
    found = {key: known[key] for key in ("optimizer_state", "scheduler_state") if key in known}
    return {"metadata": known.get("metadata", {}), **found}


def load_torch(path: Path) -> Any:
    """Return the content of a file of torch, of which nothing is executed.

    Raises:
        PipelineError: It cannot be read by torch's rules for weights.
        MissingExtraError: torch is not installed.
    """
    torch = import_torch(f"'{path}' is a file of torch")
    if not os.path.isfile(path):  # noqa: PTH113
        raise PipelineError(f"There is no file of weights '{path}'.", path=path)
    try:
        refuse_packed(path)
        # Said, though it is the default: TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD changes what is not said.
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise PipelineError(f"Weights '{path}' cannot be read: {error.strerror or error}.", path=path) from error
    except Exception as error:  # torch has no type of its own for a broken file
        problem, hint = "the file is damaged, or none of torch", None
        if "Unsupported" in str(error) or "weights_only" in str(error):
            part, protocol = refused_part(path), pickle_protocol(path)
            problem = f"the file holds {part or 'other objects than weights'}, which may run code"
            if part is None and protocol > _PROTOCOL:
                problem = f"it is written in version {protocol} of pickle, and torch reads weights of {_PROTOCOL} alone"
            hint = (
                "Where you trust who made it, read it with torch.load(..., weights_only=False) in a program of your "
                "own, and save the weights alone: torch.save({'state_dict': {node: {key: tensor}}}, 'weights.pt')."
            )
        raise PipelineError(f"Weights '{path}' cannot be read: {problem}.", hint=hint, path=path) from error
    return content


def read_torch(path: Path) -> Weights:
    """Return the content of a `.pt` file of weights.

    Raises:
        PipelineError: The file cannot be read, or does not have the layout of weights.
        MissingExtraError: torch is not installed.
    """
    content = load_torch(path)
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


def read_checkpoint(path: Path, nodes: Collection[str]) -> State:
    """Read the weights of nodes from a checkpoint of Lightning; nothing in it is executed.

    Args:
        path: The file.
        nodes: Names of the nodes; what stands before one in a key is left away.

    Raises:
        PipelineError: The file cannot be read by torch's rules for weights, or holds no weights of these nodes, or
            two of one that differ.
        MissingExtraError: torch is not installed.
    """
    content = load_torch(path)
    flat = content.get("state_dict") if isinstance(content, Mapping) else None
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for name, value in flat.items() if isinstance(flat, Mapping) else ():
        parts = str(name).split(".")
        at = next((at for at, part in enumerate(parts[:-1]) if part in nodes), None)
        if at is not None:
            of_node = found.setdefault(parts[at], {})
            before, key = ".".join(parts[:at]), ".".join(parts[at + 1 :])
            of_node.setdefault(before, {})[key] = _decoded(path, str(name), value)
    if not found:
        raise PipelineError(f"The checkpoint '{path}' holds no weights of this pipeline's nodes.", path=path)
    return {node: _nearest_to_the_top(path, node, states) for node, states in found.items()}


def _nearest_to_the_top(path: Path, node: str, states: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the state of a node, of which a checkpoint may hold several, as of a moving average of its weights.

    Args:
        path: The file.
        node: The node.
        states: Each state by what stands before the node's name in its keys.

    Raises:
        PipelineError: Two are as near, and differ.
    """
    depth = {before: before.count(".") + bool(before) for before in states}
    nearest = [before for before in states if depth[before] == min(depth.values())]
    for other in nearest[1:]:
        if not _same(states[nearest[0]], states[other]):
            raise PipelineError(
                f"The checkpoint '{path}' holds two states of node '{node}', and they differ: "
                f"'{nearest[0]}.{node}...' and '{other}.{node}...'.",
                hint="Save the one that is meant: torch.save({'state_dict': {node: {key: tensor}}}, 'weights.pt').",
                path=path,
            )
    return states[nearest[0]]


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    import numpy as np

    torch = import_torch("A checkpoint is a file of torch")

    def equal(left: Any, right: Any) -> bool:
        if isinstance(left, torch.Tensor) and isinstance(right, torch.Tensor):
            # The first: NaN equals nothing.
            return left.data_ptr() == right.data_ptr() or bool(torch.equal(left, right))
        if isinstance(left, Mapping) and isinstance(right, Mapping):  # what `get_extra_state` returned
            return left.keys() == right.keys() and all(equal(each, right[key]) for key, each in left.items())
        if isinstance(left, list | tuple) and isinstance(right, list | tuple):
            return len(left) == len(right) and all(map(equal, left, right))
        return bool(np.array_equal(left, right))

    return one.keys() == other.keys() and all(equal(value, other[key]) for key, value in one.items())


def epoch_of_checkpoint(path: Path) -> int:
    """Return the epoch after which Lightning wrote a checkpoint, from 0; 0 where it does not say.

    Raises:
        PipelineError: The file cannot be read by torch's rules for weights.
        MissingExtraError: torch is not installed.
    """
    content = load_torch(path)
    epoch = content.get("epoch") if isinstance(content, Mapping) else None
    return epoch if isinstance(epoch, int) else 0


def _decoded(path: Path, name: str, value: Any) -> Any:
    """Return a value of a node's state as it was before it was written.

    Raises:
        PipelineError: It is none, or small in the file and large in memory.
    """
    try:
        refuse_growth(value)
        return decode(value)
    except PipelineError as error:
        error.message, error.path = f"{path}: {error.message}", path
        raise
    except Exception as error:  # whatever a value says of itself that is not so
        raise PipelineError(
            f"Weights '{path}' cannot be read: '{name}' is no value of a node: {one_line(error)}.", path=path
        ) from error


def write_torch(file: BinaryIO, state: State, metadata: Mapping[str, Any]) -> None:
    """Write a `.pt` file of weights.

    Raises:
        PipelineError: It cannot hold a value.
        MissingExtraError: torch is not installed.
    """
    torch = import_torch("Weights in a .pt file are tensors of torch")
    content = {
        node: {key: for_torch(node, key, value) for key, value in values.items()} for node, values in state.items()
    }
    torch.save({"state_dict": content, _METADATA: dict(metadata)}, file)


def for_torch(node: str, key: str, value: Any) -> Any:
    """Return a value of a node's state as a file of torch holds it.

    Raises:
        PipelineError: It cannot hold such a value.
    """
    if is_array(value) and not is_extra(key):
        return as_tensor(import_torch("Weights in a .pt file are tensors of torch"), f"{node}.{key}", value)
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
