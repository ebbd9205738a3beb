"""Arrays of NumPy and of torch: which of them a node takes, and how one becomes the other.

Neither library is imported before a node asks for its arrays.
"""

import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, Final, Protocol, TypeAlias

from cuvis_ai_core.node.array_node import Value
from cuvis_ai_core.node.base import NodeMixin
from cuvis_ai_core.node.ports import NUMPY, TORCH, Port, floating_for

Convert: TypeAlias = Callable[[Value], Value]

ELSEWHERE: Final = "runs_elsewhere"
"""Attribute of classes whose nodes stand for those in another process: that process."""

_CPU: Final = "cpu"


def is_module(node: object) -> bool:
    """Tell whether a node is a module of torch."""
    # By what its class has: torch need not be there.
    return hasattr(type(node), "named_buffers")


class Elsewhere(Protocol):
    """A process in which nodes run that others stand for."""

    def cancel(self) -> None:
        """End what it does now; whoever waits for it gets an error."""
        ...


def process_of(node: object) -> Elsewhere | None:
    """Return the process of the node for which a node stands, None where it stands for itself."""
    process: Elsewhere | None = getattr(type(node), ELSEWHERE, None)
    return process


def is_elsewhere(node: object) -> bool:
    """Tell whether a node stands for one in another process, to which arrays of any library cross."""
    return process_of(node) is not None


def without_gradients(nodes: Iterable[object]) -> AbstractContextManager[object]:
    """Return a context in which torch remembers nothing for gradients; nothing happens without a torch node."""
    if not any(map(is_module, nodes)):
        return nullcontext()
    import torch

    return torch.no_grad()


def inference_mode() -> AbstractContextManager[object]:
    """Return a context in which torch remembers nothing for gradients, nor that it might; nothing without torch."""
    # Whoever computes with it has imported it.
    torch: Any = sys.modules.get("torch")
    return nullcontext() if torch is None else torch.inference_mode()


def for_gradients(values: Mapping[Any, Value]) -> Mapping[Any, Value]:
    """Return values that gradients may be asked of: tensors that were made in inference mode as copies."""
    torch: Any = sys.modules.get("torch")
    if torch is None or torch.is_inference_mode_enabled() or not torch.is_grad_enabled():
        return values

    def usable(value: Value) -> Value:
        if isinstance(value, list):
            return [usable(each) for each in value]
        return value.clone() if isinstance(value, torch.Tensor) and value.is_inference() else value

    return {key: usable(value) for key, value in values.items()}


def keep_for_gradients(node: object) -> None:
    """Have gradients flow through what a torch node made of its state in inference mode: copies take its place."""
    import torch

    for module in node.modules() if isinstance(node, torch.nn.Module) else ():
        for name, value in [*module.named_parameters(recurse=False)]:
            if value.is_inference():
                module.register_parameter(name, torch.nn.Parameter(value.clone(), requires_grad=value.requires_grad))
        for kept in (module._buffers, vars(module)):
            kept.update(
                {
                    name: value.clone()
                    for name, value in kept.items()
                    if isinstance(value, torch.Tensor) and value.is_inference()
                }
            )


def gradient_mode() -> Callable[[], AbstractContextManager[object]]:
    """Return a context for other threads, in which torch remembers as much for gradients as it does in this one."""
    torch: Any = sys.modules.get("torch")
    if torch is None:
        return nullcontext
    if torch.is_inference_mode_enabled():
        return partial(torch.inference_mode, mode=True)
    return partial(torch.set_grad_enabled, mode=torch.is_grad_enabled())


def hooks_of(node: object) -> tuple[Mapping[Any, Any], ...]:
    """Return where torch keeps the hooks of a module and those of all modules; nothing for other nodes.

    A module is to be called, so that they run. While all of these are empty, its `forward` is the same, and faster.
    """
    if not is_module(node):
        return ()
    from torch.nn.modules import module

    # What `nn.Module.__call__` looks at before it goes straight to `forward`.
    own = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return (
        *(vars(node)[name] for name in own),
        *(vars(module)[f"_global{name}"] for name in own),
    )


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
