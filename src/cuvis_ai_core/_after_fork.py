"""What is done in children that are forked off, such as to close what they must not keep open.

It imports next to nothing: what is registered for forks lives to the end of the interpreter, with all that its module
names. With the libraries among it, that end takes several milliseconds longer.
"""

from __future__ import annotations

import os
from weakref import ref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_steps: list[ref[Callable[[], object]]] = []


def in_children(step: Callable[[], object]) -> None:
    """Have a function called in each child, as long as somebody else has it."""
    _steps.append(ref(step))


def _do() -> None:
    for each in _steps:
        step = each()
        if step is not None:
            step()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_do)
