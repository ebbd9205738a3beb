"""Nodes that are modules of torch, told without importing it, and what they have beside ports: hooks."""

from collections.abc import Mapping
from typing import Any


def is_module(node: object) -> bool:
    """Tell whether a node is a module of torch."""
    # By what its class has: torch need not be there.
    return hasattr(type(node), "named_buffers")


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
