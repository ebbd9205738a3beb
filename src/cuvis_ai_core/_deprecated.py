"""The one way in which an old spelling says that there is a newer one."""

import warnings
from collections.abc import Callable
from functools import wraps
from typing import Any, Final, TypeVar

_Old = TypeVar("_Old", bound=Callable[..., Any])

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


def old_spelling(new: str) -> Callable[[_Old], _Old]:
    """Have a function, or a class when it is constructed, say what the new spelling is.

    Args:
        new: The new spelling.
    """

    def marked(old: _Old) -> _Old:
        name = f"{old.__module__}.{old.__qualname__}"
        called: Any = old.__init__ if isinstance(old, type) else old  # type: ignore[misc]

        @wraps(called)
        def saying(*args: Any, **kwargs: Any) -> Any:
            say_once(name, new)
            return called(*args, **kwargs)

        if not isinstance(old, type):
            return saying  # type: ignore[return-value] # of the same signature
        old.__init__ = saying  # type: ignore[misc]
        return old

    return marked
