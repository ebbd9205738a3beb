"""What checkpoints of Lightning hold for us: the weights of nodes, and the epoch; nothing in them is executed."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from cuvis_ai_core.errors import PipelineError
from cuvis_ai_core.pipeline.weights.stored_arrays import State
from cuvis_ai_core.pipeline.weights.torch_file import decoded_value, load_torch


def read_checkpoint(path: Path, nodes: Collection[str]) -> State:
    """Read the weights of nodes from a checkpoint of Lightning; nothing in it is executed.

    Args:
        path: The file.
        nodes: Names of the nodes; what stands before one in a key is left away.

    Raises:
        PipelineError: The file cannot be read by torch's rules for weights, or holds no weights of these nodes.
        MissingExtraError: torch is not installed.
    """
    content = load_torch(path)
    flat = content.get("state_dict") if isinstance(content, Mapping) else None
    state: dict[str, dict[str, Any]] = {}
    for name, value in flat.items() if isinstance(flat, Mapping) else ():
        parts = str(name).split(".")
        at = next((at for at, part in enumerate(parts[:-1]) if part in nodes), None)
        if at is not None:
            state.setdefault(parts[at], {})[".".join(parts[at + 1 :])] = decoded_value(path, str(name), value)
    if not state:
        raise PipelineError(f"The checkpoint '{path}' holds no weights of this pipeline's nodes.", path=path)
    return state


def epoch_of_checkpoint(path: Path) -> int:
    """Return the epoch after which Lightning wrote a checkpoint, from 0; 0 where it does not say.

    Raises:
        PipelineError: The file cannot be read by torch's rules for weights.
        MissingExtraError: torch is not installed.
    """
    content = load_torch(path)
    epoch = content.get("epoch") if isinstance(content, Mapping) else None
    return epoch if isinstance(epoch, int) else 0
