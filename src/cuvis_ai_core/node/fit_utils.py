"""What published nodes share where they learn from a stream of values; importing this module imports torch."""

import torch


def random_cap(values: torch.Tensor, limit: int, generator: torch.Generator | None = None) -> torch.Tensor:
    """Return at most so many rows, drawn at random without replacement; as they are where there are no more.

    Args:
        values: `[rows, ...]`.
        limit: How many rows at most.
        generator: Where random numbers come from; by default torch's own.
    """
    if len(values) <= limit:
        return values
    device = values.device if generator is None else generator.device
    chosen = torch.randperm(len(values), generator=generator, device=device)[:limit]
    return values[chosen.to(values.device)]
