"""Arrays of NumPy and of torch: which of them a node takes, and how one becomes the other.

Neither library is imported before a node asks for its arrays.
"""

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from cuvis_ai_core.node.array_node import Value
from cuvis_ai_core.node.base import NodeMixin
from cuvis_ai_core.node.dtypes import NUMPY, TORCH, floating_for
from cuvis_ai_core.node.ports import Port
from cuvis_ai_core.node.proxy_nodes import is_elsewhere
from cuvis_ai_core.node.torch_modules import is_module

Convert: TypeAlias = Callable[[Value], Value]


_CPU: Final = "cpu"


def library_of_input(node: object, port: Port) -> str | None:
    """Return the library whose arrays an input takes, or None where any will do.

    A torch node takes tensors, but for ports whose dtype is one of NumPy. An `ArrayNode` takes any arrays, but for
    ports that are declared with a dtype of torch, or as `numpy.ndarray`. Other classes get what they declare. Of a
    node in another process that process sees to it.
    """
    if not port.holds_array or is_elsewhere(node):
        return None
    if is_module(node):
        return port.library or TORCH
    if isinstance(node, NodeMixin) and port.library == NUMPY and port.dtype != "array":
        return None
    return port.library


def gets_copy(node: object, port: Port) -> bool:
    """Tell whether a node gets arrays that are its own: a torch node those of NumPy, to make tensors of them."""
    return is_module(node) and library_of_input(node, port) == NUMPY


def converter(library: str, device: str = _CPU, dtype: str = "any") -> Convert:
    """Return what makes arrays of any library arrays of one; anything else stays as it is.

    On the CPU both share their memory, where the other library can: torch has no read-only arrays, no negative strides
    and no foreign byte order; these are copied.

    Args:
        library: `numpy` or `torch`.
        device: Where tensors are wanted.
        dtype: What the port declares. Where any tensor will do, unsigned integers of more than 8 bits become real
            numbers: torch can hold them, and hardly compute with them.
    """
    return _to_torch(device, computable=dtype == "array") if library == TORCH else _to_numpy


def converter_of(node: object) -> Convert:
    """Return what makes arrays those with which a node of this process keeps its state: tensors for a torch node."""
    return converter(TORCH if is_module(node) else NUMPY)


def _to_torch(device: str, *, computable: bool) -> Convert:
    import numpy as np
    import torch

    wanted, arrays = torch.device(device), (np.ndarray, np.generic)

    def convert(value: Value) -> Value:
        if isinstance(value, torch.Tensor):
            return value if value.device == wanted else value.to(wanted)
        if isinstance(value, arrays):
            if computable and value.dtype.kind == "u" and value.dtype.itemsize > 1:
                value = value.astype(floating_for(value.dtype))
            tensor = torch.from_numpy(_shareable(np.asarray(value)))
            return tensor if device == _CPU else tensor.to(wanted)
        return value

    return convert


def _shareable(array: Any) -> Any:
    """Return an array whose memory torch can use, a copy where it cannot."""
    if not array.dtype.isnative:
        return array.astype(array.dtype.newbyteorder("="))
    if not array.flags.writeable:
        array = array.view()
        try:
            array.setflags(write=True)  # as of what a node made of the array that it was lent
        except ValueError:  # it never could be written
            return array.copy()
    return array if array.flags.forc or min(array.strides) >= 0 else array.copy()


def _to_numpy(value: Value) -> Value:
    """Return a tensor as an array, without its gradients."""
    return value.detach().cpu().numpy() if hasattr(value, "detach") else value
