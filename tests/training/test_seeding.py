"""Random numbers of a training are the same in every run, and others in every epoch."""

import random
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cuvis_ai_core.training.seeding import seed_everything

_GENERATORS: dict[str, Callable[[], Any]] = {
    "python": random.random,
    "numpy": np.random.random,
    "torch": lambda: pytest.importorskip("torch").rand(1).item(),
}


@pytest.mark.parametrize("library", _GENERATORS)
@pytest.mark.parametrize("seed", [0, 42, 2**40])
def test_each_generator_is_seeded(library: str, seed: int) -> None:
    """By the seed, and by what is mixed into it: an epoch has its own numbers, each time the same."""
    draw = _GENERATORS[library]
    if library == "torch" and "torch" not in sys.modules:
        draw()  # where nobody has loaded it, there is nothing to seed
    found = {}
    for more in ((), (0,), (1,), (1, 2)):
        seed_everything(seed, *more)
        found[more] = draw()
        draw()
        seed_everything(seed, *more)
        assert draw() == found[more]
    assert len(set(found.values())) == 4
