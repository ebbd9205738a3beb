"""The one way in which an old spelling says that there is a newer one."""

import warnings
from typing import Final

_SAID: Final[set[str]] = set()


def say_once(old: str, new: str) -> None:
    """Warn that something is spelled in an old way, once in a process for each; it works all the same.

    Args:
        old: The old spelling.
        new: The new one.
    """
    if old not in _SAID:
        _SAID.add(old)
        warnings.warn(
            f"{old} is an old spelling, which works on; the new one is {new}", DeprecationWarning, stacklevel=3
        )
