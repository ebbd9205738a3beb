"""Random numbers that are the same in every run."""

import random
import sys

import numpy as np

_LARGEST = 2**32


def seed_everything(seed: int, *more: int) -> None:
    """Seed the generators of Python, NumPy and, where it is loaded, torch.

    Args:
        seed: The seed.
        more: Numbers mixed into it, such as that of an epoch.
    """
    # Not seed + epoch: the second epoch of a seed would be the first of the next one.
    mixed = int(np.random.SeedSequence([seed, *more]).generate_state(1)[0]) if more else seed
    random.seed(mixed)
    # The old generator takes 32 bits.
    np.random.seed(mixed % _LARGEST)  # noqa: NPY002 - nodes may use the old generator
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(mixed)
