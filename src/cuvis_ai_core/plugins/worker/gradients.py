"""Where gradients end; importing this module imports torch."""

from typing import Any

import torch

from cuvis_ai_core.errors import TrainingError


class _Ending(torch.autograd.Function):
    """Hands a value on, and refuses the gradient that comes back: it would be missing where nobody sees it."""

    @staticmethod
    def forward(ctx: Any, node: str, value: torch.Tensor, *_inputs: Any) -> torch.Tensor:
        """Return the value."""
        ctx.node = node
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *_gradients: Any) -> Any:
        """Refuse."""
        raise TrainingError(
            f"Gradients cannot cross to another process: training through node '{ctx.node}' is not possible.",
            hint="Load its plugin with isolation: scoped, or have nothing before it trained.",
        )


def ending(node: str, value: Any, inputs: tuple[Any, ...]) -> Any:
    """Return a value that a worker computed from inputs with gradients; asking it for a gradient is an error."""
    # Only these can have gradients.
    if not (isinstance(value, torch.Tensor) and (value.is_floating_point() or value.is_complex())):
        return value
    return _Ending.apply(node, value, *(each for each in inputs if isinstance(each, torch.Tensor)))  # type: ignore[no-untyped-call]
