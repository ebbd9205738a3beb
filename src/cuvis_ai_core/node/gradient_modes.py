"""What torch remembers for gradients while nodes compute, and tensors that were made while it remembered nothing."""

import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from cuvis_ai_core.node.array_node import Value
from cuvis_ai_core.node.torch_modules import is_module


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


def outside_inference_mode() -> AbstractContextManager[object]:
    """Return a context in which weights are made that can be trained; nothing without torch.

    Of those that are made in inference mode torch does not tell whether they were written since.
    """
    torch: Any = sys.modules.get("torch")
    return nullcontext() if torch is None or not torch.is_inference_mode_enabled() else torch.inference_mode(mode=False)


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
        holders: tuple[Any, Any] = (module._buffers, vars(module))
        for kept in holders:
            made = [each for each in kept.items() if isinstance(each[1], torch.Tensor) and each[1].is_inference()]
            for name, value in made:  # one by one: the buffers of a module of TorchScript are no dict
                kept[name] = value.clone()


def gradient_mode() -> Callable[[], AbstractContextManager[object]]:
    """Return a context for other threads, in which torch remembers as much for gradients as it does in this one."""
    torch: Any = sys.modules.get("torch")
    if torch is None:
        return nullcontext
    if torch.is_inference_mode_enabled():
        return partial(torch.inference_mode, mode=True)
    return partial(torch.set_grad_enabled, mode=torch.is_grad_enabled())
