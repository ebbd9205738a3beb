"""What files of weights hold: arrays on the CPU, in the byte order of this machine, none larger than it needs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from cuvis_ai_core.errors import MissingExtraError, PipelineError
from cuvis_ai_core.node.dtypes import dtype_name

if TYPE_CHECKING:
    from types import ModuleType

State: TypeAlias = Mapping[str, Mapping[str, Any]]
"""Node to key to array."""


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


def import_torch(what: str) -> "ModuleType":
    """Return torch, which something needs.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import torch
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{what}, and torch is not installed.",
            hint="Install the extra: pip install 'cuvis-ai-core[torch]'. Without torch, weights are .safetensors.",
            extra="torch",
        ) from error
    return torch


def as_tensor(torch: "ModuleType", name: str, value: Any) -> Any:
    """Return an array as a tensor on the CPU that owns no more memory than it needs."""
    if not isinstance(value, torch.Tensor):
        array = as_array(value)
        try:
            return torch.from_numpy(array if array.flags.writeable else array.copy())
        except TypeError as error:
            raise cannot_hold(name, value, "holds numbers and flags") from error
    tensor = value.detach().cpu().contiguous()
    # `torch.save` writes all of the memory that a view is of.
    return tensor if tensor.untyped_storage().nbytes() == tensor.nbytes else tensor.clone()


def as_array(value: Any) -> Any:
    """Return an array as one of NumPy, in the byte order of this machine."""
    import numpy as np

    array = np.ascontiguousarray(value).reshape(np.shape(value))  # the first makes [1] of a single number
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def is_array(value: object) -> bool:
    """Tell whether a value is an array of NumPy or torch."""
    return hasattr(value, "dtype") and hasattr(value, "shape")


def cannot_hold(name: str, value: Any, rule: str) -> PipelineError:
    """Return the error about a value, `node.key`, that a file of weights cannot hold."""
    kind = f"of dtype {dtype_name(value.dtype)}" if is_array(value) else f"of type {type(value).__name__}"
    node, _, key = name.partition(".")
    return PipelineError(
        f"The state of node '{node}' cannot be saved: '{key}' is {kind}; a file of weights {rule}.", node=node
    )


def one_line(error: Exception) -> str:
    """Return what an error says, for the middle of a sentence."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
