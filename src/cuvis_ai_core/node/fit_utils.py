"""What published nodes share where they learn from a stream of values; importing this module imports torch."""

import torch


def random_cap(rows: torch.Tensor, max_rows: int, generator: torch.Generator | None = None) -> torch.Tensor:
    """Return at most so many rows, drawn at random without replacement; as they are where there are no more.

    Args:
        rows: `[number, ...]`.
        max_rows: How many rows at most.
        generator: Where random numbers come from; by default torch's own.
    """
    if len(rows) <= max_rows:
        return rows
    device = rows.device if generator is None else generator.device
    chosen = torch.randperm(len(rows), generator=generator, device=device)[:max_rows]
    # A generator of torch draws on its own device alone.
    return rows[chosen.to(rows.device)]
