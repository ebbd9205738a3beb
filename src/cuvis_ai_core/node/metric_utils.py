"""Small functions that published metric nodes share; importing this module imports torch."""

import logging
import numbers
from collections.abc import MutableMapping
from math import ceil
from typing import Any, Final

import torch

logger = logging.getLogger(__name__)

VECTORIZED_CUTOFF: Final = 50_000
"""Up to how many elements torchmetrics counts a curve by one vectorised comparison of all of them."""

_IMAGE_AXES: Final = 3


def subsample_hw(x: torch.Tensor, stride: int) -> torch.Tensor:
    """Return every `stride`-th pixel of both axes of images `[batch, height, width, ...]`, as a view.

    Raises:
        ValueError: The stride is no positive integer, or there are no such axes.
    """
    if isinstance(stride, bool) or not isinstance(stride, numbers.Integral) or stride < 1:
        raise ValueError(f"stride must be an integer of at least 1, not {stride!r}")
    if stride == 1:
        return x
    if x.ndim < _IMAGE_AXES:
        raise ValueError(f"[batch, height, width, ...] is needed, and the shape is {tuple(x.shape)}")
    return x[:, :: int(stride), :: int(stride)]


def check_topk_frac(topk_frac: float, name: str = "topk_frac") -> float:
    """Return a share above 0 and up to 1 as a float.

    Raises:
        ValueError: It is none.
    """
    if isinstance(topk_frac, bool) or not isinstance(topk_frac, numbers.Real) or not 0 < topk_frac <= 1:
        raise ValueError(f"{name} must be a number above 0 and up to 1, not {topk_frac!r}")
    return float(topk_frac)


def topk_mean(values: torch.Tensor, topk_frac: float) -> torch.Tensor:
    """Return the mean of the highest scores of each image: a share of all, of which a part counts as one.

    Args:
        values: `[batch, ...]`.
        topk_frac: The share.

    Returns:
        `[batch]`.
    """
    flat = values.reshape(values.shape[0], -1)
    return flat.topk(topk_count(flat.shape[1], topk_frac), dim=1).values.mean(dim=1)


def topk_count(numel: int, topk_frac: float) -> int:
    """Return how many of so many values are a share of them: at least one, and a part counts as one.

    Args:
        numel: How many values there are.
        topk_frac: The share, above 0 and up to 1.
    """
    # In float32, as models in use were calibrated: 0.07 of 100 are 7, not 7.000000000000001, and what is a hair above
    # a whole number among millions counts as that number.
    return max(1, ceil(torch.tensor(numel * topk_frac, dtype=torch.float32).item()))


def warn_below_vectorized_cutoff(
    node_name: str, n_sub: int, n_full: int, state: MutableMapping[str, Any] | set[Any] | None = None
) -> None:
    """Say once that leaving out pixels brought a metric to where it counts in another, slower way.

    torchmetrics compares all elements with all thresholds at once up to `VECTORIZED_CUTOFF` elements, and counts in
    bins above.

    Args:
        node_name: Name of the node.
        n_sub: How many elements it counts.
        n_full: How many there were before pixels were left out.
        state: Remembers, for the node, that it was said.
    """
    if not n_sub <= VECTORIZED_CUTOFF < n_full or (state is not None and "warned" in state):
        return
    if isinstance(state, set):
        state.add("warned")
    elif state is not None:
        state["warned"] = True
    logger.warning(
        "node '%s' counts %d of %d elements: up to %d torchmetrics compares each with every threshold, which may take "
        "longer than counting more; take a smaller stride",
        *(node_name, n_sub, n_full, VECTORIZED_CUTOFF),
    )
