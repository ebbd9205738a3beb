"""Which top-level module names belong to plugins that are alive, and what stands for them in `sys.modules`."""

import importlib
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Final

# Whoever is told of a name may ask for others, in the same thread.
_lock = threading.RLock()
_owned: Counter[str] = Counter()
_told_of_the_last: Final[list[Callable[[str], None]]] = []
_told_of_unloads: Final[list[Callable[[], None]]] = []


class PublicName(ModuleType):
    """A public module name in `sys.modules` that stands for no version of its own (see `public_module_lookup`)."""

    @staticmethod
    def everybodys(module: ModuleType) -> ModuleType | None:
        """Return the module that everybody else has under that name, if it is imported."""

    @staticmethod
    def require(module: ModuleType) -> None:
        """Let an import succeed only where somebody has that module."""


def everybodys_module(name: str) -> ModuleType | None:
    """Return the imported module of a name as everybody has it who is no plugin that owns the name."""
    module = sys.modules.get(name)
    # By its own type: a module may answer for its class, and be loaded by the question.
    kind = type(module)
    return kind.everybodys(module) if module is not None and issubclass(kind, PublicName) else module


def import_for_everybody(name: str) -> ModuleType:
    """Import a module as everybody has it who is no plugin that owns the name; no proxy is handed out.

    Raises:
        ImportError: As a plain import would.
    """
    module = importlib.import_module(name)
    return everybodys_module(name) or module


def is_owned(top: str) -> bool:
    """Tell whether some plugin that is alive owns a top-level module name."""
    return top in _owned


def claim(tops: Iterable[str]) -> None:
    """Count one more owner of some top-level module names."""
    with _lock:
        _owned.update(tops)


def give_up(tops: Iterable[str]) -> None:
    """Count one owner less; whoever wants to know is told of names that have none left."""
    with _lock:
        for top in tops:
            _owned[top] -= 1
            if not _owned[top]:
                del _owned[top]
                for told in _told_of_the_last:
                    told(top)


def tell_of_the_last(told: Callable[[str], None]) -> None:
    """Have a function called with each top-level module name whose last owner is gone."""
    _told_of_the_last.append(told)


def unloaded() -> None:
    """Tell whoever wants to know that a plugin was unloaded."""
    for told in _told_of_unloads:
        told()


def tell_of_unloads(told: Callable[[], None]) -> None:
    """Have a function called whenever a plugin was unloaded."""
    _told_of_unloads.append(told)
